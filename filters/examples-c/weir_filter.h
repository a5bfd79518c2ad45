/* SPDX-License-Identifier: Apache-2.0 */
// Owns what a filter in C shares with every other one: the types of the generated layouts, room for a batch,
// and the loop over it. docs/filter-abi.md tells the rules. No library: clang and its wasm target are all it
// takes.
#ifndef WEIR_FILTER_H
#define WEIR_FILTER_H

#include <stdbool.h>
#include <stdint.h>

typedef uint8_t __u8;
typedef uint16_t __u16;
typedef uint32_t __u32;
typedef uint64_t __u64;
typedef int8_t __s8;
typedef int16_t __s16;
typedef int32_t __s32;
typedef int64_t __s64;

#include "weir_filter_abi.h"

#define WEIR_EXPORT(name) __attribute__((export_name(name)))
#define WEIR_PAGE_BYTES 65536

__attribute__((import_module("weir"), import_name("log"))) void weir_log(__u32 level, const char *text,
                                                                         __u32 bytes);

WEIR_EXPORT("weir_abi_version")
__u32 weir_abi_version(void) {
    return 1;
}

// The linker puts it behind the data and the stack.
extern __u8 __heap_base;

// Everything from the end of the program's own data on is the host's: the last call alone counts, so none is
// kept.
WEIR_EXPORT("weir_reserve")
__u32 weir_reserve(__u32 bytes) {
    __u32 at = ((__u32)&__heap_base + 7) & ~7u;
    __u32 pages = __builtin_wasm_memory_size(0);
    __u64 needed = ((__u64)at + bytes + WEIR_PAGE_BYTES - 1) / WEIR_PAGE_BYTES;
    if (needed > pages && __builtin_wasm_memory_grow(0, (__u32)needed - pages) == (__SIZE_TYPE__)-1)
        return 0;
    return at;
}

// An event within the batch. Offsets in it are the agent's own: they lie within the batch.
struct weir_event {
    const __u8 *batch;
    const struct weir_batch_header *header;
    const struct weir_record_header *record;
    __u32 index;
};

static inline struct weir_event weir_event_at(const struct weir_filter_call *call, __u32 index) {
    const __u8 *batch = (const __u8 *)(uintptr_t)call->batch_at;
    const struct weir_batch_header *header = (const void *)batch;
    const __u32 *offsets = (const void *)(batch + header->offsets_at);
    return (struct weir_event){batch, header, (const void *)(batch + offsets[index]), index};
}

// The process of an event, or 0 where it is not known. Indexes are 1 + index.
static inline const struct weir_process_entry *weir_process_of(const struct weir_event *event) {
    __u32 index = event->record->process_index;
    if (index == 0 || index > event->header->process_count)
        return 0;
    return (const struct weir_process_entry *)(const void *)(event->batch + event->header->processes_at) +
           (index - 1);
}

// Spans of entries count from the start of the batch.
static inline const __u8 *weir_bytes(const struct weir_event *event, struct weir_span span) {
    return event->batch + span.offset;
}

static inline bool weir_starts_with(const __u8 *text, __u32 length, const char *prefix) {
    __u32 at = 0;
    for (; prefix[at] != 0; at++) {
        if (at >= length || text[at] != (__u8)prefix[at])
            return false;
    }
    return true;
}

static inline struct weir_span weir_text(const void *text, __u32 length) {
    return (struct weir_span){(__u32)(uintptr_t)text, length};
}

#endif
