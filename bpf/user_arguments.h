/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns where the arguments of a function or marker in a program are, and the setting of one that lies in
// memory.

#ifndef WEIR_USER_ARGUMENTS_H
#define WEIR_USER_ARGUMENTS_H

#include "counters.h"
#include "hook_maps.h"

enum {
    USER_ARGUMENTS_MAX = 16,
    REGISTERS_BYTES = 168, // struct pt_regs of x86-64
};

/* By index of the argument: a function's come in registers, a marker's wherever the compiler had them. */
const volatile struct weir_user_argument user_arguments[USER_ARGUMENTS_MAX] = {};

/* A register by its offset among the saved ones; 0 for none. The context of the program is their address. */
static __always_inline __u64 saved_register(const struct hook_work *work, __u16 offset) {
    __u64 value = 0;

    if (offset <= REGISTERS_BYTES - sizeof(value))
        bpf_probe_read_kernel(&value, sizeof(value), (void *)(work->context + offset));
    return value;
}

/* The address of an argument that lies in memory. */
static __always_inline __u64 user_address(const struct hook_work *work,
                                          const volatile struct weir_user_argument *from) {
    return from->value + saved_register(work, from->base) +
           (saved_register(work, from->index) << (from->shift & 63));
}

/*
 * Sets an argument of the marker that the program is about to pass; `argument` is 1 + its index. Returns 0,
 * or 1 where its memory cannot be written: it is not there at the moment, or never was for writing. Not
 * static, so that the verifier looks at it once.
 */
__noinline int set_user_argument(__u32 slot, __u32 argument, __u64 value) {
    struct hook_work *work = hook_work_of(slot);
    __u32 number = argument - 1;

    if (!work || number >= USER_ARGUMENTS_MAX)
        return 1;
    number &= USER_ARGUMENTS_MAX - 1;
    barrier_var(number);
    const volatile struct weir_user_argument *at = &user_arguments[number];

    if (at->kind != WEIR_USER_ARGUMENT_KIND_MEMORY)
        return 1;
    // x86 is little-endian: what is narrower are the lowest bytes.
    return bpf_probe_write_user((void *)user_address(work, at), &value, 1 + ((at->bytes - 1) & 7)) != 0;
}

#endif
