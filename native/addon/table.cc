// SPDX-License-Identifier: Apache-2.0
// Owns the process table as JavaScript sees it.
#include "join.h"

#include <cstring>

namespace weir {

namespace {

const napi_type_tag TABLE_TAG = {0x7765697274626c65, 0x1};

} // namespace

void Table::define(Napi::Env env, Instance &instance) {
    instance.table = Napi::Persistent(DefineClass(
        env, "Table",
        {InstanceMethod<&Table::seed>("seed"), InstanceMethod<&Table::seedOf>("seedOf"),
         InstanceMethod<&Table::linkSeeds>("linkSeeds"), InstanceMethod<&Table::setStrings>("setStrings"),
         InstanceMethod<&Table::stringsAt>("stringsAt"), InstanceMethod<&Table::state>("state"),
         InstanceMethod<&Table::numbers>("numbers")}));
}

Table::Table(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Table>(info) {
    info.This().As<Napi::Object>().TypeTag(&TABLE_TAG);
}

Table *Table::from(Napi::Env env, Napi::Value value) {
    if (value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&TABLE_TAG)) {
        return Table::Unwrap(value.As<Napi::Object>());
    }
    throwError(env, "BAD_ARGUMENT", "a process table is needed", 0);
    return nullptr;
}

// openTable(processesMax, exitedMax, images, arena)
Napi::Value openTable(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const uint32_t processes_max = info[0].ToNumber().Uint32Value();
    View images;
    View arena;
    if (processes_max == 0 || processes_max > (1U << 24)) {
        throwError(env, "BAD_ARGUMENT", "processesMax is not a number from 1 to 16777216", 0);
        return env.Undefined();
    }
    if (!wordsOf(info[2], (static_cast<size_t>(processes_max) + 1) * (sizeof(weir_process_entry) / 4), env,
                 "images", images) ||
        !bytesOf(env, info[3], "arena", arena)) {
        return env.Undefined();
    }
    if (arena.bytes > UINT32_MAX) {
        throwError(env, "BAD_ARGUMENT", "the arena has more than 4 GiB", 0);
        return env.Undefined();
    }
    Napi::Object object = instanceOf(env).table.New({});
    Table *table = Table::Unwrap(object);
    if (!table->table_.allocate(processes_max, info[1].ToNumber().Uint32Value(),
                                static_cast<weir_process_entry *>(images.data),
                                static_cast<char *>(arena.data), arena.bytes)) {
        throwError(env, "SYSTEM_FAILED", "there is no memory for the process table", ENOMEM);
        return env.Undefined();
    }
    table->images_ = Napi::Reference<Napi::Value>::New(info[2], 1);
    table->arena_ = Napi::Reference<Napi::Value>::New(info[3], 1);
    return object;
}

// The slot that a call names; 0 where there is no such slot.
uint32_t Table::slotOf(const Napi::CallbackInfo &info) const {
    const uint32_t slot = info[0].ToNumber().Uint32Value();
    return slot <= table_.processesMax() ? slot : 0;
}

// seed(pid, startTicks)
Napi::Value Table::seed(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), table_.seed(info[0].ToNumber().Uint32Value(),
                                                     static_cast<uint64_t>(info[1].ToNumber().Int64Value())));
}

Napi::Value Table::seedOf(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), table_.seedOf(info[0].ToNumber().Uint32Value()));
}

void Table::linkSeeds(const Napi::CallbackInfo &info) {
    const uint32_t parent = info[1].ToNumber().Uint32Value();
    table_.linkSeeds(slotOf(info), parent <= table_.processesMax() ? parent : 0);
}

// setStrings(slot, bytes): false where there is no room.
Napi::Value Table::setStrings(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View bytes;
    const uint32_t slot = slotOf(info);
    if (!bytesOf(env, info[1], "bytes", bytes)) {
        return env.Undefined();
    }
    const uint32_t number = slot == 0 ? 0 : table_.takeString(bytes.bytes);
    if (number == 0) {
        return Napi::Boolean::New(env, false);
    }
    table_.strings.release(table_.slot(slot).string);
    table_.slot(slot).string = number;
    char *to = table_.strings.at(number);
    memcpy(to, bytes.data, bytes.bytes);
    // What the piece held before does not go into a batch.
    memset(to + bytes.bytes, 0, table_.strings.piece(number).bytes - bytes.bytes);
    return Napi::Boolean::New(env, true);
}

// Where a slot's strings begin in the arena; -1 where it has none.
Napi::Value Table::stringsAt(const Napi::CallbackInfo &info) {
    const uint32_t number = table_.slot(slotOf(info)).string;
    return Napi::Number::New(info.Env(), number == 0 ? -1.0 : table_.strings.piece(number).start);
}

Napi::Value Table::state(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), table_.slot(slotOf(info)).state);
}

// numbers(Float64Array of 8)
void Table::numbers(const Napi::CallbackInfo &info) {
    View view;
    if (!doublesOf(info[0], 8, info.Env(), "numbers", view)) {
        return;
    }
    auto *numbers = static_cast<double *>(view.data);
    numbers[0] = table_.size();
    numbers[1] = static_cast<double>(table_.seeds());
    numbers[2] = static_cast<double>(table_.evicted_running);
    numbers[3] = static_cast<double>(table_.evicted_exited);
    numbers[4] = static_cast<double>(table_.refused);
    numbers[5] = static_cast<double>(table_.adopted);
    numbers[6] = static_cast<double>(table_.strings.used_bytes);
    numbers[7] = static_cast<double>(table_.strings.refused);
}

} // namespace weir
