// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "btf.h"
#include "map.h"
#include "program.h"

namespace weir {

namespace {

// The object that this thread is loading: libbpf's callback is given the program alone.
thread_local ObjectState *loading = nullptr;

enum SectionFlag : long {
    SECTION_SLEEPABLE = 1,
    SECTION_BTF_FUNCTION = 2,
    SECTION_BTF_LSM = 4,
    SECTION_BTF_TRACEPOINT = 8,
};

std::vector<char> copyOf(const void *data, size_t bytes) {
    const char *start = static_cast<const char *>(data);
    return data == nullptr ? std::vector<char>() : std::vector<char>(start, start + bytes);
}

uint32_t recordsOf(const std::vector<char> &records, uint32_t bytes) {
    return bytes == 0 ? 0 : static_cast<uint32_t>(records.size() / bytes);
}

// Has libbpf load a program without what the constants that it was opened with make dead.
int specialiseLoaded(struct bpf_program *program, struct bpf_prog_load_opts *options,
                     const ProgramText &whole) {
    struct bpf_map *map = bpf_object__find_map_by_name(loading->object, ".rodata");
    size_t bytes = 0;
    const void *constants = map == nullptr ? nullptr : bpf_map__initial_value(map, &bytes);
    if (constants == nullptr) {
        return 0;
    }
    ProgramText &text = loading->loaded_text;
    text = whole;
    specialise(text, bpf_map__fd(map), copyOf(constants, bytes));
    options->func_info = text.function_info.data();
    options->func_info_cnt = recordsOf(text.function_info, text.function_info_bytes);
    options->line_info = text.line_info.data();
    options->line_info_cnt = recordsOf(text.line_info, text.line_info_bytes);
    return bpf_program__set_insns(program, text.instructions.data(), text.instructions.size());
}

// Has libbpf load in a program's place one that does nothing, of a type that each kernel takes.
int loadNothing(struct bpf_program *program, struct bpf_prog_load_opts *options) {
    const struct bpf_insn nothing[] = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0},
                                       {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    options->expected_attach_type = static_cast<enum bpf_attach_type>(0);
    options->attach_btf_id = 0;
    options->prog_flags = 0;
    options->func_info = nullptr;
    options->func_info_cnt = 0;
    options->line_info = nullptr;
    options->line_info_cnt = 0;
    const int failed = bpf_program__set_type(program, BPF_PROG_TYPE_SOCKET_FILTER);
    return failed != 0 ? failed
                       : bpf_program__set_insns(program, const_cast<struct bpf_insn *>(nothing),
                                                sizeof(nothing) / sizeof(nothing[0]));
}

// Called by libbpf just before it loads a program: the only place where the relocated function and line
// information can be had.
int prepareLoad(struct bpf_program *program, struct bpf_prog_load_opts *options, long cookie) {
    const std::string section = bpf_program__section_name(program);
    const size_t slash = section.find('/');
    const std::string target = slash == std::string::npos ? "" : section.substr(slash + 1);
    if ((cookie & SECTION_SLEEPABLE) != 0) {
        options->prog_flags |= BPF_F_SLEEPABLE;
    }
    int btf_id = 0;
    if ((cookie & SECTION_BTF_FUNCTION) != 0) {
        btf_id = functionBtfId(target);
    } else if ((cookie & SECTION_BTF_LSM) != 0) {
        btf_id = functionBtfId("bpf_lsm_" + target);
    } else if ((cookie & SECTION_BTF_TRACEPOINT) != 0) {
        btf_id = tracepointBtfId(target);
    }
    const bool is_template =
        loading != nullptr && loading->only_templates.count(bpf_program__name(program)) != 0;
    // A template's own function is of no matter: each clone names one.
    if (btf_id < 0 && !is_template) {
        say("program " + std::string(bpf_program__name(program)) + ": the kernel has no " + target + " for " +
            section + "\n");
        return btf_id;
    }
    if (btf_id > 0) {
        options->attach_btf_id = static_cast<uint32_t>(btf_id);
    }
    if (loading == nullptr) {
        return 0;
    }
    auto copy = std::make_shared<Template>();
    copy->name = bpf_program__name(program);
    copy->section = section;
    copy->type = bpf_program__type(program);
    copy->attach_type = options->expected_attach_type;
    copy->attach_btf_id = options->attach_btf_id;
    copy->flags = options->prog_flags;
    const struct bpf_insn *instructions = bpf_program__insns(program);
    ProgramText &text = copy->text;
    text.instructions.assign(instructions, instructions + bpf_program__insn_cnt(program));
    text.function_info_bytes = options->func_info_rec_size;
    text.function_info =
        copyOf(options->func_info, static_cast<size_t>(options->func_info_cnt) * options->func_info_rec_size);
    text.line_info_bytes = options->line_info_rec_size;
    text.line_info =
        copyOf(options->line_info, static_cast<size_t>(options->line_info_cnt) * options->line_info_rec_size);
    copy->btf_fd = options->prog_btf_fd;
    const int failed = is_template ? loadNothing(program, options) : specialiseLoaded(program, options, text);
    loading->templates[copy->name] = std::move(copy);
    return failed;
}

// The licence of an object file, which libbpf does not tell; empty where there is none.
std::string licenseOf(const std::string &path) {
    std::string license;
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() || elf_version(EV_CURRENT) == EV_NONE) {
        return license;
    }
    Elf *elf = elf_begin(fd.get(), ELF_C_READ, nullptr);
    if (elf == nullptr) {
        return license;
    }
    size_t names = 0;
    Elf_Scn *section = nullptr;
    while (elf_getshdrstrndx(elf, &names) == 0 && (section = elf_nextscn(elf, section)) != nullptr) {
        GElf_Shdr header;
        const char *name =
            gelf_getshdr(section, &header) != nullptr ? elf_strptr(elf, names, header.sh_name) : nullptr;
        Elf_Data *data =
            name != nullptr && strcmp(name, "license") == 0 ? elf_getdata(section, nullptr) : nullptr;
        if (data != nullptr && data->d_buf != nullptr) {
            const char *text = static_cast<const char *>(data->d_buf);
            license.assign(text, strnlen(text, data->d_size));
            break;
        }
    }
    elf_end(elf);
    return license;
}

// Calls visit(section name, variable name, offset, size) for each variable of the object's data sections.
template <typename Visit> void forEachVariable(const struct btf *btf, Visit visit) {
    const uint32_t count = btf == nullptr ? 0 : btf__type_cnt(btf);
    for (uint32_t id = 1; id < count; id++) {
        const struct btf_type *section = btf__type_by_id(btf, id);
        if (!btf_is_datasec(section)) {
            continue;
        }
        const struct btf_var_secinfo *info = btf_var_secinfos(section);
        for (int index = 0; index < btf_vlen(section); index++, info++) {
            const struct btf_type *variable = btf__type_by_id(btf, info->type);
            visit(btf__name_by_offset(btf, section->name_off), btf__name_by_offset(btf, variable->name_off),
                  info->offset, info->size);
        }
    }
}

// Sets a variable, or a whole section, before the load. False with a pending exception.
bool setConstant(Napi::Env env, struct bpf_object *object, const std::string &name, const View &bytes) {
    std::string section = name;
    uint32_t offset = 0;
    uint32_t size = 0;
    bool found = false;
    if (name[0] != '.') {
        forEachVariable(bpf_object__btf(object),
                        [&](const char *in, const char *variable, uint32_t at, uint32_t length) {
                            if (name == variable) {
                                section = in;
                                offset = at;
                                size = length;
                                found = true;
                            }
                        });
    }
    struct bpf_map *map = bpf_object__find_map_by_name(object, section.c_str());
    size_t section_bytes = 0;
    void *data = map == nullptr ? nullptr : const_cast<void *>(bpf_map__initial_value(map, &section_bytes));
    if (data == nullptr || (name[0] != '.' && !found)) {
        throwError(env, "NOT_FOUND", "rodata." + name + ": the object has no such constant", 0);
        return false;
    }
    if (name[0] == '.') {
        size = static_cast<uint32_t>(section_bytes);
    }
    if (bytes.bytes != size || offset + static_cast<size_t>(size) > section_bytes) {
        throwError(env, "BAD_ARGUMENT",
                   "rodata." + name + " has " + std::to_string(bytes.bytes) + " bytes, the object takes " +
                       std::to_string(size),
                   0);
        return false;
    }
    memcpy(static_cast<char *>(data) + offset, bytes.data, bytes.bytes);
    return true;
}

struct bpf_map *mapNamed(Napi::Env env, struct bpf_object *object, const std::string &option,
                         const std::string &name) {
    struct bpf_map *map = bpf_object__find_map_by_name(object, name.c_str());
    if (map == nullptr) {
        throwError(env, "NOT_FOUND", option + "." + name + ": the object has no such map", 0);
    }
    return map;
}

bool applyMaps(Napi::Env env, struct bpf_object *object, Napi::Object options) {
    Napi::Object reuse = options.Get("reuse").As<Napi::Object>();
    Napi::Array names = reuse.GetPropertyNames();
    for (uint32_t index = 0; index < names.Length(); index++) {
        const std::string name = names.Get(index).ToString();
        struct bpf_map *map = mapNamed(env, object, "reuseMaps", name);
        Map *other = map == nullptr ? nullptr : Map::from(env, reuse.Get(name));
        if (other == nullptr) {
            return false;
        }
        if (int failed = bpf_map__reuse_fd(map, other->fd()); failed != 0) {
            throwError(env, "OBJECT_OPEN_FAILED", "map " + name + " cannot be reused", -failed);
            return false;
        }
    }
    Napi::Object pinned = options.Get("pinned").As<Napi::Object>();
    names = pinned.GetPropertyNames();
    for (uint32_t index = 0; index < names.Length(); index++) {
        const std::string name = names.Get(index).ToString();
        const std::string path = pinned.Get(name).ToString();
        struct bpf_map *map = mapNamed(env, object, "pinnedMaps", name);
        if (map == nullptr) {
            return false;
        }
        if (int failed = bpf_map__set_pin_path(map, path.c_str()); failed != 0) {
            throwError(env, "PIN_FAILED", "map " + name + " cannot be pinned at " + path, -failed);
            return false;
        }
    }
    Napi::Object max_entries = options.Get("maxEntries").As<Napi::Object>();
    names = max_entries.GetPropertyNames();
    for (uint32_t index = 0; index < names.Length(); index++) {
        const std::string name = names.Get(index).ToString();
        struct bpf_map *map = mapNamed(env, object, "maxEntries", name);
        if (map == nullptr) {
            return false;
        }
        if (int failed = bpf_map__set_max_entries(map, max_entries.Get(name).ToNumber().Uint32Value());
            failed != 0) {
            throwError(env, "OBJECT_OPEN_FAILED", "map " + name + " cannot be resized", -failed);
            return false;
        }
    }
    return true;
}

// Sets which programs are loaded. False with a pending exception.
bool setAutoload(Napi::Env env, struct bpf_object *object, const char *option, Napi::Array wanted) {
    for (uint32_t index = 0; index < wanted.Length(); index++) {
        const std::string name = wanted.Get(index).ToString();
        struct bpf_program *program = bpf_object__find_program_by_name(object, name.c_str());
        if (program == nullptr) {
            throwError(env, "NOT_FOUND", std::string(option) + ": the object has no program " + name, 0);
            return false;
        }
        bpf_program__set_autoload(program, true);
    }
    return true;
}

bool applyPrograms(Napi::Env env, ObjectState &state, Napi::Object options) {
    struct bpf_object *object = state.object;
    Napi::Object rodata = options.Get("rodata").As<Napi::Object>();
    Napi::Array names = rodata.GetPropertyNames();
    for (uint32_t index = 0; index < names.Length(); index++) {
        const std::string name = names.Get(index).ToString();
        View bytes;
        if (name.empty() || !bytesOf(env, rodata.Get(name), ("rodata." + name).c_str(), bytes) ||
            !setConstant(env, object, name, bytes)) {
            return false;
        }
    }
    if (options.Get("autoload").IsArray()) {
        struct bpf_program *program = nullptr;
        bpf_object__for_each_program(program, object) {
            bpf_program__set_autoload(program, false);
        }
        if (!setAutoload(env, object, "autoload", options.Get("autoload").As<Napi::Array>())) {
            return false;
        }
    }
    Napi::Array templates = options.Get("templates").As<Napi::Array>();
    for (uint32_t index = 0; index < templates.Length(); index++) {
        state.only_templates.insert(templates.Get(index).ToString());
    }
    return setAutoload(env, object, "templates", templates);
}

} // namespace

void registerSections() {
    struct Section {
        const char *name;
        enum bpf_prog_type type;
        enum bpf_attach_type attach_type;
        long flags;
    };
    const auto none = static_cast<enum bpf_attach_type>(0);
    const Section sections[] = {
        {"fentry+", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, SECTION_BTF_FUNCTION},
        {"fentry.s+", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, SECTION_BTF_FUNCTION | SECTION_SLEEPABLE},
        {"fexit+", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, SECTION_BTF_FUNCTION},
        {"fexit.s+", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, SECTION_BTF_FUNCTION | SECTION_SLEEPABLE},
        {"fmod_ret+", BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN, SECTION_BTF_FUNCTION},
        {"fmod_ret.s+", BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN, SECTION_BTF_FUNCTION | SECTION_SLEEPABLE},
        {"lsm+", BPF_PROG_TYPE_LSM, BPF_LSM_MAC, SECTION_BTF_LSM},
        {"lsm.s+", BPF_PROG_TYPE_LSM, BPF_LSM_MAC, SECTION_BTF_LSM | SECTION_SLEEPABLE},
        {"tp_btf+", BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, SECTION_BTF_TRACEPOINT},
        {"raw_tp+", BPF_PROG_TYPE_RAW_TRACEPOINT, none, 0},
        {"raw_tracepoint+", BPF_PROG_TYPE_RAW_TRACEPOINT, none, 0},
        {"tp+", BPF_PROG_TYPE_TRACEPOINT, none, 0},
        {"tracepoint+", BPF_PROG_TYPE_TRACEPOINT, none, 0},
        {"kprobe+", BPF_PROG_TYPE_KPROBE, none, 0},
        {"kretprobe+", BPF_PROG_TYPE_KPROBE, none, 0},
        {"kprobe.multi+", BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI, 0},
        {"kretprobe.multi+", BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI, 0},
        {"uprobe+", BPF_PROG_TYPE_KPROBE, none, 0},
        {"uretprobe+", BPF_PROG_TYPE_KPROBE, none, 0},
        {"uprobe.s+", BPF_PROG_TYPE_KPROBE, none, SECTION_SLEEPABLE},
        {"uretprobe.s+", BPF_PROG_TYPE_KPROBE, none, SECTION_SLEEPABLE},
        {"syscall", BPF_PROG_TYPE_SYSCALL, none, SECTION_SLEEPABLE},
    };
    for (const Section &section : sections) {
        DECLARE_LIBBPF_OPTS(libbpf_prog_handler_opts, options, .cookie = section.flags,
                            .prog_prepare_load_fn = prepareLoad);
        // It fails only where memory does; libbpf's own handler then stays, and a clone says NOT_FOUND.
        libbpf_register_prog_handler(section.name, section.type, section.attach_type, &options);
    }
}

ObjectState::~ObjectState() {
    close();
}

void ObjectState::close() {
    if (object != nullptr) {
        bpf_object__close(object);
        object = nullptr;
    }
    templates.clear();
}

void Object::define(Napi::Env env, Instance &instance) {
    Napi::Function constructor = DefineClass(
        env, "Object",
        {InstanceMethod<&Object::load>("load"), InstanceMethod<&Object::map>("map"),
         InstanceMethod<&Object::program>("program"), InstanceMethod<&Object::mapNames>("mapNames"),
         InstanceMethod<&Object::programNames>("programNames"), InstanceMethod<&Object::close>("close")});
    instance.object = Napi::Persistent(constructor);
}

Object::Object(const Napi::CallbackInfo &info)
    : Napi::ObjectWrap<Object>(info), state_(std::make_shared<ObjectState>()) {
}

bool Object::open(Napi::Env env) const {
    if (state_->object != nullptr) {
        return true;
    }
    throwError(env, "BAD_STATE", "object " + state_->path + " is closed", 0);
    return false;
}

Napi::Value openObject(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    initialiseLibbpf();
    Napi::Object options = info[0].As<Napi::Object>();
    const std::string path = options.Get("path").ToString();
    LogCapture capture;
    Napi::Object result = instanceOf(env).object.New({});
    ObjectState &state = *Object::Unwrap(result)->state_;
    state.path = path;
    state.object = bpf_object__open_file(path.c_str(), nullptr);
    if (state.object == nullptr) {
        throwError(env, "OBJECT_OPEN_FAILED", "object file " + path + " cannot be opened", errno,
                   capture.text());
        return env.Undefined();
    }
    state.license = licenseOf(path);
    if (!applyMaps(env, state.object, options) || !applyPrograms(env, state, options)) {
        state.close();
        return env.Undefined();
    }
    return result;
}

void Object::load(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return;
    }
    LogCapture capture;
    loading = state_.get();
    const int failed = bpf_object__load(state_->object);
    loading = nullptr;
    // libbpf has parsed the kernel's BTF and freed it: megabytes that the allocator would keep.
    malloc_trim(0);
    if (failed != 0) {
        throwError(env, "OBJECT_LOAD_FAILED", "object " + state_->path + " cannot be loaded", -failed,
                   capture.text());
        return;
    }
    struct bpf_map *rodata = bpf_object__find_map_by_name(state_->object, ".rodata");
    if (rodata == nullptr) {
        return;
    }
    state_->rodata_fd = bpf_map__fd(rodata);
    state_->rodata.resize(bpf_map__value_size(rodata));
    const uint32_t zero = 0;
    if (bpf_map_lookup_elem(state_->rodata_fd, &zero, state_->rodata.data()) != 0) {
        throwError(env, "MAP_ACCESS_FAILED", "the constants of " + state_->path + " cannot be read", errno);
        return;
    }
    forEachVariable(bpf_object__btf(state_->object),
                    [this](const char *section, const char *name, uint32_t offset, uint32_t size) {
                        if (strcmp(section, ".rodata") == 0) {
                            state_->variables[name] = {offset, size};
                        }
                    });
}

Napi::Value Object::map(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return env.Undefined();
    }
    const std::string name = info[0].ToString();
    struct bpf_map *map = bpf_object__find_map_by_name(state_->object, name.c_str());
    if (map == nullptr) {
        return env.Undefined();
    }
    Fd fd = duplicate(bpf_map__fd(map));
    if (!fd.valid()) {
        throwError(env, "BAD_STATE", "map " + name + " is not loaded", errno);
        return env.Undefined();
    }
    return Map::wrap(env, std::move(fd), name);
}

Napi::Value Object::program(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return env.Undefined();
    }
    const std::string name = info[0].ToString();
    struct bpf_program *program = bpf_object__find_program_by_name(state_->object, name.c_str());
    if (program == nullptr || bpf_program__fd(program) < 0) {
        return env.Undefined();
    }
    Fd fd = duplicate(bpf_program__fd(program));
    if (!fd.valid()) {
        throwError(env, "SYSTEM_FAILED", "program " + name + " cannot be had", errno);
        return env.Undefined();
    }
    auto found = state_->templates.find(name);
    return Program::wrap(env, std::move(fd), name, found == state_->templates.end() ? nullptr : found->second,
                         state_);
}

Napi::Value Object::mapNames(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Napi::Array names = Napi::Array::New(env);
    if (!open(env)) {
        return names;
    }
    uint32_t count = 0;
    struct bpf_map *map = nullptr;
    bpf_object__for_each_map(map, state_->object) {
        names.Set(count++, Napi::String::New(env, bpf_map__name(map)));
    }
    return names;
}

Napi::Value Object::programNames(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Napi::Array names = Napi::Array::New(env);
    if (!open(env)) {
        return names;
    }
    uint32_t count = 0;
    struct bpf_program *program = nullptr;
    bpf_object__for_each_program(program, state_->object) {
        names.Set(count++, Napi::String::New(env, bpf_program__name(program)));
    }
    return names;
}

void Object::close(const Napi::CallbackInfo &) {
    state_->close();
}

} // namespace weir
