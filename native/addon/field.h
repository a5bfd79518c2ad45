// SPDX-License-Identifier: Apache-2.0
// Owns the way from a parameter or a type to one of its fields, by the kernel's BTF: which offsets to add and
// which pointers to follow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir {

// Where a walk begins: the parameter of a function, the value of a raw tracepoint, or else an object of the
// type.
struct FieldStart {
    std::string function;
    std::string tracepoint;
    uint32_t parameter = 0;
    std::string type;
    // The module whose types `type` is looked for in, empty for the kernel itself.
    std::string module;
};

struct FieldStep {
    uint32_t offset = 0;
    // Whether what lies there is a pointer that is followed.
    bool follows = false;
};

struct TypeDescription {
    // "integer", "boolean", "enumeration", "pointer", "array", "struct", "union" or "other".
    std::string kind;
    // As C spells it, by the name that the field was declared with.
    std::string name;
    // Of structs and unions the name that is left where all typedefs are taken off; may be empty.
    std::string tag;
    uint64_t size = 0;
    bool is_signed = false;
};

struct FieldDescription {
    // From the address that the walk begins at; where there is none, the value itself is what is described.
    std::vector<FieldStep> steps;
    TypeDescription type;
    // Of a pointer what it points to, of an array one of its elements.
    TypeDescription target;
    // Of a bit-field, from the lowest bit at its address; 0 bits elsewhere.
    uint32_t bit_offset = 0;
    uint32_t bits = 0;
};

// Empty where it was found, else why not, in words that follow the path.
std::string describeField(const FieldStart &start, const std::string &path, FieldDescription &found);

} // namespace weir
