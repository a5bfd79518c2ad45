// SPDX-License-Identifier: Apache-2.0
#include "field.h"

#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string_view>

#include "btf.h"

namespace weir {

namespace {

// Typedefs and qualifiers around a type, and structs without a name in one another.
constexpr int DEPTH_MAX = 32;
constexpr size_t NAMED_MAX = 8;
constexpr uint64_t OFFSET_MAX = 1u << 30;

// The type that is left without typedefs and qualifiers.
uint32_t plain(const struct btf *btf, uint32_t id) {
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        const struct btf_type *type = btf__type_by_id(btf, id);
        if (type == nullptr || !(btf_is_mod(type) || btf_is_typedef(type) || btf_is_type_tag(type))) {
            return id;
        }
        id = type->type;
    }
    return id;
}

const struct btf_type *plainType(const struct btf *btf, uint32_t id) {
    return btf__type_by_id(btf, plain(btf, id));
}

TypeDescription describeType(const struct btf *btf, uint32_t id) {
    TypeDescription description;
    description.name = typeName(btf, id);
    const struct btf_type *type = plainType(btf, id);
    const int64_t size = btf__resolve_size(btf, id);
    description.size = size > 0 ? static_cast<uint64_t>(size) : 0;
    switch (type == nullptr ? __u16{BTF_KIND_UNKN} : btf_kind(type)) {
    case BTF_KIND_INT:
        description.kind = btf_int_encoding(type) == BTF_INT_BOOL ? "boolean" : "integer";
        description.is_signed = (btf_int_encoding(type) & BTF_INT_SIGNED) != 0;
        break;
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64:
        description.kind = "enumeration";
        description.is_signed = btf_kflag(type);
        break;
    case BTF_KIND_PTR:
        description.kind = "pointer";
        description.size = 8;
        break;
    case BTF_KIND_ARRAY:
        description.kind = "array";
        break;
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
        description.kind = btf_is_union(type) ? "union" : "struct";
        description.tag = btf__name_by_offset(btf, type->name_off);
        break;
    case BTF_KIND_FWD:
        description.kind = btf_kflag(type) ? "union" : "struct";
        description.tag = btf__name_by_offset(btf, type->name_off);
        break;
    default:
        description.kind = "other";
    }
    return description;
}

struct Member {
    uint32_t type = 0;
    uint64_t bit_offset = 0;
    uint32_t bits = 0;
};

// A member by its name, also within members that have none. Names all that it passes.
bool findMember(const struct btf *btf, const struct btf_type *of, std::string_view name, uint64_t bit_offset,
                int depth, Member &member, std::vector<std::string> &names) {
    if (depth > DEPTH_MAX) {
        return false;
    }
    const struct btf_member *candidate = btf_members(of);
    for (int index = 0; index < btf_vlen(of); index++, candidate++) {
        const std::string_view own = btf__name_by_offset(btf, candidate->name_off);
        const uint64_t at = bit_offset + btf_member_bit_offset(of, static_cast<uint32_t>(index));
        if (own.empty()) {
            const struct btf_type *inner = plainType(btf, candidate->type);
            if (inner != nullptr && btf_is_composite(inner) &&
                findMember(btf, inner, name, at, depth + 1, member, names)) {
                return true;
            }
            continue;
        }
        names.emplace_back(own);
        if (own == name) {
            member.type = candidate->type;
            member.bit_offset = at;
            member.bits = btf_member_bitfield_size(of, static_cast<uint32_t>(index));
            return true;
        }
    }
    return false;
}

// How many single letters are to be put in, taken out or exchanged; the names are short.
size_t distance(std::string_view one, std::string_view other) {
    std::vector<size_t> row(other.size() + 1);
    for (size_t column = 0; column <= other.size(); column++) {
        row[column] = column;
    }
    for (size_t line = 1; line <= one.size(); line++) {
        size_t diagonal = row[0];
        row[0] = line;
        for (size_t column = 1; column <= other.size(); column++) {
            const size_t above = row[column];
            const size_t changed = diagonal + (one[line - 1] == other[column - 1] ? 0 : 1);
            row[column] = std::min({above + 1, row[column - 1] + 1, changed});
            diagonal = above;
        }
    }
    return row[other.size()];
}

std::string nearest(std::vector<std::string> names, std::string_view wanted) {
    if (names.empty()) {
        return "it has no members that the types of this kernel name";
    }
    const auto rank = [wanted](const std::string &name) {
        const bool holds = name.find(wanted) != std::string::npos || wanted.find(name) != std::string::npos;
        return distance(name, wanted) / (holds ? 2 : 1);
    };
    std::stable_sort(names.begin(), names.end(), [&rank](const std::string &one, const std::string &other) {
        return rank(one) < rank(other);
    });
    const size_t shown = std::min(names.size(), NAMED_MAX);
    std::string text =
        shown < names.size() ? "nearest of its " + std::to_string(names.size()) + " members: " : "it has ";
    for (size_t index = 0; index < shown; index++) {
        text += (index == 0 ? "" : ", ") + names[index];
    }
    return text;
}

// The steps of a walk so far, and the type that it has come to.
class Walk {
  public:
    Walk(const struct btf *btf, uint32_t type) : btf_(btf), type_(type) {
    }

    // Each returns what is wrong, empty where nothing is.
    std::string member(const std::string &name) {
        if (bits_ != 0) {
            return "is a bit-field, which has no members";
        }
        followAll();
        const struct btf_type *of = plainType(btf_, type_);
        const std::string own = typeName(btf_, type_);
        if (of != nullptr && btf_is_fwd(of)) {
            return "is a " + own +
                   ", of which the types of this kernel have the name only: name it by btfType";
        }
        if (of == nullptr || !btf_is_composite(of)) {
            return "is " + own + ", which has no members, so it has no " + name;
        }
        std::vector<std::string> names;
        Member found;
        if (!findMember(btf_, of, name, 0, 0, found, names)) {
            return "is " + own + ", which has no member " + name + ": " + nearest(std::move(names), name);
        }
        type_ = found.type;
        if (found.bits != 0) {
            bits_ = found.bits;
            bit_offset_ = found.bit_offset % 8;
        }
        offset_ += found.bit_offset / 8;
        return "";
    }

    std::string element(uint64_t number) {
        const struct btf_type *of = plainType(btf_, type_);
        const bool is_pointer = of != nullptr && btf_is_ptr(of);
        if (!is_pointer && (of == nullptr || !btf_is_array(of)) && entered_ && steps_.empty() &&
            offset_ == 0) {
            // The start itself, as the first of several.
            const int64_t size = btf__resolve_size(btf_, type_);
            offset_ = size > 0 ? number * static_cast<uint64_t>(size) : 0;
            return size > 0 ? "" : "has elements whose size is not known";
        }
        if (!is_pointer && (of == nullptr || !btf_is_array(of))) {
            return "is " + typeName(btf_, type_) + ", which has no elements";
        }
        const uint32_t inner = is_pointer ? of->type : btf_array(of)->type;
        // An array of 0 elements goes on to the end of its struct, whose length only the kernel knows.
        if (!is_pointer && btf_array(of)->nelems != 0 && number >= btf_array(of)->nelems) {
            return "has " + std::to_string(btf_array(of)->nelems) + " elements, counted from 0";
        }
        const int64_t size = btf__resolve_size(btf_, inner);
        if (size <= 0) {
            return "has elements of " + typeName(btf_, inner) + ", whose size is not known";
        }
        if (is_pointer) {
            follow(inner);
        } else {
            type_ = inner;
        }
        offset_ += number * static_cast<uint64_t>(size);
        return "";
    }

    std::string finish(FieldDescription &found) {
        if (offset_ > 0 || steps_.empty()) {
            steps_.push_back({static_cast<uint32_t>(offset_), false});
        }
        for (const FieldStep &step : steps_) {
            if (step.offset > OFFSET_MAX) {
                return "lies beyond what can be reached";
            }
        }
        found.steps = std::move(steps_);
        found.bit_offset = bit_offset_;
        found.bits = bits_;
        describe(found);
        return "";
    }

    void describe(FieldDescription &found) const {
        found.type = describeType(btf_, type_);
        const struct btf_type *type = plainType(btf_, type_);
        if (type != nullptr && btf_is_ptr(type)) {
            found.target = describeType(btf_, type->type);
        } else if (type != nullptr && btf_is_array(type)) {
            found.target = describeType(btf_, btf_array(type)->type);
        }
    }

    // Takes the value that the walk begins with for the address that it is.
    bool enter() {
        const struct btf_type *of = plainType(btf_, type_);
        if (of == nullptr || !btf_is_ptr(of)) {
            return false;
        }
        type_ = of->type;
        entered_ = true;
        return true;
    }

  private:
    void follow(uint32_t target) {
        steps_.push_back({static_cast<uint32_t>(std::min<uint64_t>(offset_, UINT32_MAX)), true});
        offset_ = 0;
        type_ = target;
    }

    void followAll() {
        for (int depth = 0; depth < DEPTH_MAX; depth++) {
            const struct btf_type *of = plainType(btf_, type_);
            if (of == nullptr || !btf_is_ptr(of)) {
                return;
            }
            follow(of->type);
        }
    }

    const struct btf *btf_;
    uint32_t type_;
    bool entered_ = false;
    uint64_t offset_ = 0;
    uint32_t bit_offset_ = 0;
    uint32_t bits_ = 0;
    std::vector<FieldStep> steps_;
};

// One part of a path: a name, a number in brackets, or both, which are two parts.
struct Part {
    std::string name;
    bool is_element = false;
    uint64_t number = 0;
    // Up to its end, for messages.
    std::string so_far;
};

bool isWord(char letter) {
    return letter == '_' || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9');
}

std::string parsePath(const std::string &path, std::vector<Part> &parts) {
    size_t at = 0;
    bool wants_name = true;
    while (at < path.size()) {
        if (path[at] == '[') {
            const size_t end = path.find(']', at);
            const std::string digits = end == std::string::npos ? "" : path.substr(at + 1, end - at - 1);
            const bool is_number =
                !digits.empty() && digits.size() <= 6 &&
                std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
            if (!is_number || (wants_name && at > 0)) {
                return "is no path: an element is written name[0]";
            }
            at = end + 1;
            parts.push_back({"", true, std::stoull(digits), path.substr(0, at)});
            wants_name = false;
            continue;
        }
        if (!wants_name) {
            if (path[at] != '.') {
                return "is no path: names of members are parted by \".\"";
            }
            at++;
        }
        const size_t from = at;
        while (at < path.size() && isWord(path[at])) {
            at++;
        }
        if (at == from) {
            return "is no path: names of members are parted by \".\", with a number in brackets for an "
                   "element of an array";
        }
        parts.push_back({path.substr(from, at - from), false, 0, path.substr(0, at)});
        wants_name = false;
    }
    return parts.empty() || path.back() == '.' ? "is no path: it names no member" : "";
}

// Types of modules, by their names. Never freed, as what is found refers to them.
const struct btf *moduleBtf(const std::string &module) {
    static std::map<std::string, struct btf *> modules;
    const auto known = modules.find(module);
    if (known != modules.end()) {
        return known->second;
    }
    struct btf *btf = btf__load_module_btf(module.c_str(), const_cast<struct btf *>(vmlinuxBtf()));
    if (btf != nullptr) {
        modules.emplace(module, btf);
    }
    return btf;
}

} // namespace

std::string describeField(const FieldStart &start, const std::string &path, FieldDescription &found) {
    const struct btf *btf = vmlinuxBtf();
    if (btf == nullptr) {
        return "cannot be found: this kernel does not tell its types (/sys/kernel/btf/vmlinux)";
    }
    uint32_t type = 0;
    if (!start.type.empty()) {
        if (!start.module.empty()) {
            const bool is_name = std::all_of(start.module.begin(), start.module.end(), isWord);
            btf = is_name ? moduleBtf(start.module) : nullptr;
            if (btf == nullptr) {
                return "cannot be found: there are no types of a module " + start.module +
                       " (/sys/kernel/btf has those of the modules that are loaded)";
            }
        }
        int id = btf__find_by_name_kind(btf, start.type.c_str(), BTF_KIND_STRUCT);
        if (id < 0) {
            id = btf__find_by_name_kind(btf, start.type.c_str(), BTF_KIND_UNION);
        }
        if (id < 0) {
            id = btf__find_by_name_kind(btf, start.type.c_str(), BTF_KIND_TYPEDEF);
        }
        if (id < 0) {
            return "cannot be found: this kernel has no struct, union or typedef " + start.type;
        }
        type = static_cast<uint32_t>(id);
    } else {
        const bool is_tracepoint = !start.tracepoint.empty();
        const std::string &name = is_tracepoint ? start.tracepoint : start.function;
        const int id = is_tracepoint ? tracepointBtfId(name) : functionBtfId(name);
        const struct btf_type *function = id < 0 ? nullptr : btf__type_by_id(btf, static_cast<uint32_t>(id));
        const struct btf_type *proto = function == nullptr ? nullptr : btf__type_by_id(btf, function->type);
        if (is_tracepoint && proto != nullptr) {
            proto = btf_is_ptr(proto) ? btf__type_by_id(btf, proto->type) : nullptr;
        }
        if (proto == nullptr || !btf_is_func_proto(proto)) {
            return std::string("cannot be found: this kernel has no ") +
                   (is_tracepoint ? "raw tracepoint " : "function ") + name;
        }
        // The first parameter of a tracepoint belongs to the kernel's caller.
        const uint32_t first = is_tracepoint ? 1 : 0;
        if (start.parameter + first >= btf_vlen(proto)) {
            return "cannot be found: " + name + " has " + std::to_string(btf_vlen(proto) - first) +
                   (is_tracepoint ? " values" : " parameters");
        }
        type = btf_params(proto)[start.parameter + first].type;
    }
    Walk walk(btf, type);
    if (path.empty()) {
        walk.describe(found);
        return "";
    }
    std::vector<Part> parts;
    std::string wrong = parsePath(path, parts);
    if (!wrong.empty()) {
        return wrong;
    }
    if (start.type.empty() && !walk.enter()) {
        return "is a path, but the parameter is " + typeName(btf, type) +
               ", which points to nothing: name the struct that it points to by btfType";
    }
    std::string before = start.type.empty() ? "the parameter" : start.type;
    for (const Part &part : parts) {
        wrong = part.is_element ? walk.element(part.number) : walk.member(part.name);
        if (!wrong.empty()) {
            return "cannot be found: " + before + " " + wrong;
        }
        before = part.so_far;
    }
    return walk.finish(found);
}

} // namespace weir
