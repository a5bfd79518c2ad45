// SPDX-License-Identifier: Apache-2.0
// Owns Program and Link: handles of a loaded program and of its attachments.
#pragma once

#include "common.h"
#include "object.h"

namespace weir {

class Program : public Napi::ObjectWrap<Program> {
  public:
    static void define(Napi::Env env, Instance &instance);
    static Napi::Value wrap(Napi::Env env, Fd fd, const std::string &name, std::shared_ptr<Template> copy,
                            std::shared_ptr<ObjectState> object);
    explicit Program(const Napi::CallbackInfo &info);

  private:
    Napi::Value getFd(const Napi::CallbackInfo &info);
    Napi::Value attach(const Napi::CallbackInfo &info);
    Napi::Value iterate(const Napi::CallbackInfo &info);
    Napi::Value stats(const Napi::CallbackInfo &info);
    Napi::Value testRun(const Napi::CallbackInfo &info);
    Napi::Value clone(const Napi::CallbackInfo &info);
    void pin(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);
    bool open(Napi::Env env) const;
    Fd loadClone(Napi::Env env, const Template &copy, const std::vector<char> &rodata);

    Fd fd_;
    std::string name_;
    std::shared_ptr<Template> template_;
    std::shared_ptr<ObjectState> object_;
};

class Link : public Napi::ObjectWrap<Link> {
  public:
    static void define(Napi::Env env, Instance &instance);
    // Takes the link's descriptor and, for perf-based kinds, that of the perf event.
    static Napi::Value wrap(Napi::Env env, Fd link, Fd event);
    explicit Link(const Napi::CallbackInfo &info);

  private:
    Napi::Value programId(const Napi::CallbackInfo &info);
    void pin(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);

    Fd link_;
    Fd event_;
};

Napi::Value openPinnedLink(const Napi::CallbackInfo &info);
Napi::Value openMappingEvent(const Napi::CallbackInfo &info);
Napi::Value enableStats(const Napi::CallbackInfo &info);

} // namespace weir
