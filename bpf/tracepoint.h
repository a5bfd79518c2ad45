/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what tracepoints give. A raw one has the values with which it was called, side by side at the
// program's context. Any other has a record in which the kernel has put fields; where each lies, the agent
// takes from tracefs. A record's first eight bytes are no field: the kernel keeps the address of saved
// registers there.
//
// The context is read as memory, at its address in hook_work: the verifier takes no offset into it that is
// not written in the program.

#ifndef WEIR_TRACEPOINT_H
#define WEIR_TRACEPOINT_H

#include "counters.h"
#include "hook_maps.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs___stack {
    unsigned long sp;
};

#pragma clang attribute pop

enum {
    // In place of where a number lies that says how many bytes a buffer has: it knows that itself.
    NO_SIZE_PLACE = 0xffff,
};

static __always_inline bool is_of_tracepoint(__u8 source) {
    return source >= WEIR_ARGUMENT_SOURCE_CONTEXT;
}

static __always_inline bool is_text_of_record(__u8 source) {
    return source >= WEIR_ARGUMENT_SOURCE_RECORD_TEXT && source <= WEIR_ARGUMENT_SOURCE_RECORD_RELATIVE_DATA;
}

/* Reads a value of a raw tracepoint, a number in a record, or a saved register, to which the context of a
 * hook in a program points. Returns whether it could be read. */
static __always_inline bool read_tracepoint_value(__u64 context, __u8 source, __u8 index, __u16 offset,
                                                  __u16 size, __u64 *value) {
    if (source == WEIR_ARGUMENT_SOURCE_CONTEXT) {
        offset = index * sizeof(*value);
        size = sizeof(*value);
    }
    *value = 0;
    if (size == 0 || size > sizeof(*value) || bpf_probe_read_kernel(value, size, (void *)(context + offset)))
        return false;
    if (source == WEIR_ARGUMENT_SOURCE_RECORD_SIGNED) {
        __u32 unused = 8 * (sizeof(*value) - size);

        *value = (__s64)(*value << unused) >> unused;
    }
    return true;
}

/* How many bytes, or pieces, a buffer of a tracepoint has; `place` is where that is told. Returns whether it
 * could be read. */
static __always_inline bool read_buffer_size(__u64 context, __u16 place, __u64 *size) {
    if (place == NO_SIZE_PLACE) {
        *size = ~0ULL;
        return true;
    }
    return read_tracepoint_value(context, WEIR_ARGUMENT_SOURCE_RECORD, 0, place >> 2, 1 << (place & 3), size);
}

/* Reads characters of a record into an argument and its text, up to a NUL or to the end of the field. */
__noinline int read_record_text(__u32 slot, __u32 number, __u32 source, __u32 offset, __u32 size) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);

    if (!work || !text || number >= HOOK_ARGUMENTS_MAX)
        return 0;
    struct weir_argument *argument = &work->arguments[number];
    __u64 from = work->context + offset;
    bool is_readable = true;

    if (source != WEIR_ARGUMENT_SOURCE_RECORD_TEXT) {
        __u32 place = 0;

        is_readable = bpf_probe_read_kernel(&place, sizeof(place), (void *)from) == 0;
        if (source == WEIR_ARGUMENT_SOURCE_RECORD_RELATIVE_DATA)
            from += sizeof(place);
        else
            from = work->context;
        from += place & 0xffff;
        size = place >> 16;
    }
    // A NUL goes behind what is read; a field may be without one.
    __u64 room = size + 1;

    if (room > WEIR_LIMIT_PATH_BYTES) {
        room = WEIR_LIMIT_PATH_BYTES;
        // It may end before, which is seen below.
        argument->flags |= WEIR_ARGUMENT_FLAG_TRUNCATED;
    }
    long length = is_readable ? bpf_probe_read_kernel_str(text->bytes, room, (void *)from) : -1;

    if (length <= 0 || length > WEIR_LIMIT_PATH_BYTES) {
        argument->flags = WEIR_ARGUMENT_FLAG_UNREADABLE;
        count_failure(WEIR_FAILURE_PLACE_HOOK_STRING);
        return 0;
    }
    argument->payload.length = length - 1;
    argument->original_length = length - 1;
    if (length < WEIR_LIMIT_PATH_BYTES)
        argument->flags &= ~WEIR_ARGUMENT_FLAG_TRUNCATED;
    else if (argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED) {
        argument->original_length = size;
        count(WEIR_KERNEL_COUNTER_TRUNCATED_ARGUMENT);
    }
    return 0;
}

/*
 * Where on a stack the record of a tracepoint was made: the record itself lies elsewhere. Of a system call's
 * tracepoint the registers are those of user space.
 */
static __always_inline __u64 stack_of_record(__u64 context) {
    struct pt_regs___stack *registers = NULL;

    if (bpf_probe_read_kernel(&registers, sizeof(registers), (void *)context)) {
        count_failure(WEIR_FAILURE_PLACE_HOOK_ARGUMENT);
        return ~0ULL; // on no stack
    }
    return BPF_CORE_READ(registers, sp);
}

#endif
