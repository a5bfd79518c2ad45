// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "btf.h"
#include "field.h"

namespace weir {

namespace {

// Writing to a map of maps makes the kernel wait for a grace period before it answers.
int waitByMapOfMaps() {
    Fd inner(bpf_map_create(BPF_MAP_TYPE_ARRAY, "grace_inner", 4, 8, 1, nullptr));
    if (!inner.valid()) {
        return errno;
    }
    DECLARE_LIBBPF_OPTS(bpf_map_create_opts, options);
    options.inner_map_fd = static_cast<uint32_t>(inner.get());
    Fd outer(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "grace", 4, 4, 1, &options));
    const uint32_t zero = 0;
    const int value = inner.get();
    return outer.valid() && bpf_map_update_elem(outer.get(), &zero, &value, BPF_ANY) == 0 ? 0 : errno;
}

int waitForGracePeriod() {
    // MEMBARRIER_CMD_GLOBAL is synchronize_rcu(); it refuses where CPUs run without ticks (nohz_full).
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) {
        return 0;
    }
    return waitByMapOfMaps();
}

class GracePeriod : public Napi::AsyncWorker {
  public:
    GracePeriod(Napi::Function callback) : Napi::AsyncWorker(callback, "weir-grace-period") {
    }
    void Execute() override {
        error_number_ = waitForGracePeriod();
    }
    void OnOK() override {
        Napi::HandleScope scope(Env());
        if (error_number_ == 0) {
            Callback().Call({Env().Null()});
            return;
        }
        Napi::Error error =
            Napi::Error::New(Env(), describe("no grace period can be waited for", error_number_));
        error.Value().Set("weirCode", Napi::String::New(Env(), "SYSTEM_FAILED"));
        error.Value().Set("errno", Napi::Number::New(Env(), error_number_));
        error.Value().Set("log", Napi::String::New(Env(), ""));
        Callback().Call({error.Value()});
    }

  private:
    int error_number_ = 0;
};

struct ProgramProbe {
    const char *name;
    enum bpf_prog_type type;
    enum bpf_attach_type attach_type;
    const char *target;
    uint32_t flags;
};

// Loads "return 0". 0 or an errno; log is what the verifier said.
int probeProgram(const ProgramProbe &wanted, std::string &log) {
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    };
    DECLARE_LIBBPF_OPTS(bpf_prog_load_opts, options);
    options.expected_attach_type = wanted.attach_type;
    options.prog_flags = wanted.flags;
    if (wanted.target != nullptr) {
        const int id = wanted.attach_type == BPF_TRACE_RAW_TP ? tracepointBtfId(wanted.target)
                                                              : functionBtfId(wanted.target);
        if (id < 0) {
            return -id;
        }
        options.attach_btf_id = static_cast<uint32_t>(id);
    }
    std::vector<char> text(64 * 1024);
    options.log_level = 1;
    options.log_buf = text.data();
    options.log_size = static_cast<uint32_t>(text.size());
    Fd fd(bpf_prog_load(wanted.type, "weir_probe", "Dual BSD/GPL", instructions, 2, &options));
    const int failed = fd.valid() ? 0 : errno;
    log.assign(text.data(), strnlen(text.data(), text.size()));
    return failed;
}

int probeMap(enum bpf_map_type type, uint32_t key_size, uint32_t value_size, uint32_t max_entries) {
    Fd fd(bpf_map_create(type, "weir_probe", key_size, value_size, max_entries, nullptr));
    return fd.valid() ? 0 : errno;
}

constexpr int NOT_SUPPORTED = 524; // ENOTSUPP, which user space's headers lack

int probeByLibbpf(int answer) {
    return answer == 1 ? 0 : answer == 0 ? NOT_SUPPORTED : -answer;
}

} // namespace

void waitGracePeriod(const Napi::CallbackInfo &info) {
    if (!info[0].IsFunction()) {
        throwError(info.Env(), "BAD_ARGUMENT", "the argument is not a function", 0);
        return;
    }
    auto worker = std::make_unique<GracePeriod>(info[0].As<Napi::Function>());
    worker->Queue();
    // Queue hands it to Node, which destroys it after the callback.
    (void)worker.release();
}

Napi::Value kernelFunction(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const std::string name = info[0].ToString();
    const std::string prefix = info[1].ToString();
    FunctionDescription description;
    const int error = prefix == "btf_trace_" ? describeTracepoint(name, description)
                                             : describeFunction(prefix + name, description);
    if (error != 0) {
        return env.Undefined();
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("btfId", Napi::Number::New(env, description.btf_id));
    result.Set("returns", Napi::String::New(env, description.returns));
    Napi::Array parameters = Napi::Array::New(env);
    uint32_t count = 0;
    for (const auto &[parameter, type] : description.parameters) {
        Napi::Object entry = Napi::Object::New(env);
        entry.Set("name", Napi::String::New(env, parameter));
        entry.Set("type", Napi::String::New(env, type));
        parameters.Set(count++, entry);
    }
    result.Set("parameters", parameters);
    return result;
}

// kernelField(function, parameter, type, module, path): a description, or in words why there is none.
Napi::Value kernelField(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    FieldStart start;
    // As its types name it.
    const std::string name = info[0].ToString();
    constexpr std::string_view prefix = "btf_trace_";
    (name.compare(0, prefix.size(), prefix) == 0 ? start.tracepoint : start.function) =
        name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : name;
    start.parameter = info[1].ToNumber().Uint32Value();
    start.type = info[2].ToString();
    start.module = info[3].ToString();
    FieldDescription found;
    const std::string wrong = describeField(start, info[4].ToString(), found);
    if (!wrong.empty()) {
        return Napi::String::New(env, wrong);
    }
    const auto describe = [env](const TypeDescription &type) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("kind", Napi::String::New(env, type.kind));
        result.Set("name", Napi::String::New(env, type.name));
        result.Set("tag", Napi::String::New(env, type.tag));
        result.Set("size", Napi::Number::New(env, static_cast<double>(type.size)));
        result.Set("isSigned", Napi::Boolean::New(env, type.is_signed));
        return result;
    };
    Napi::Array steps = Napi::Array::New(env);
    uint32_t count = 0;
    for (const FieldStep &step : found.steps) {
        Napi::Object entry = Napi::Object::New(env);
        entry.Set("offset", Napi::Number::New(env, step.offset));
        entry.Set("follows", Napi::Boolean::New(env, step.follows));
        steps.Set(count++, entry);
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("steps", steps);
    result.Set("type", describe(found.type));
    if (!found.target.kind.empty()) {
        result.Set("target", describe(found.target));
    }
    result.Set("bitOffset", Napi::Number::New(env, found.bit_offset));
    result.Set("bits", Napi::Number::New(env, found.bits));
    return result;
}

Napi::Value probe(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    initialiseLibbpf();
    const std::string wanted = info[0].ToString();
    const auto none = static_cast<enum bpf_attach_type>(0);
    const ProgramProbe programs[] = {
        {"tracepoint", BPF_PROG_TYPE_TRACEPOINT, none, nullptr, 0},
        {"rawTracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, none, nullptr, 0},
        {"tpBtf", BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, "sched_process_exec", 0},
        {"fentry", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, "security_file_open", 0},
        {"fexit", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, "security_file_open", 0},
        {"fmodRet", BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN, "security_file_open", 0},
        {"lsm", BPF_PROG_TYPE_LSM, BPF_LSM_MAC, "bpf_lsm_file_open", 0},
        {"kprobe", BPF_PROG_TYPE_KPROBE, none, nullptr, 0},
        {"kprobeMulti", BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI, nullptr, 0},
        {"syscallProgram", BPF_PROG_TYPE_SYSCALL, none, nullptr, BPF_F_SLEEPABLE},
    };
    int failed = EINVAL;
    std::string log;
    LogCapture capture;
    for (const ProgramProbe &program : programs) {
        if (wanted == program.name) {
            failed = probeProgram(program, log);
        }
    }
    if (wanted == "ringbuf") {
        failed = probeMap(BPF_MAP_TYPE_RINGBUF, 0, 0, static_cast<uint32_t>(sysconf(_SC_PAGESIZE)));
    } else if (wanted == "taskStorage") {
        failed = probeByLibbpf(libbpf_probe_bpf_map_type(BPF_MAP_TYPE_TASK_STORAGE, nullptr));
    } else if (wanted == "bpfLoop") {
        failed = probeByLibbpf(libbpf_probe_bpf_helper(BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_FUNC_loop, nullptr));
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("errno", Napi::Number::New(env, failed));
    result.Set("log", Napi::String::New(env, tail(log)));
    return result;
}

Napi::Value clockOffsetNs(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const auto clockOf = [](const std::string &name) {
        return name == "boottime" ? CLOCK_BOOTTIME : name == "realtime" ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    };
    const clockid_t from = clockOf(info[0].ToString());
    const clockid_t to = clockOf(info[1].ToString());
    const auto now = [](clockid_t clock) {
        struct timespec time = {};
        clock_gettime(clock, &time);
        return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
    };
    // The tightest of some readings: being scheduled away between two of them would be taken for an offset.
    int64_t best = INT64_MAX;
    int64_t offset = 0;
    for (int attempt = 0; attempt < 16; attempt++) {
        const int64_t before = now(from);
        const int64_t other = now(to);
        const int64_t after = now(from);
        if (after - before < best) {
            best = after - before;
            offset = other - (before + (after - before) / 2);
        }
    }
    return Napi::BigInt::New(env, from == to ? int64_t{0} : offset);
}

Napi::Value possibleCpus(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const int count = libbpf_num_possible_cpus();
    if (count <= 0) {
        throwError(env, "SYSTEM_FAILED", "the possible CPUs cannot be counted", -count);
        return env.Undefined();
    }
    return Napi::Number::New(env, count);
}

// copyRanges(target, source, ranges, count): ranges holds count times (from, to, bytes). All are checked.
Napi::Value copyRanges(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View target;
    View source;
    View ranges;
    if (!bytesOf(env, info[0], "target", target) || !bytesOf(env, info[1], "source", source)) {
        return env.Undefined();
    }
    const uint32_t count = info[3].ToNumber().Uint32Value();
    if (!viewOf(info[2], napi_uint32_array, ranges) || ranges.length / 3 < count) {
        throwError(env, "BAD_ARGUMENT", "ranges hold fewer than " + std::to_string(count) + " ranges", 0);
        return env.Undefined();
    }
    const auto *words = static_cast<const uint32_t *>(ranges.data);
    const auto *from = static_cast<const char *>(source.data);
    auto *to = static_cast<char *>(target.data);
    for (uint32_t index = 0; index < count; index++, words += 3) {
        const uint64_t start = words[0];
        const uint64_t place = words[1];
        const uint64_t bytes = words[2];
        if (start + bytes > source.bytes || place + bytes > target.bytes) {
            throwError(env, "BAD_ARGUMENT", "range " + std::to_string(index) + " leaves its memory", 0);
            return env.Undefined();
        }
        memmove(to + place, from + start, bytes);
    }
    return env.Undefined();
}

} // namespace weir
