/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the way from an argument, or from the current task, to one of its fields (`resolve` in a policy). The
// agent has found offsets and pointers by the kernel's types; here they are only gone along.

#ifndef WEIR_FIELD_H
#define WEIR_FIELD_H

#include "counters.h"
#include "hook_maps.h"
#include "spec.h"

enum {
    // Flags of a hook_argument.
    ARGUMENT_OF_USER = 32,
    ARGUMENT_FIELD = 64,
    ARGUMENT_DATA = 128,
    // In a step: what lies there is a pointer, which is followed. The rest is what to add.
    STEP_FOLLOWS = 1U << 31,
    NUMBER_BITS = 64,
};

/* Whether an argument is what a program in user memory gave. */
static __always_inline bool is_of_user(__u32 number) {
    __u8 source = spec.arguments[number].source;

    return source == WEIR_ARGUMENT_SOURCE_SYSCALL || source == WEIR_ARGUMENT_SOURCE_USER ||
           source == WEIR_ARGUMENT_SOURCE_REGISTER || spec.arguments[number].flags & ARGUMENT_OF_USER;
}

/*
 * What a system call was given lies in user memory, whatever it claims; else addresses say it themselves (the
 * upper half of all is the kernel's).
 */
static __always_inline long read_field(void *to, __u32 size, __u64 address, bool is_user) {
    return is_user || !(address >> 63) ? bpf_probe_read_user(to, size, (void *)address)
                                       : bpf_probe_read_kernel(to, size, (void *)address);
}

static __always_inline int field_unreadable(struct weir_argument *argument) {
    argument->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
    count_failure(WEIR_FAILURE_PLACE_HOOK_ARGUMENT);
    return 1;
}

/*
 * Walks from an address to a field: into the value of the argument, the field's own number where it is one,
 * else its address or what it points to. Returns 0, or 1 where memory on the way could not be read. Not
 * static, so that the verifier looks at it once.
 */
__noinline int walk_to_field(__u32 slot, __u32 number, __u64 address) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 1;
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    const volatile struct weir_field_plan *plan = &spec.fields[number];
    bool is_user = is_of_user(number);

#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < WEIR_LIMIT_FIELD_STEPS; i++) {
        if (i >= plan->step_count)
            break;
        __u32 step = plan->steps[i];

        address += step & ~STEP_FOLLOWS;
        if (step & STEP_FOLLOWS) {
            __u64 next = 0;

            if (read_field(&next, sizeof(next), address, is_user))
                return field_unreadable(&work->arguments[number]);
            address = next;
        }
    }
    __u32 bytes = plan->number_bytes & 15;

    if (bytes) {
        __u64 value = 0;
        __u32 unused = (NUMBER_BITS - plan->bits) & (NUMBER_BITS - 1);

        if (bytes > sizeof(value) || read_field(&value, bytes, address, is_user))
            return field_unreadable(&work->arguments[number]);
        value = value >> (plan->bit_offset & 7) << unused;
        address = plan->is_signed ? (__u64)((__s64)value >> unused) : value >> unused;
    }
    work->arguments[number].value = address;
    return 0;
}

/* Whether an argument is a field of what is read for it. */
static __always_inline bool is_field(__u32 number) {
    return HOOK_HAS(WEIR_HOOK_FEATURE_FIELDS) && spec.arguments[number].flags & ARGUMENT_FIELD;
}

/* What a walk has left in an argument. */
static __always_inline __u64 take_field(struct weir_argument *argument) {
    __u64 value = argument->value;

    argument->value = 0;
    return value;
}

/* Cuts a text at the end of the array of characters that it was read from, should it have no NUL of its own.
 */
__noinline int cut_text(__u32 slot, __u32 number) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);

    if (!work || !text)
        return 0;
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    struct weir_argument *argument = &work->arguments[number];
    __u32 length = spec.fields[number].text_bytes;

    if (length == 0 || length >= WEIR_LIMIT_PATH_BYTES || argument->payload.length <= length)
        return 0;
    argument->payload.length = length;
    argument->original_length = length;
    argument->flags &= ~WEIR_ARGUMENT_FLAG_TRUNCATED;
    text->bytes[length] = 0;
    return 0;
}

#endif
