// SPDX-License-Identifier: Apache-2.0
// Owns Map: a handle of one kernel map.
#pragma once

#include "common.h"

namespace weir {

class Map : public Napi::ObjectWrap<Map> {
  public:
    static void define(Napi::Env env, Instance &instance);
    // Takes fd; sets a pending exception and returns undefined where it is no map.
    static Napi::Value wrap(Napi::Env env, Fd fd, const std::string &name);
    // The map behind a JavaScript value; nullptr, with a pending exception, where it is none or closed.
    static Map *from(Napi::Env env, Napi::Value value);
    explicit Map(const Napi::CallbackInfo &info);

    int fd() const {
        return fd_.get();
    }
    uint32_t type() const {
        return type_;
    }
    uint32_t maxEntries() const {
        return max_entries_;
    }

  private:
    Napi::Value getFd(const Napi::CallbackInfo &info);
    Napi::Value lookup(const Napi::CallbackInfo &info);
    void update(const Napi::CallbackInfo &info);
    Napi::Value remove(const Napi::CallbackInfo &info);
    Napi::Value nextKey(const Napi::CallbackInfo &info);
    void updateBatch(const Napi::CallbackInfo &info);
    void freeze(const Napi::CallbackInfo &info);
    void pin(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);
    bool open(Napi::Env env) const;
    // True, with a pending exception, where an array is shorter than the kernel would read or write.
    bool tooShort(Napi::Env env, const View &view, size_t wanted, const char *name) const;

    Fd fd_;
    std::string name_;
    uint32_t type_ = 0;
    uint32_t id_ = 0;
    uint32_t key_size_ = 0;
    uint32_t value_size_ = 0;
    uint32_t max_entries_ = 0;
    size_t value_bytes_ = 0;
};

Napi::Value createMap(const Napi::CallbackInfo &info);
Napi::Value openMapById(const Napi::CallbackInfo &info);
Napi::Value openPinnedMap(const Napi::CallbackInfo &info);

} // namespace weir
