// SPDX-License-Identifier: Apache-2.0
#include "btf.h"

#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <string_view>

namespace weir {

namespace {

struct KernelBtf {
    struct btf *btf = nullptr;
    int error = 0;
    // By name; the names themselves lie in the BTF. Sorted: a hash of 60,000 strings would take ten times as
    // much.
    std::vector<std::pair<std::string_view, uint32_t>> functions;
    std::vector<std::pair<std::string_view, uint32_t>> tracepoints;
};

// Never freed: it is read-only, and lives as long as the process.
const KernelBtf &kernelBtf() {
    static KernelBtf kernel;
    static std::once_flag once;
    std::call_once(once, [] {
        kernel.btf = btf__load_vmlinux_btf();
        if (kernel.btf == nullptr) {
            kernel.error = errno != 0 ? -errno : -ENOENT;
            return;
        }
        const uint32_t count = btf__type_cnt(kernel.btf);
        for (uint32_t id = 1; id < count; id++) {
            const struct btf_type *type = btf__type_by_id(kernel.btf, id);
            if (btf_is_func(type)) {
                kernel.functions.emplace_back(btf__name_by_offset(kernel.btf, type->name_off), id);
            } else if (btf_is_typedef(type)) {
                const char *name = btf__name_by_offset(kernel.btf, type->name_off);
                if (std::string_view(name).substr(0, 10) == "btf_trace_") {
                    kernel.tracepoints.emplace_back(name + 10, id);
                }
            }
        }
        // Stable, so that of several functions of one name the first is found.
        const auto by_name = [](const auto &one, const auto &other) { return one.first < other.first; };
        std::stable_sort(kernel.functions.begin(), kernel.functions.end(), by_name);
        std::stable_sort(kernel.tracepoints.begin(), kernel.tracepoints.end(), by_name);
        kernel.functions.shrink_to_fit();
    });
    return kernel;
}

constexpr int DEPTH_MAX = 16;

int find(const std::vector<std::pair<std::string_view, uint32_t>> &names, const std::string &name) {
    const auto found =
        std::lower_bound(names.begin(), names.end(), name,
                         [](const auto &one, const std::string &wanted) { return one.first < wanted; });
    return found == names.end() || found->first != name ? -ENOENT : static_cast<int>(found->second);
}

// The entry of a system call that takes no arguments is one function with two names, of which the types have
// the inner one only (SYSCALL_DEFINE0 in asm/syscall_wrapper.h). Of other calls that name is another
// function, with parameters of its own.
int findEntryWithoutArguments(const KernelBtf &kernel, const std::string &name) {
    constexpr std::string_view entry = "__x64_sys_";
    if (name.compare(0, entry.size(), entry) != 0) {
        return -ENOENT;
    }
    const int id = find(kernel.functions, "__do_sys_" + name.substr(entry.size()));
    if (id < 0) {
        return id;
    }
    const struct btf_type *function = btf__type_by_id(kernel.btf, static_cast<uint32_t>(id));
    const struct btf_type *proto = btf__type_by_id(kernel.btf, function->type);
    const bool takes_registers = proto != nullptr && btf_is_func_proto(proto) && btf_vlen(proto) == 1 &&
                                 typeName(kernel.btf, btf_params(proto)->type) == "const struct pt_regs *";
    return takes_registers ? id : -ENOENT;
}

} // namespace

std::string typeName(const struct btf *btf, uint32_t id, int depth) {
    if (id == 0) {
        return "void";
    }
    const struct btf_type *type = btf__type_by_id(btf, id);
    if (type == nullptr || depth > DEPTH_MAX) {
        return "?";
    }
    const std::string name = btf__name_by_offset(btf, type->name_off);
    switch (btf_kind(type)) {
    case BTF_KIND_PTR: {
        const std::string inner = typeName(btf, type->type, depth + 1);
        return inner + (inner.back() == '*' ? "*" : " *");
    }
    case BTF_KIND_CONST:
        return "const " + typeName(btf, type->type, depth + 1);
    case BTF_KIND_VOLATILE:
        return "volatile " + typeName(btf, type->type, depth + 1);
    case BTF_KIND_RESTRICT:
    case BTF_KIND_TYPE_TAG:
        return typeName(btf, type->type, depth + 1);
    case BTF_KIND_STRUCT:
        return "struct " + name;
    case BTF_KIND_UNION:
        return "union " + name;
    case BTF_KIND_FWD:
        return (btf_kflag(type) ? "union " : "struct ") + name;
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64:
        return "enum " + name;
    case BTF_KIND_FUNC_PROTO:
        return "function";
    case BTF_KIND_ARRAY:
        return typeName(btf, btf_array(type)->type, depth + 1) + " []";
    default:
        return name;
    }
}

const struct btf *vmlinuxBtf() {
    return kernelBtf().btf;
}

int functionBtfId(const std::string &name) {
    const KernelBtf &kernel = kernelBtf();
    if (kernel.btf == nullptr) {
        return kernel.error;
    }
    const int id = find(kernel.functions, name);
    return id < 0 ? findEntryWithoutArguments(kernel, name) : id;
}

int tracepointBtfId(const std::string &name) {
    const KernelBtf &kernel = kernelBtf();
    return kernel.btf == nullptr ? kernel.error : find(kernel.tracepoints, name);
}

static int describePrototype(int id, const struct btf_type *proto, int first,
                             FunctionDescription &description) {
    const struct btf *btf = kernelBtf().btf;
    if (proto == nullptr || !btf_is_func_proto(proto)) {
        return -EINVAL;
    }
    description.btf_id = static_cast<uint32_t>(id);
    description.returns = typeName(btf, proto->type);
    const struct btf_param *parameter = btf_params(proto);
    for (int index = first; index < btf_vlen(proto); index++) {
        description.parameters.emplace_back(btf__name_by_offset(btf, parameter[index].name_off),
                                            typeName(btf, parameter[index].type));
    }
    return 0;
}

int describeFunction(const std::string &name, FunctionDescription &description) {
    int id = functionBtfId(name);
    if (id < 0) {
        return id;
    }
    const struct btf *btf = kernelBtf().btf;
    const struct btf_type *function = btf__type_by_id(btf, static_cast<uint32_t>(id));
    return describePrototype(id, btf__type_by_id(btf, function->type), 0, description);
}

int describeTracepoint(const std::string &name, FunctionDescription &description) {
    int id = tracepointBtfId(name);
    if (id < 0) {
        return id;
    }
    // A typedef of a pointer to a function, whose first parameter belongs to the kernel's caller.
    const struct btf *btf = kernelBtf().btf;
    const struct btf_type *pointer =
        btf__type_by_id(btf, btf__type_by_id(btf, static_cast<uint32_t>(id))->type);
    if (pointer == nullptr || !btf_is_ptr(pointer)) {
        return -EINVAL;
    }
    return describePrototype(id, btf__type_by_id(btf, pointer->type), 1, description);
}

} // namespace weir
