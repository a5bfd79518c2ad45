// SPDX-License-Identifier: Apache-2.0
// Owns Object: an object file from opening to closing, and the templates of its programs, taken as they are
// handed to the kernel.
#pragma once

#include "common.h"
#include "specialise.h"

#include <map>
#include <set>
#include <vector>

struct bpf_object;

namespace weir {

// A program after relocation, with all that a further load of it needs. Instructions name maps by file
// descriptors of the object, so that it is of use only while that is open.
struct Template {
    std::string name;
    std::string section;
    enum bpf_prog_type type = BPF_PROG_TYPE_UNSPEC;
    enum bpf_attach_type attach_type = {};
    uint32_t attach_btf_id = 0;
    uint32_t flags = 0;
    ProgramText text;
    uint32_t btf_fd = 0;
};

struct ObjectState {
    ~ObjectState();
    void close();
    struct bpf_object *object = nullptr;
    std::string path;
    std::string license;
    int rodata_fd = -1;
    std::vector<char> rodata;
    std::map<std::string, std::shared_ptr<Template>> templates;
    // Programs that are only to be cloned.
    std::set<std::string> only_templates;
    // What libbpf hands to the kernel of the program that it loads just now; it keeps no copy.
    ProgramText loaded_text;
    // Places of the variables of .rodata.
    std::map<std::string, std::pair<uint32_t, uint32_t>> variables;
};

class Object : public Napi::ObjectWrap<Object> {
  public:
    static void define(Napi::Env env, Instance &instance);
    explicit Object(const Napi::CallbackInfo &info);
    friend Napi::Value openObject(const Napi::CallbackInfo &info);

  private:
    void load(const Napi::CallbackInfo &info);
    Napi::Value map(const Napi::CallbackInfo &info);
    Napi::Value program(const Napi::CallbackInfo &info);
    Napi::Value mapNames(const Napi::CallbackInfo &info);
    Napi::Value programNames(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);
    bool open(Napi::Env env) const;

    std::shared_ptr<ObjectState> state_;
};

Napi::Value openObject(const Napi::CallbackInfo &info);

// Takes libbpf's place for the sections that this addon loads. Once a process.
void registerSections();

} // namespace weir
