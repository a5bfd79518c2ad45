// SPDX-License-Identifier: Apache-2.0
// Owns the kernel's BTF: parsed at its first use, once a process, since parsing costs tens of milliseconds.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

struct btf;

namespace weir {

struct FunctionDescription {
    uint32_t btf_id = 0;
    std::string returns;
    std::vector<std::pair<std::string, std::string>> parameters;
};

// Id of a function; a negative errno where the kernel has no BTF or no such function.
int functionBtfId(const std::string &name);
// Id of the typedef btf_trace_NAME.
int tracepointBtfId(const std::string &name);
// The kernel's own types, NULL where it does not tell them.
const struct btf *vmlinuxBtf();
// A type as C spells it.
std::string typeName(const struct btf *btf, uint32_t id, int depth = 0);
// A negative errno where there is none, else 0.
int describeFunction(const std::string &name, FunctionDescription &description);
// The values of a raw tracepoint, as parameters. A negative errno where there is none, else 0.
int describeTracepoint(const std::string &name, FunctionDescription &description);

} // namespace weir
