// SPDX-License-Identifier: Apache-2.0
#include "specialise.h"

#include <array>
#include <cstring>

namespace weir {

namespace {

constexpr size_t REGISTERS = 16;   // that an instruction can name
constexpr size_t CALLER_SAVED = 6; // R0 to R5

// What is known of a register: nothing, its number, or that it points into the constants.
struct Value {
    enum class Kind : uint8_t { UNKNOWN, NUMBER, CONSTANTS };
    Kind kind = Kind::UNKNOWN;
    uint64_t number = 0; // the offset, of a pointer

    bool operator==(const Value &other) const {
        return kind == other.kind && number == other.number;
    }
};

using Registers = std::array<Value, REGISTERS>;

Value numberOf(uint64_t number) {
    return {Value::Kind::NUMBER, number};
}

bool isWide(const struct bpf_insn &instruction) {
    return instruction.code == (BPF_LD | BPF_IMM | BPF_DW);
}

bool isJump(const struct bpf_insn &instruction) {
    const uint8_t kind = BPF_CLASS(instruction.code);
    return (kind == BPF_JMP || kind == BPF_JMP32) && BPF_OP(instruction.code) != BPF_CALL &&
           BPF_OP(instruction.code) != BPF_EXIT;
}

bool isConditional(const struct bpf_insn &instruction) {
    return isJump(instruction) && BPF_OP(instruction.code) != BPF_JA;
}

// Whether it names another function of the program: calls it, or hands it over to be called.
bool isOfFunction(const struct bpf_insn &instruction) {
    return (instruction.code == (BPF_JMP | BPF_CALL) && instruction.src_reg == BPF_PSEUDO_CALL) ||
           (isWide(instruction) && instruction.src_reg == BPF_PSEUDO_FUNC);
}

// Both numbers are those of the narrower kind in 32-bit instructions. False where it is no such operation.
bool calculate(uint8_t operation, bool is_64, uint64_t left, uint64_t right, uint64_t &result) {
    const uint64_t bits = is_64 ? 64 : 32;
    if (!is_64) {
        left = static_cast<uint32_t>(left);
        right = static_cast<uint32_t>(right);
    }
    switch (operation) {
    case BPF_MOV:
        result = right;
        break;
    case BPF_ADD:
        result = left + right;
        break;
    case BPF_SUB:
        result = left - right;
        break;
    case BPF_MUL:
        result = left * right;
        break;
    case BPF_AND:
        result = left & right;
        break;
    case BPF_OR:
        result = left | right;
        break;
    case BPF_XOR:
        result = left ^ right;
        break;
    case BPF_LSH:
        result = left << (right & (bits - 1));
        break;
    case BPF_RSH:
        result = left >> (right & (bits - 1));
        break;
    case BPF_NEG:
        result = 0 - left;
        break;
    default:
        return false;
    }
    if (!is_64) {
        result = static_cast<uint32_t>(result);
    }
    return true;
}

// Whether a conditional jump of two numbers is taken.
bool holds(uint8_t operation, bool is_64, uint64_t left, uint64_t right) {
    auto signed_left = static_cast<int64_t>(left);
    auto signed_right = static_cast<int64_t>(right);
    if (!is_64) {
        left = static_cast<uint32_t>(left);
        right = static_cast<uint32_t>(right);
        signed_left = static_cast<int32_t>(left);
        signed_right = static_cast<int32_t>(right);
    }
    switch (operation) {
    case BPF_JEQ:
        return left == right;
    case BPF_JNE:
        return left != right;
    case BPF_JGT:
        return left > right;
    case BPF_JGE:
        return left >= right;
    case BPF_JLT:
        return left < right;
    case BPF_JLE:
        return left <= right;
    case BPF_JSET:
        return (left & right) != 0;
    case BPF_JSGT:
        return signed_left > signed_right;
    case BPF_JSGE:
        return signed_left >= signed_right;
    case BPF_JSLT:
        return signed_left < signed_right;
    default: // BPF_JSLE: walk() lets no other come here
        return signed_left <= signed_right;
    }
}

class Specialiser {
  public:
    Specialiser(ProgramText &text, int rodata_fd, const std::vector<char> &rodata)
        : text_(text), code_(text.instructions), rodata_fd_(rodata_fd), rodata_(rodata),
          before_(code_.size()), reached_(code_.size(), false), fate_(code_.size(), Fate::OPEN) {
    }

    void run() {
        reach(0, Registers{});
        while (!waiting_.empty()) {
            const size_t at = waiting_.back();
            waiting_.pop_back();
            if (!walk(at)) {
                return;
            }
        }
        rewrite();
    }

  private:
    // Of a conditional jump: not looked at, always or never taken, or either.
    enum class Fate : uint8_t { OPEN, TAKEN, NOT_TAKEN, EITHER };

    // Comes to an instruction with what is known. Looks at it again where less is known than before: no
    // register goes that way more than twice, so that this ends.
    void reach(size_t at, const Registers &registers) {
        if (at >= code_.size()) {
            is_odd_ = true;
            return;
        }
        if (!reached_[at]) {
            reached_[at] = true;
            before_[at] = registers;
            waiting_.push_back(at);
            return;
        }
        bool is_news = false;
        for (size_t i = 0; i < REGISTERS; i++) {
            Value &known = before_[at][i];
            if (known.kind != Value::Kind::UNKNOWN && !(known == registers[i])) {
                known = Value{};
                is_news = true;
            }
        }
        if (is_news) {
            waiting_.push_back(at);
        }
    }

    Value load(const struct bpf_insn &instruction, const Value &from) const {
        static constexpr struct {
            uint8_t code;
            size_t bytes;
        } sizes[] = {{BPF_B, 1}, {BPF_H, 2}, {BPF_W, 4}, {BPF_DW, 8}};
        if (from.kind != Value::Kind::CONSTANTS || BPF_MODE(instruction.code) != BPF_MEM) {
            return {};
        }
        for (const auto &size : sizes) {
            const uint64_t at = from.number + static_cast<int64_t>(instruction.off);
            if (size.code != BPF_SIZE(instruction.code) || at > rodata_.size() ||
                rodata_.size() - at < size.bytes) {
                continue;
            }
            uint64_t number = 0; // BPF's byte order is the machine's
            memcpy(&number, rodata_.data() + at, size.bytes);
            return numberOf(number);
        }
        return {};
    }

    static Value calculated(const struct bpf_insn &instruction, const Registers &registers) {
        const bool is_64 = BPF_CLASS(instruction.code) == BPF_ALU64;
        const uint8_t operation = BPF_OP(instruction.code);
        const Value &left = registers[instruction.dst_reg];
        const Value right = BPF_SRC(instruction.code) == BPF_X
                                ? registers[instruction.src_reg]
                                : numberOf(static_cast<uint64_t>(static_cast<int64_t>(instruction.imm)));
        // Later kernels have moves that extend a sign, and divisions with one: told by an offset.
        if (instruction.off != 0) {
            return {};
        }
        if (operation == BPF_MOV && is_64) {
            return right;
        }
        if (is_64 && left.kind == Value::Kind::CONSTANTS && right.kind == Value::Kind::NUMBER) {
            if (operation == BPF_ADD || operation == BPF_SUB) {
                return {Value::Kind::CONSTANTS,
                        operation == BPF_ADD ? left.number + right.number : left.number - right.number};
            }
            return {};
        }
        uint64_t result = 0;
        const bool needs_left = operation != BPF_MOV;
        const bool needs_right = operation != BPF_NEG;
        if ((needs_left && left.kind != Value::Kind::NUMBER) ||
            (needs_right && right.kind != Value::Kind::NUMBER) ||
            !calculate(operation, is_64, left.number, right.number, result)) {
            return {};
        }
        return numberOf(result);
    }

    static void forgetCallerSaved(Registers &registers) {
        for (size_t i = 0; i < CALLER_SAVED; i++) {
            registers[i] = Value{};
        }
    }

    // Goes over one instruction. False where it leads out of the program.
    bool walk(size_t at) {
        const struct bpf_insn &instruction = code_[at];
        Registers registers = before_[at];
        const auto target = static_cast<size_t>(static_cast<int64_t>(at) + 1 + instruction.off);

        if (isOfFunction(instruction)) {
            reach(static_cast<size_t>(static_cast<int64_t>(at) + 1 + instruction.imm), Registers{});
        }
        if (isJump(instruction)) {
            if (BPF_OP(instruction.code) == BPF_JA) {
                // The one with 32 bits of offset is of a later instruction set.
                is_odd_ = is_odd_ || BPF_CLASS(instruction.code) == BPF_JMP32;
                reach(target, registers);
                return !is_odd_;
            }
            const Fate fate = fateOf(instruction, registers);
            fate_[at] = fate_[at] == Fate::OPEN || fate_[at] == fate ? fate : Fate::EITHER;
            if (fate_[at] != Fate::NOT_TAKEN) {
                reach(target, registers);
            }
            if (fate_[at] != Fate::TAKEN) {
                reach(at + 1, registers);
            }
            return !is_odd_;
        }
        switch (BPF_CLASS(instruction.code)) {
        case BPF_JMP:
            if (BPF_OP(instruction.code) == BPF_EXIT) {
                return true;
            }
            forgetCallerSaved(registers);
            break;
        case BPF_LD:
            if (isWide(instruction) && at + 1 < code_.size()) {
                registers[instruction.dst_reg] = wide(instruction, code_[at + 1]);
            } else {
                forgetCallerSaved(registers);
            }
            break;
        case BPF_LDX:
            registers[instruction.dst_reg] = load(instruction, registers[instruction.src_reg]);
            break;
        case BPF_ALU:
        case BPF_ALU64:
            registers[instruction.dst_reg] =
                BPF_OP(instruction.code) == BPF_END ? Value{} : calculated(instruction, registers);
            break;
        case BPF_STX:
            // An atomic operation may leave in a register what was there.
            if (BPF_MODE(instruction.code) == BPF_ATOMIC) {
                registers[0] = Value{};
                registers[instruction.src_reg] = Value{};
            }
            break;
        default:
            break;
        }
        reach(at + (isWide(instruction) ? 2 : 1), registers);
        return !is_odd_;
    }

    Value wide(const struct bpf_insn &low, const struct bpf_insn &high) const {
        if (low.src_reg == 0) {
            return numberOf(static_cast<uint32_t>(low.imm) | static_cast<uint64_t>(high.imm) << 32);
        }
        if (low.src_reg == BPF_PSEUDO_MAP_VALUE && low.imm == rodata_fd_) {
            return {Value::Kind::CONSTANTS, static_cast<uint32_t>(high.imm)};
        }
        return {};
    }

    static Fate fateOf(const struct bpf_insn &instruction, const Registers &registers) {
        const Value &left = registers[instruction.dst_reg];
        const Value right = BPF_SRC(instruction.code) == BPF_X
                                ? registers[instruction.src_reg]
                                : numberOf(static_cast<uint64_t>(static_cast<int64_t>(instruction.imm)));
        if (left.kind != Value::Kind::NUMBER || right.kind != Value::Kind::NUMBER ||
            BPF_OP(instruction.code) > BPF_JSLE) {
            return Fate::EITHER;
        }
        const bool is_64 = BPF_CLASS(instruction.code) == BPF_JMP;
        return holds(BPF_OP(instruction.code), is_64, left.number, right.number) ? Fate::TAKEN
                                                                                 : Fate::NOT_TAKEN;
    }

    bool isKept(size_t at) const {
        // The second half of a wide instruction is not reached by itself.
        return reached_[at] || (at > 0 && reached_[at - 1] && isWide(code_[at - 1]));
    }

    // Numbers of the instructions that stay, by their old ones; of those that go, of the next that stays.
    void rewrite() {
        const size_t count = code_.size();
        std::vector<bool> stays(count);
        for (size_t at = 0; at < count; at++) {
            stays[at] = isKept(at) && fate_[at] != Fate::NOT_TAKEN;
        }
        // From the end: a jump over what goes is itself one of those that go.
        for (size_t at = count, next = count; at-- > 0;) {
            const bool is_jump = stays[at] && reached_[at] && isJump(code_[at]) &&
                                 (!isConditional(code_[at]) || fate_[at] == Fate::TAKEN);
            const auto target = static_cast<size_t>(static_cast<int64_t>(at) + 1 + code_[at].off);
            if (is_jump && target > at && target <= next) {
                stays[at] = false;
            }
            next = stays[at] ? at : next;
        }
        std::vector<size_t> place(count + 1);
        size_t kept = 0;
        for (size_t at = 0; at < count; at++) {
            place[at] = kept;
            kept += stays[at] ? 1 : 0;
        }
        place[count] = kept;

        std::vector<struct bpf_insn> code;
        code.reserve(kept);
        for (size_t at = 0; at < count; at++) {
            if (!stays[at]) {
                continue;
            }
            struct bpf_insn instruction = code_[at];
            const bool is_first = reached_[at]; // and not the second half of a wide one
            const auto from = static_cast<int64_t>(place[at]) + 1;
            if (is_first && isJump(instruction)) {
                const auto target = static_cast<size_t>(static_cast<int64_t>(at) + 1 + instruction.off);
                instruction.off = static_cast<int16_t>(static_cast<int64_t>(place[target]) - from);
                if (fate_[at] == Fate::TAKEN) {
                    instruction = {BPF_JMP | BPF_JA, 0, 0, instruction.off, 0};
                }
            } else if (is_first && isOfFunction(instruction)) {
                const auto target = static_cast<size_t>(static_cast<int64_t>(at) + 1 + instruction.imm);
                instruction.imm = static_cast<int32_t>(static_cast<int64_t>(place[target]) - from);
            }
            code.push_back(instruction);
        }
        // A function goes with its first instruction.
        text_.function_info = moved(text_.function_info, text_.function_info_bytes, place, true);
        text_.line_info = moved(text_.line_info, text_.line_info_bytes, place, false);
        text_.instructions = std::move(code);
    }

    // Records with the new numbers of their instructions. Of several that come to one, the last stays: it is
    // that instruction's own.
    std::vector<char> moved(const std::vector<char> &records, uint32_t bytes,
                            const std::vector<size_t> &place, bool is_of_functions) const {
        std::vector<char> result;
        uint32_t last = UINT32_MAX;
        for (size_t at = 0; bytes >= sizeof(uint32_t) && at + bytes <= records.size(); at += bytes) {
            uint32_t number = 0;
            memcpy(&number, records.data() + at, sizeof(number));
            if (number >= code_.size() || (is_of_functions && !reached_[number]) ||
                place[number] == place[code_.size()]) {
                continue;
            }
            const auto moved_number = static_cast<uint32_t>(place[number]);
            if (moved_number == last) {
                result.resize(result.size() - bytes);
            }
            last = moved_number;
            result.insert(result.end(), records.begin() + static_cast<int64_t>(at),
                          records.begin() + static_cast<int64_t>(at + bytes));
            memcpy(result.data() + result.size() - bytes, &moved_number, sizeof(moved_number));
        }
        return result;
    }

    ProgramText &text_;
    const std::vector<struct bpf_insn> &code_;
    const int rodata_fd_;
    const std::vector<char> &rodata_;
    std::vector<Registers> before_;
    std::vector<bool> reached_;
    std::vector<Fate> fate_;
    std::vector<size_t> waiting_;
    bool is_odd_ = false;
};

} // namespace

void specialise(ProgramText &text, int rodata_fd, const std::vector<char> &rodata) {
    Specialiser(text, rodata_fd, rodata).run();
}

} // namespace weir
