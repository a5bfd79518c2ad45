/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns how the arguments of a function or marker in a program are got: from the registers with which it
// entered the kernel, from its memory, or from what the file says of them.

#ifndef WEIR_USER_H
#define WEIR_USER_H

#include "hook.h"
#include "user_arguments.h"

/* Cuts a value to its width, and extends it to 64 bits as its sign is. */
static __always_inline __u64 extended(__u64 value, __u8 bytes, bool is_signed) {
    __u32 unused = 8 * (sizeof(value) - bytes);

    unused &= 63; // no shift by 64, whatever the width says
    value <<= unused;
    return is_signed ? (__u64)((__s64)value >> unused) : value >> unused;
}

/*
 * Reads an argument into work->user_value. Returns 0, or -1 where it cannot be read: there is none, or the
 * memory is not there, or not at the moment. Not static, so that the verifier looks at it once.
 */
__noinline int read_user_value(__u32 slot, __u32 number) {
    struct hook_work *work = hook_work_of(slot);

    if (!work || number >= USER_ARGUMENTS_MAX)
        return -1;
    number &= USER_ARGUMENTS_MAX - 1;
    barrier_var(number);
    const volatile struct weir_user_argument *from = &user_arguments[number];
    __u64 value = from->value;

    work->user_value = 0;
    switch (from->kind) {
    case WEIR_USER_ARGUMENT_KIND_CONSTANT:
        break;
    case WEIR_USER_ARGUMENT_KIND_REGISTER:
        value = saved_register(work, from->base);
        break;
    case WEIR_USER_ARGUMENT_KIND_MEMORY: {
        __u64 address = user_address(work, from);

        value = 0;
        // x86 is little-endian: what is narrower lies in the lowest bytes.
        if (bpf_probe_read_user(&value, sizeof(value), (void *)address) &&
            bpf_probe_read_user(&value, 1 + ((from->bytes - 1) & 7), (void *)address))
            return -1;
        break;
    }
    default:
        return -1;
    }
    work->user_value = extended(value, from->bytes, from->is_signed);
    return 0;
}

static __always_inline long user_value(void *ctx, __u32 slot, __u32 number, __u64 *value) {
    struct hook_work *work = hook_work_of(slot);

    (void)ctx;
    if (!work || read_user_value(slot, number))
        return -1;
    *value = work->user_value;
    return 0;
}

#endif
