/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns where the payload of an argument is put together that is a struct: in the slot for its text.

#ifndef WEIR_PAYLOAD_H
#define WEIR_PAYLOAD_H

#include "hook_maps.h"
#include "counters.h"

/* The payload that is being read, zeroed, with the argument told of it. NULL where there is no memory. */
static __always_inline void *payload_begin(__u32 slot, __u32 number, __u32 size) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);

    if (!work || !text || number >= HOOK_ARGUMENTS_MAX)
        return NULL;
    struct weir_argument *argument = &work->arguments[number];

    __builtin_memset(text->bytes, 0, size);
    argument->payload.length = size;
    argument->original_length = size;
    return text->bytes;
}

static __always_inline void payload_unreadable(__u32 slot, __u32 number) {
    struct hook_work *work = hook_work_of(slot);

    if (!work || number >= HOOK_ARGUMENTS_MAX)
        return;
    work->arguments[number].flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
    work->arguments[number].payload.length = 0;
    work->arguments[number].original_length = 0;
    count_failure(WEIR_FAILURE_PLACE_HOOK_ARGUMENT);
}

#endif
