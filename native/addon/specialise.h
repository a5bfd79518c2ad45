// SPDX-License-Identifier: Apache-2.0
// Owns what is left of a program once its constants are known: what they make unreachable is taken out before
// the kernel sees it. The verifier does the same, but late: it has by then read, verified and kept each
// function that anything calls, and each instruction that it takes out costs it a walk over all the others.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir {

// What goes with a program's instructions: records of `*_bytes` bytes, which begin with the number of an
// instruction.
struct ProgramText {
    std::vector<struct bpf_insn> instructions;
    std::vector<char> function_info;
    uint32_t function_info_bytes = 0;
    std::vector<char> line_info;
    uint32_t line_info_bytes = 0;
};

// Takes out what cannot be reached, given the bytes of the constants, which instructions name by `rodata_fd`.
// What is left does the same. A text that it does not understand is left as it is.
void specialise(ProgramText &text, int rodata_fd, const std::vector<char> &rodata);

} // namespace weir
