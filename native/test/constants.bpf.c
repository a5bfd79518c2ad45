// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A program for the tests of the addon whose constants decide what it is made of. It has an instruction that
// no kernel knows, so that it loads only where that was taken out before, and jumps over what goes, backwards
// and forwards.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 uses_unknown = 0;
const volatile __u32 uses_loop = 0;
const volatile __u32 uses_called = 0;
const volatile __u64 uses_callback = 0;
const volatile __s32 lowest = 0;
const volatile __u8 numbers[4] = {};

// Both functions are global: kernels keep those that anything calls.
__attribute__((noinline)) int unknown(int value) {
    asm volatile(".byte 0xff, 0, 0, 0, 0, 0, 0, 0");
    return value;
}

__attribute__((noinline)) int called(int value) {
    int sum = 0;

    if (lowest < -1)
        sum = -lowest;
    else if (uses_unknown & 2)
        sum = unknown(value);
    return sum + value * 10;
}

static long add_number(__u32 index, void *context) {
    __u64 *sum = context;

    if (uses_unknown & 4)
        *sum = unknown(index);
    *sum += numbers[index & 3];
    return 0;
}

/* Adds up what its constants ask for; what it was given is in the highest bits. */
SEC("syscall")
int choose(__u32 *given) {
    __u32 value = *given;
    __u64 sum = 0;

    if (uses_unknown & 1)
        sum += unknown(value);
    if (uses_loop) {
#pragma clang loop unroll(disable)
        for (__u32 i = 0; i < uses_loop; i++) {
            if (i >= value)
                break;
            sum += i;
        }
    }
    if (uses_called == 7)
        sum += called(value);
    if (uses_callback >> 40)
        bpf_loop(4, add_number, &sum, 0);
    return sum + (value << 16);
}
