// SPDX-License-Identifier: Apache-2.0
// Owns Ring: reads a BPF ring buffer by its mapped pages. The read position runs ahead of the consumer
// position that the kernel sees; only `commit` moves the latter.
#pragma once

#include "common.h"

namespace weir {

class RingState;

class Ring : public Napi::ObjectWrap<Ring> {
  public:
    static void define(Napi::Env env, Instance &instance);
    explicit Ring(const Napi::CallbackInfo &info);
    void Finalize(Napi::Env env) override;
    friend Napi::Value openRing(const Napi::CallbackInfo &info);

  private:
    Napi::Value drain(const Napi::CallbackInfo &info);
    Napi::Value drainTo(const Napi::CallbackInfo &info);
    void commit(const Napi::CallbackInfo &info);
    Napi::Value pendingBytes(const Napi::CallbackInfo &info);
    Napi::Value unreadBytes(const Napi::CallbackInfo &info);
    Napi::Value capacityBytes(const Napi::CallbackInfo &info);
    Napi::Value wakeUps(const Napi::CallbackInfo &info);
    void ref(const Napi::CallbackInfo &info);
    void unref(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);
    bool open(Napi::Env env) const;

    std::shared_ptr<RingState> state_;
};

Napi::Value openRing(const Napi::CallbackInfo &info);

} // namespace weir
