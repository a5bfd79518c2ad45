// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "btf.h"
#include "map.h"

namespace weir {

namespace {

constexpr size_t VERIFIER_LOG_BYTES = 4 << 20;

// A number from a small file of sysfs or tracefs; a negative errno where it cannot be read.
int64_t numberIn(const std::string &path) {
    std::ifstream file(path);
    int64_t number = 0;
    if (!(file >> number)) {
        return -ENOENT;
    }
    return number;
}

Fd openPerfEvent(struct perf_event_attr &attributes, int error_out[1]) {
    attributes.size = sizeof(attributes);
    Fd fd(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
    error_out[0] = fd.valid() ? 0 : errno;
    return fd;
}

struct Attached {
    Fd link;
    Fd event;
    int error = 0;
};

Attached linkEvent(int program, Fd event) {
    Attached attached;
    attached.link = Fd(bpf_link_create(program, event.get(), BPF_PERF_EVENT, nullptr));
    if (!attached.link.valid() || ioctl(event.get(), PERF_EVENT_IOC_ENABLE, 0) != 0) {
        attached.error = errno;
        attached.link.reset();
        return attached;
    }
    attached.event = std::move(event);
    return attached;
}

Attached attachTracepoint(int program, const std::string &category, const std::string &name) {
    Attached attached;
    int64_t id = -ENOENT;
    for (const char *root : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
        id = id >= 0 ? id : numberIn(std::string(root) + "/events/" + category + "/" + name + "/id");
    }
    if (id < 0) {
        attached.error = ENOENT;
        return attached;
    }
    struct perf_event_attr attributes = {};
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.config = static_cast<uint64_t>(id);
    Fd event = openPerfEvent(attributes, &attached.error);
    return event.valid() ? linkEvent(program, std::move(event)) : std::move(attached);
}

// A kprobe or a uprobe through its PMU; bit 0 of config asks for the return, its upper half says where a
// uprobe's counter is (ref_ctr_offset).
Attached attachProbe(int program, const std::string &pmu, const std::string &target, uint64_t offset,
                     bool returns, uint32_t counter_offset) {
    Attached attached;
    const int64_t type = numberIn("/sys/bus/event_source/devices/" + pmu + "/type");
    if (type < 0) {
        attached.error = ENOENT;
        return attached;
    }
    struct perf_event_attr attributes = {};
    attributes.type = static_cast<uint32_t>(type);
    attributes.config = (returns ? 1 : 0) | static_cast<uint64_t>(counter_offset) << 32;
    attributes.config1 = reinterpret_cast<uint64_t>(target.c_str());
    attributes.config2 = offset;
    Fd event = openPerfEvent(attributes, &attached.error);
    return event.valid() ? linkEvent(program, std::move(event)) : std::move(attached);
}

Attached attachMulti(int program, const std::vector<std::string> &names, bool returns) {
    std::vector<const char *> symbols;
    for (const std::string &name : names) {
        symbols.push_back(name.c_str());
    }
    DECLARE_LIBBPF_OPTS(bpf_link_create_opts, options);
    options.kprobe_multi.flags = returns ? BPF_F_KPROBE_MULTI_RETURN : 0;
    options.kprobe_multi.cnt = static_cast<uint32_t>(symbols.size());
    options.kprobe_multi.syms = symbols.data();
    Attached attached;
    attached.link = Fd(bpf_link_create(program, 0, BPF_TRACE_KPROBE_MULTI, &options));
    attached.error = attached.link.valid() ? 0 : errno;
    return attached;
}

Attached attachRaw(int program, const char *name) {
    Attached attached;
    attached.link = Fd(bpf_raw_tracepoint_open(name, program));
    attached.error = attached.link.valid() ? 0 : errno;
    return attached;
}

// By what the section says: `raw_tp/NAME`, `tracepoint/CATEGORY/NAME`, `kprobe/FUNCTION`; BTF types need no
// name.
Attached attachAuto(int program, const Template *copy, uint32_t type) {
    if (type == BPF_PROG_TYPE_TRACING || type == BPF_PROG_TYPE_LSM) {
        return attachRaw(program, nullptr);
    }
    Attached refused;
    refused.error = EINVAL;
    if (copy == nullptr) {
        return refused;
    }
    const size_t slash = copy->section.find('/');
    if (slash == std::string::npos) {
        return refused;
    }
    const std::string kind = copy->section.substr(0, slash);
    const std::string target = copy->section.substr(slash + 1);
    if (type == BPF_PROG_TYPE_RAW_TRACEPOINT) {
        return attachRaw(program, target.c_str());
    }
    if (type == BPF_PROG_TYPE_TRACEPOINT) {
        const size_t second = target.find('/');
        return second == std::string::npos
                   ? std::move(refused)
                   : attachTracepoint(program, target.substr(0, second), target.substr(second + 1));
    }
    if (kind == "kprobe" || kind == "kretprobe") {
        return attachProbe(program, "kprobe", target, 0, kind == "kretprobe", 0);
    }
    return refused;
}

std::vector<std::string> stringsOf(Napi::Value value) {
    std::vector<std::string> strings;
    if (value.IsArray()) {
        Napi::Array array = value.As<Napi::Array>();
        for (uint32_t index = 0; index < array.Length(); index++) {
            strings.push_back(array.Get(index).ToString());
        }
    }
    return strings;
}

// What the kernel charges for a program, from its fdinfo; 0 where that does not say.
uint64_t memlockOf(int fd) {
    std::ifstream file("/proc/self/fdinfo/" + std::to_string(fd));
    std::string word;
    while (file >> word) {
        if (word == "memlock:") {
            uint64_t bytes = 0;
            file >> bytes;
            return bytes;
        }
    }
    return 0;
}

// Points the clone at another function. 0 or a negative errno.
int retarget(Template &copy, const std::string &target, const std::string &attach_type) {
    if (!attach_type.empty()) {
        copy.type = attach_type == "lsm" ? BPF_PROG_TYPE_LSM : BPF_PROG_TYPE_TRACING;
        copy.attach_type = attach_type == "fentry"     ? BPF_TRACE_FENTRY
                           : attach_type == "fexit"    ? BPF_TRACE_FEXIT
                           : attach_type == "fmod_ret" ? BPF_MODIFY_RETURN
                           : attach_type == "lsm"      ? BPF_LSM_MAC
                           : attach_type == "tp_btf"   ? BPF_TRACE_RAW_TP
                                                       : static_cast<enum bpf_attach_type>(0);
        if (copy.attach_type == 0) {
            return -EINVAL;
        }
    }
    if (target.empty()) {
        return 0;
    }
    if (copy.type != BPF_PROG_TYPE_TRACING && copy.type != BPF_PROG_TYPE_LSM) {
        return -EINVAL;
    }
    const int id = copy.attach_type == BPF_TRACE_RAW_TP ? tracepointBtfId(target)
                   : copy.type == BPF_PROG_TYPE_LSM     ? functionBtfId("bpf_lsm_" + target)
                                                        : functionBtfId(target);
    if (id < 0) {
        return id;
    }
    copy.attach_btf_id = static_cast<uint32_t>(id);
    return 0;
}

// Has a clone use other maps than its object's. False with a pending exception.
bool replaceMaps(Napi::Env env, const ObjectState &state, Napi::Object maps, ProgramText &text) {
    Napi::Array names = maps.GetPropertyNames();
    for (uint32_t index = 0; index < names.Length(); index++) {
        const std::string name = names.Get(index).ToString();
        const struct bpf_map *own = bpf_object__find_map_by_name(state.object, name.c_str());
        if (own == nullptr) {
            throwError(env, "NOT_FOUND", "maps." + name + ": the object has no such map", 0);
            return false;
        }
        const Map *other = Map::from(env, maps.Get(name));
        if (other == nullptr) {
            return false;
        }
        for (struct bpf_insn &instruction : text.instructions) {
            if (instruction.code == (BPF_LD | BPF_IMM | BPF_DW) && instruction.src_reg == BPF_PSEUDO_MAP_FD &&
                instruction.imm == bpf_map__fd(own)) {
                instruction.imm = other->fd();
            }
        }
    }
    return true;
}

} // namespace

void Program::define(Napi::Env env, Instance &instance) {
    Napi::Function constructor =
        DefineClass(env, "Program",
                    {InstanceMethod<&Program::getFd>("fd"), InstanceMethod<&Program::attach>("attach"),
                     InstanceMethod<&Program::iterate>("iterate"), InstanceMethod<&Program::stats>("stats"),
                     InstanceMethod<&Program::testRun>("testRun"), InstanceMethod<&Program::clone>("clone"),
                     InstanceMethod<&Program::pin>("pin"), InstanceMethod<&Program::close>("close")});
    instance.program = Napi::Persistent(constructor);
}

Program::Program(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Program>(info) {
}

Napi::Value Program::wrap(Napi::Env env, Fd fd, const std::string &name, std::shared_ptr<Template> copy,
                          std::shared_ptr<ObjectState> object) {
    struct bpf_prog_info description = {};
    uint32_t length = sizeof(description);
    if (bpf_obj_get_info_by_fd(fd.get(), &description, &length) != 0) {
        throwError(env, "SYSTEM_FAILED", "program " + name + " cannot be described", errno);
        return env.Undefined();
    }
    Napi::Object result = instanceOf(env).program.New({});
    Program *program = Unwrap(result);
    program->fd_ = std::move(fd);
    program->name_ = name;
    program->template_ = std::move(copy);
    program->object_ = std::move(object);
    result.Set("name", Napi::String::New(env, name));
    result.Set("type", Napi::Number::New(env, description.type));
    result.Set("id", Napi::Number::New(env, description.id));
    return result;
}

bool Program::open(Napi::Env env) const {
    if (fd_.valid()) {
        return true;
    }
    throwError(env, "BAD_STATE", "program " + name_ + " is closed", 0);
    return false;
}

Napi::Value Program::getFd(const Napi::CallbackInfo &info) {
    return open(info.Env()) ? Napi::Number::New(info.Env(), fd_.get()) : info.Env().Undefined();
}

Napi::Value Program::attach(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return env.Undefined();
    }
    const std::string kind = info[0].ToString();
    const std::string first = info[1].ToString();
    const std::string second = info[2].ToString();
    const auto number = static_cast<uint64_t>(info[3].ToNumber().Int64Value());
    const bool flag = info[4].ToBoolean();
    LogCapture capture;
    Attached attached;
    if (kind == "auto") {
        const auto type = info.This().As<Napi::Object>().Get("type").ToNumber().Uint32Value();
        attached = attachAuto(fd_.get(), template_.get(), type);
    } else if (kind == "raw_tp") {
        attached = attachRaw(fd_.get(), first.c_str());
    } else if (kind == "tracepoint") {
        attached = attachTracepoint(fd_.get(), first, second);
    } else if (kind == "kprobe" || kind == "uprobe") {
        const uint32_t counter_offset = info[6].IsNumber() ? info[6].ToNumber().Uint32Value() : 0;
        attached = attachProbe(fd_.get(), kind, first, number, flag, counter_offset);
    } else if (kind == "kprobe_multi") {
        attached = attachMulti(fd_.get(), stringsOf(info[5]), flag);
    } else {
        attached.error = EINVAL;
    }
    if (!attached.link.valid()) {
        const std::string where = first.empty() ? "" : " to " + first + (second.empty() ? "" : "/" + second);
        throwError(env, "ATTACH_FAILED", "program " + name_ + " cannot be attached (" + kind + ")" + where,
                   attached.error, capture.text());
        return env.Undefined();
    }
    return Link::wrap(env, std::move(attached.link), std::move(attached.event));
}

// Runs an iterator to its end. What it writes is passed over.
Napi::Value Program::iterate(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return env.Undefined();
    }
    DECLARE_LIBBPF_OPTS(bpf_link_create_opts, options);
    const Fd link(bpf_link_create(fd_.get(), 0, BPF_TRACE_ITER, &options));
    const Fd walk(link.valid() ? bpf_iter_create(link.get()) : -1);
    char written[4096];
    ssize_t length = walk.valid() ? 1 : -1;
    while (length > 0 || (length < 0 && walk.valid() && (errno == EINTR || errno == EAGAIN))) {
        length = read(walk.get(), written, sizeof(written));
    }
    if (length < 0) {
        throwError(env, "SYSTEM_FAILED", "iterator " + name_ + " cannot be run", errno);
    }
    return env.Undefined();
}

Napi::Value Program::stats(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return env.Undefined();
    }
    struct bpf_prog_info description = {};
    uint32_t length = sizeof(description);
    if (bpf_obj_get_info_by_fd(fd_.get(), &description, &length) != 0) {
        throwError(env, "SYSTEM_FAILED", "program " + name_ + " cannot be described", errno);
        return env.Undefined();
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("runCount", Napi::BigInt::New(env, static_cast<uint64_t>(description.run_cnt)));
    result.Set("runTimeNs", Napi::BigInt::New(env, static_cast<uint64_t>(description.run_time_ns)));
    result.Set("recursionMisses",
               Napi::BigInt::New(env, static_cast<uint64_t>(description.recursion_misses)));
    result.Set("memlockBytes", Napi::Number::New(env, static_cast<double>(memlockOf(fd_.get()))));
    result.Set("jitedBytes", Napi::Number::New(env, description.jited_prog_len));
    result.Set("verifiedInstructions", Napi::Number::New(env, description.verified_insns));
    return result;
}

Napi::Value Program::testRun(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return env.Undefined();
    }
    DECLARE_LIBBPF_OPTS(bpf_test_run_opts, options);
    View context;
    if (!info[0].IsUndefined()) {
        if (!bytesOf(env, info[0], "context", context)) {
            return env.Undefined();
        }
        options.ctx_in = context.data;
        options.ctx_size_in = static_cast<uint32_t>(context.bytes);
    }
    if (bpf_prog_test_run_opts(fd_.get(), &options) != 0) {
        throwError(env, "TEST_RUN_FAILED", "program " + name_ + " cannot be run", errno);
        return env.Undefined();
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("returned", Napi::Number::New(env, options.retval));
    result.Set("durationNs", Napi::Number::New(env, options.duration));
    return result;
}

// Loads the copy with constants of its own; an invalid descriptor comes with a pending exception.
Fd Program::loadClone(Napi::Env env, const Template &copy, const std::vector<char> &rodata) {
    Fd constants;
    ProgramText text = copy.text;
    if (!rodata.empty()) {
        DECLARE_LIBBPF_OPTS(bpf_map_create_opts, map_options, .map_flags = BPF_F_RDONLY_PROG);
        constants = Fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "rodata", sizeof(uint32_t),
                                      static_cast<uint32_t>(rodata.size()), 1, &map_options));
        const uint32_t zero = 0;
        // Frozen: only then does the verifier take the bytes for constants and remove what they make dead.
        if (!constants.valid() || bpf_map_update_elem(constants.get(), &zero, rodata.data(), BPF_ANY) != 0 ||
            bpf_map_freeze(constants.get()) != 0) {
            throwError(env, "MAP_CREATE_FAILED", "the constants of program " + copy.name + " cannot be made",
                       errno);
            return Fd();
        }
        specialise(text, object_->rodata_fd, rodata);
        for (struct bpf_insn &instruction : text.instructions) {
            if (instruction.code == (BPF_LD | BPF_IMM | BPF_DW) &&
                (instruction.src_reg == BPF_PSEUDO_MAP_FD || instruction.src_reg == BPF_PSEUDO_MAP_VALUE) &&
                instruction.imm == object_->rodata_fd) {
                instruction.imm = constants.get();
            }
        }
    }
    DECLARE_LIBBPF_OPTS(bpf_prog_load_opts, options);
    options.expected_attach_type = copy.attach_type;
    options.attach_btf_id = copy.attach_btf_id;
    options.prog_flags = copy.flags;
    options.prog_btf_fd = copy.btf_fd;
    options.func_info = text.function_info.data();
    options.func_info_rec_size = text.function_info_bytes;
    options.func_info_cnt = text.function_info_bytes == 0
                                ? 0
                                : static_cast<uint32_t>(text.function_info.size() / text.function_info_bytes);
    Fd fd(bpf_prog_load(copy.type, copy.name.c_str(), object_->license.c_str(), text.instructions.data(),
                        text.instructions.size(), &options));
    if (fd.valid()) {
        return fd;
    }
    const int failed = errno;
    // Once more, to learn why. A log costs time, and the lines of the source that it names are kept in the
    // kernel with the program, so the first try goes without both.
    options.line_info = text.line_info.data();
    options.line_info_rec_size = text.line_info_bytes;
    options.line_info_cnt =
        text.line_info_bytes == 0 ? 0 : static_cast<uint32_t>(text.line_info.size() / text.line_info_bytes);
    std::vector<char> log(VERIFIER_LOG_BYTES);
    options.log_level = 1;
    options.log_buf = log.data();
    options.log_size = static_cast<uint32_t>(log.size());
    fd = Fd(bpf_prog_load(copy.type, copy.name.c_str(), object_->license.c_str(), text.instructions.data(),
                          text.instructions.size(), &options));
    if (!fd.valid()) {
        throwError(env, "PROGRAM_LOAD_FAILED", "program " + copy.name + " cannot be loaded", failed,
                   std::string(log.data(), strnlen(log.data(), log.size())));
    }
    return fd;
}

Napi::Value Program::clone(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return env.Undefined();
    }
    if (template_ == nullptr || object_ == nullptr) {
        throwError(env, "NOT_FOUND", "program " + name_ + " is no program of an object: it cannot be cloned",
                   0);
        return env.Undefined();
    }
    if (object_->object == nullptr) {
        throwError(env, "BAD_STATE", "object " + object_->path + " is closed: its programs cannot be cloned",
                   0);
        return env.Undefined();
    }
    Napi::Object options = info[0].As<Napi::Object>();
    Template copy = *template_;
    copy.name = options.Get("name").ToString();
    const std::string target = options.Get("attachTarget").ToString();
    const std::string attach_type = options.Get("attachType").ToString();
    if (int failed = retarget(copy, target, attach_type); failed != 0) {
        throwError(env, failed == -EINVAL ? "BAD_ARGUMENT" : "NOT_FOUND",
                   "program " + copy.name + ": " +
                       (attach_type.empty() ? "attachTarget " : attach_type + " ") + target +
                       " is not to be had on this kernel",
                   -failed);
        return env.Undefined();
    }
    std::vector<char> rodata = object_->rodata;
    if (!options.Get("rodata").IsUndefined()) {
        View whole;
        if (!bytesOf(env, options.Get("rodata"), "rodata", whole)) {
            return env.Undefined();
        }
        if (whole.bytes != rodata.size()) {
            throwError(env, "BAD_ARGUMENT",
                       "rodata has " + std::to_string(whole.bytes) + " bytes, the object takes " +
                           std::to_string(rodata.size()),
                       0);
            return env.Undefined();
        }
        memcpy(rodata.data(), whole.data, whole.bytes);
    }
    Napi::Object variables = options.Get("variables").As<Napi::Object>();
    Napi::Array names = variables.GetPropertyNames();
    for (uint32_t index = 0; index < names.Length(); index++) {
        const std::string name = names.Get(index).ToString();
        View bytes;
        if (!bytesOf(env, variables.Get(name), ("rodata." + name).c_str(), bytes)) {
            return env.Undefined();
        }
        auto place = object_->variables.find(name);
        if (place == object_->variables.end() || place->second.second != bytes.bytes) {
            throwError(env, place == object_->variables.end() ? "NOT_FOUND" : "BAD_ARGUMENT",
                       "rodata." + name + ": " +
                           (place == object_->variables.end()
                                ? "the object has no such constant"
                                : "has " + std::to_string(bytes.bytes) + " bytes, the object takes " +
                                      std::to_string(place->second.second)),
                       0);
            return env.Undefined();
        }
        memcpy(rodata.data() + place->second.first, bytes.data, bytes.bytes);
    }
    if (!replaceMaps(env, *object_, options.Get("maps").As<Napi::Object>(), copy.text)) {
        return env.Undefined();
    }
    Fd fd = loadClone(env, copy, rodata);
    if (!fd.valid()) {
        return env.Undefined();
    }
    const std::string name = copy.name;
    return wrap(env, std::move(fd), name, std::make_shared<Template>(std::move(copy)), object_);
}

void Program::pin(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const std::string path = info[0].ToString();
    if (open(env) && bpf_obj_pin(fd_.get(), path.c_str()) != 0) {
        throwError(env, "PIN_FAILED", "program " + name_ + " cannot be pinned at " + path, errno);
    }
}

void Program::close(const Napi::CallbackInfo &) {
    fd_.reset();
    template_.reset();
    object_.reset();
}

void Link::define(Napi::Env env, Instance &instance) {
    Napi::Function constructor =
        DefineClass(env, "Link",
                    {InstanceMethod<&Link::pin>("pin"), InstanceMethod<&Link::close>("close"),
                     InstanceMethod<&Link::programId>("programId")});
    instance.link = Napi::Persistent(constructor);
}

Link::Link(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Link>(info) {
}

Napi::Value Link::wrap(Napi::Env env, Fd link, Fd event) {
    struct bpf_link_info description = {};
    uint32_t length = sizeof(description);
    const bool known = bpf_obj_get_info_by_fd(link.get(), &description, &length) == 0;
    Napi::Object result = instanceOf(env).link.New({});
    Link *self = Unwrap(result);
    self->link_ = std::move(link);
    self->event_ = std::move(event);
    result.Set("id", Napi::Number::New(env, known ? description.id : 0));
    return result;
}

// Asked anew each time: 0 where the descriptor is a link no more.
Napi::Value Link::programId(const Napi::CallbackInfo &info) {
    struct bpf_link_info description = {};
    uint32_t length = sizeof(description);
    const bool known = link_.valid() && bpf_obj_get_info_by_fd(link_.get(), &description, &length) == 0;
    return Napi::Number::New(info.Env(), known ? description.prog_id : 0);
}

void Link::pin(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const std::string path = info[0].ToString();
    if (!link_.valid()) {
        throwError(env, "BAD_STATE", "the link is closed", 0);
    } else if (bpf_obj_pin(link_.get(), path.c_str()) != 0) {
        throwError(env, "PIN_FAILED", "the link cannot be pinned at " + path, errno);
    }
}

void Link::close(const Napi::CallbackInfo &) {
    link_.reset();
    event_.reset();
}

Napi::Value openPinnedLink(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const std::string path = info[0].ToString();
    Fd fd(bpf_obj_get(path.c_str()));
    if (!fd.valid()) {
        throwError(env, "PIN_FAILED", "no link can be opened at " + path, errno);
        return env.Undefined();
    }
    return Link::wrap(env, std::move(fd), Fd());
}

// A perf event to which the kernel tells what is mapped on one CPU, with build ids. It has no buffer: what it
// is told goes nowhere but to programs that look on.
Napi::Value openMappingEvent(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const int cpu = info[0].ToNumber().Int32Value();
    bool lossless = false;
    struct perf_event_attr attributes = {};
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_DUMMY;
    attributes.size = sizeof(attributes);
    attributes.mmap = 1;
    attributes.mmap2 = 1;
    attributes.build_id = 1;
    // Software events have no use for it.
    attributes.config1 = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
    Fd event(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!event.valid()) {
        throwError(env, "ATTACH_FAILED", "no event of mappings can be opened on CPU " + std::to_string(cpu),
                   errno);
        return env.Undefined();
    }
    return Link::wrap(env, Fd(), std::move(event));
}

Napi::Value enableStats(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Fd fd(bpf_enable_stats(BPF_STATS_RUN_TIME));
    if (!fd.valid()) {
        throwError(env, "SYSTEM_FAILED", "program statistics cannot be enabled", errno);
        return env.Undefined();
    }
    return Link::wrap(env, std::move(fd), Fd());
}

} // namespace weir
