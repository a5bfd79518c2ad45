/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the numbers that a dimension compares where they are a part of an argument, or come of two.

#ifndef WEIR_PARTS_H
#define WEIR_PARTS_H

#include "buffer.h"
#include "socket.h"

/* The type of file in an inode's mode, as <linux/stat.h> has it; 0 where there is no file. */
static __always_inline __u64 file_type(const struct weir_argument *argument) {
    __u64 mode = argument->type == WEIR_ARGUMENT_TYPE_FD ? argument->value >> 32 : argument->value;

    return mode >> 12 & 15;
}

/* The capabilities of an argument: it is a set of them, or credentials, which have an effective one. */
static __always_inline __u64 capabilities_of(__u32 slot, __u32 number) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);

    if (!work || !text)
        return 0;
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    if (work->arguments[number].type == WEIR_ARGUMENT_TYPE_CRED)
        return ((struct weir_credential_argument *)text->bytes)->cap_effective;
    return work->arguments[number].value;
}

static __always_inline bool compares_two(__u32 part) {
    return part >= WEIR_ARGUMENT_PART_CAPABILITIES_MORE && part <= WEIR_ARGUMENT_PART_ORDER;
}

/* Whether it is known how many bytes an argument has: of what is cut only buffers tell. */
static __always_inline bool length_known(const struct weir_argument *argument, __u32 part) {
    return part != WEIR_ARGUMENT_PART_LENGTH || !(argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED) ||
           is_buffer(argument->type);
}

/* Whether the argument that a part compares with could be read; true of parts that look at one argument. */
static __always_inline bool other_known(__u32 slot, __u32 part, __u32 other) {
    struct hook_work *work = hook_work_of(slot);

    if (!work || !compares_two(part))
        return true;
    other &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(other);
    return !(work->arguments[other].flags & WEIR_ARGUMENT_FLAG_UNREADABLE);
}

/* Numbers of one argument and another: of 0 to 2, less, equal and more. */
static __always_inline __u64 pair_number(const struct weir_argument *argument,
                                         const struct weir_argument *other, __u32 part) {
    __u64 sign = is_without_sign(argument->type) ? 0 : 1ULL << 63;

    if (part == WEIR_ARGUMENT_PART_DIFFERENCE)
        return argument->value - other->value;
    if (part == WEIR_ARGUMENT_PART_SUM)
        return argument->value + other->value;
    if (argument->value == other->value)
        return 1;
    return (argument->value ^ sign) < (other->value ^ sign) ? 0 : 2;
}

/* The number that a part of an argument is. Not static, so that the verifier looks at it once. */
__noinline __u64 part_number(__u32 slot, __u32 number, __u32 part, __u32 other) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);

    if (!work || !text)
        return 0;
    number &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(number);
    switch (part) {
    case WEIR_ARGUMENT_PART_FILE_TYPE:
        return file_type(&work->arguments[number]);
    case WEIR_ARGUMENT_PART_LENGTH:
        return work->arguments[number].original_length;
    case WEIR_ARGUMENT_PART_CAPABILITIES_MORE:
        return capabilities_of(slot, number) & ~capabilities_of(slot, other);
    case WEIR_ARGUMENT_PART_CAPABILITIES_LESS:
        return capabilities_of(slot, other) & ~capabilities_of(slot, number);
    case WEIR_ARGUMENT_PART_DIFFERENCE:
    case WEIR_ARGUMENT_PART_SUM:
    case WEIR_ARGUMENT_PART_ORDER:
        other &= HOOK_ARGUMENTS_MAX - 1;
        barrier_var(other);
        return pair_number(&work->arguments[number], &work->arguments[other], part);
    default:
        return socket_number((void *)text->bytes, part);
    }
}

#endif
