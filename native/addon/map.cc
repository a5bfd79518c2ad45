// SPDX-License-Identifier: Apache-2.0
#include "map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>

namespace weir {

namespace {

constexpr napi_type_tag MAP_TAG = {0x5745495200000001ULL, 0x6d61700000000000ULL};

bool perCpu(uint32_t type) {
    return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
           type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

} // namespace

void Map::define(Napi::Env env, Instance &instance) {
    Napi::Function constructor =
        DefineClass(env, "Map",
                    {InstanceMethod<&Map::getFd>("fd"), InstanceMethod<&Map::lookup>("lookup"),
                     InstanceMethod<&Map::update>("update"), InstanceMethod<&Map::remove>("delete"),
                     InstanceMethod<&Map::nextKey>("nextKey"),
                     InstanceMethod<&Map::updateBatch>("updateBatch"), InstanceMethod<&Map::freeze>("freeze"),
                     InstanceMethod<&Map::pin>("pin"), InstanceMethod<&Map::close>("close")});
    instance.map = Napi::Persistent(constructor);
}

Map::Map(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Map>(info) {
    info.This().As<Napi::Object>().TypeTag(&MAP_TAG);
}

Map *Map::from(Napi::Env env, Napi::Value value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&MAP_TAG)) {
        throwError(env, "BAD_ARGUMENT", "the argument is not a map", 0);
        return nullptr;
    }
    Map *map = Unwrap(value.As<Napi::Object>());
    return map->open(env) ? map : nullptr;
}

Napi::Value Map::wrap(Napi::Env env, Fd fd, const std::string &name) {
    struct bpf_map_info description = {};
    uint32_t length = sizeof(description);
    if (bpf_obj_get_info_by_fd(fd.get(), &description, &length) != 0) {
        throwError(env, "MAP_ACCESS_FAILED", "map " + name + " cannot be described", errno);
        return env.Undefined();
    }
    Napi::Object object = instanceOf(env).map.New({});
    Map *map = Unwrap(object);
    map->fd_ = std::move(fd);
    map->name_ = name.empty() ? description.name : name;
    map->type_ = description.type;
    map->id_ = description.id;
    map->key_size_ = description.key_size;
    map->value_size_ = description.value_size;
    map->max_entries_ = description.max_entries;
    map->value_bytes_ = description.value_size;
    if (perCpu(description.type)) {
        map->value_bytes_ = static_cast<size_t>((description.value_size + 7) & ~7U) *
                            static_cast<size_t>(libbpf_num_possible_cpus());
    }
    object.Set("name", Napi::String::New(env, map->name_));
    object.Set("type", Napi::Number::New(env, map->type_));
    object.Set("id", Napi::Number::New(env, map->id_));
    object.Set("keySize", Napi::Number::New(env, map->key_size_));
    object.Set("valueSize", Napi::Number::New(env, map->value_size_));
    object.Set("maxEntries", Napi::Number::New(env, map->max_entries_));
    return object;
}

bool Map::open(Napi::Env env) const {
    if (fd_.valid()) {
        return true;
    }
    throwError(env, "BAD_STATE", "map " + name_ + " is closed", 0);
    return false;
}

bool Map::tooShort(Napi::Env env, const View &view, size_t wanted, const char *name) const {
    if (view.bytes >= wanted) {
        return false;
    }
    throwError(env, "BAD_ARGUMENT",
               std::string(name) + " has " + std::to_string(view.bytes) + " bytes, map " + name_ + " needs " +
                   std::to_string(wanted),
               0);
    return true;
}

Napi::Value Map::getFd(const Napi::CallbackInfo &info) {
    return open(info.Env()) ? Napi::Number::New(info.Env(), fd_.get()) : info.Env().Undefined();
}

Napi::Value Map::lookup(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View key;
    View value;
    if (!open(env) || !bytesOf(env, info[0], "key", key) || !bytesOf(env, info[1], "value", value) ||
        tooShort(env, key, key_size_, "key") || tooShort(env, value, value_bytes_, "value")) {
        return env.Undefined();
    }
    if (bpf_map_lookup_elem(fd_.get(), key.data, value.data) == 0) {
        return Napi::Boolean::New(env, true);
    }
    if (errno == ENOENT) {
        return Napi::Boolean::New(env, false);
    }
    throwError(env, "MAP_ACCESS_FAILED", "map " + name_ + " cannot be read", errno);
    return env.Undefined();
}

void Map::update(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View key;
    View value;
    if (!open(env) || !bytesOf(env, info[0], "key", key) || !bytesOf(env, info[1], "value", value) ||
        tooShort(env, key, key_size_, "key") || tooShort(env, value, value_bytes_, "value")) {
        return;
    }
    const auto flags = static_cast<uint64_t>(info[2].ToNumber().Int64Value());
    if (bpf_map_update_elem(fd_.get(), key.data, value.data, flags) != 0) {
        throwError(env, "MAP_ACCESS_FAILED", "map " + name_ + " cannot be written", errno);
    }
}

Napi::Value Map::remove(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View key;
    if (!open(env) || !bytesOf(env, info[0], "key", key) || tooShort(env, key, key_size_, "key")) {
        return env.Undefined();
    }
    if (bpf_map_delete_elem(fd_.get(), key.data) == 0) {
        return Napi::Boolean::New(env, true);
    }
    if (errno == ENOENT) {
        return Napi::Boolean::New(env, false);
    }
    throwError(env, "MAP_ACCESS_FAILED", "an entry of map " + name_ + " cannot be deleted", errno);
    return env.Undefined();
}

Napi::Value Map::nextKey(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View previous;
    View next;
    if (!open(env) || !bytesOf(env, info[1], "next", next) || tooShort(env, next, key_size_, "next")) {
        return env.Undefined();
    }
    if (!info[0].IsUndefined() &&
        (!bytesOf(env, info[0], "previous", previous) || tooShort(env, previous, key_size_, "previous"))) {
        return env.Undefined();
    }
    if (bpf_map_get_next_key(fd_.get(), previous.data, next.data) == 0) {
        return Napi::Boolean::New(env, true);
    }
    if (errno == ENOENT) {
        return Napi::Boolean::New(env, false);
    }
    throwError(env, "MAP_ACCESS_FAILED", "map " + name_ + " cannot be walked", errno);
    return env.Undefined();
}

void Map::updateBatch(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View keys;
    View values;
    if (!open(env) || !bytesOf(env, info[0], "keys", keys) || !bytesOf(env, info[1], "values", values)) {
        return;
    }
    const uint32_t wanted = info[2].ToNumber().Uint32Value();
    const auto flags = static_cast<uint64_t>(info[3].ToNumber().Int64Value());
    if (tooShort(env, keys, static_cast<size_t>(wanted) * key_size_, "keys") ||
        tooShort(env, values, static_cast<size_t>(wanted) * value_bytes_, "values")) {
        return;
    }
    DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = flags);
    uint32_t done = wanted;
    int failed = bpf_map_update_batch(fd_.get(), keys.data, values.data, &done, &options) != 0 ? errno : 0;
    if (failed == 0) {
        return;
    }
    // Types without a batch operation (array of maps, and tries before 5.16) say ENOTSUPP, and old kernels
    // EINVAL, before they have written anything: one by one then.
    if (failed != 524 && failed != ENOTSUP && failed != EINVAL) {
        throwError(env, "MAP_ACCESS_FAILED",
                   "map " + name_ + " took " + std::to_string(done) + " of " + std::to_string(wanted) +
                       " entries",
                   failed);
        return;
    }
    for (uint32_t index = 0; index < wanted; index++) {
        const char *key = static_cast<char *>(keys.data) + static_cast<size_t>(index) * key_size_;
        const char *value = static_cast<char *>(values.data) + static_cast<size_t>(index) * value_bytes_;
        if (bpf_map_update_elem(fd_.get(), key, value, flags) != 0) {
            throwError(env, "MAP_ACCESS_FAILED",
                       "map " + name_ + " took " + std::to_string(index) + " of " + std::to_string(wanted) +
                           " entries",
                       errno);
            return;
        }
    }
}

void Map::freeze(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (open(env) && bpf_map_freeze(fd_.get()) != 0) {
        throwError(env, "MAP_ACCESS_FAILED", "map " + name_ + " cannot be frozen", errno);
    }
}

void Map::pin(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const std::string path = info[0].ToString();
    if (open(env) && bpf_obj_pin(fd_.get(), path.c_str()) != 0) {
        throwError(env, "PIN_FAILED", "map " + name_ + " cannot be pinned at " + path, errno);
    }
}

void Map::close(const Napi::CallbackInfo &) {
    fd_.reset();
}

Napi::Value createMap(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const auto type = static_cast<enum bpf_map_type>(info[0].ToNumber().Uint32Value());
    const std::string name = info[1].ToString();
    DECLARE_LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = info[5].ToNumber().Uint32Value();
    if (!info[6].IsUndefined()) {
        Map *inner = Map::from(env, info[6]);
        if (inner == nullptr) {
            return env.Undefined();
        }
        options.inner_map_fd = static_cast<uint32_t>(inner->fd());
    }
    Fd fd(bpf_map_create(type, name.c_str(), info[2].ToNumber().Uint32Value(),
                         info[3].ToNumber().Uint32Value(), info[4].ToNumber().Uint32Value(), &options));
    if (!fd.valid()) {
        throwError(env, "MAP_CREATE_FAILED", "map " + name + " cannot be made", errno);
        return env.Undefined();
    }
    return Map::wrap(env, std::move(fd), name);
}

Napi::Value openMapById(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const uint32_t id = info[0].ToNumber().Uint32Value();
    Fd fd(bpf_map_get_fd_by_id(id));
    if (!fd.valid()) {
        throwError(env, "NOT_FOUND", "no map with the id " + std::to_string(id) + " can be opened", errno);
        return env.Undefined();
    }
    return Map::wrap(env, std::move(fd), "");
}

Napi::Value openPinnedMap(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const std::string path = info[0].ToString();
    Fd fd(bpf_obj_get(path.c_str()));
    if (!fd.valid()) {
        throwError(env, "PIN_FAILED", "no map can be opened at " + path, errno);
        return env.Undefined();
    }
    return Map::wrap(env, std::move(fd), "");
}

} // namespace weir
