/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what is told of a file that a process maps to run. The kernel tells perf events of each such mapping,
// with the build id of the file, which it reads itself; the agent opens events for that alone, marks them as
// its own, and reads nothing from them.

#ifndef WEIR_MAPPING_H
#define WEIR_MAPPING_H

#include "hook.h"

enum {
    // Positions of the arguments.
    MAPPING_PATH = 0,
    MAPPING_BUILD_ID = 1,
    BUILD_ID_BYTES_MAX = 20,
    VMA_EXEC = 4, // VM_EXEC (linux/mm.h)
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct perf_event_attr___mark {
    __u64 config1;
};

struct perf_event___mark {
    struct perf_event_attr___mark attr;
};

struct file___mapped {
    unsigned int f_mode;
    struct path f_path;
};

struct backing_file {
    struct path user_path;
};

struct vm_area_struct {
    unsigned long vm_flags;
    struct file___mapped *vm_file;
};

struct perf_mmap_event {
    struct vm_area_struct *vma;
    __u8 build_id[BUILD_ID_BYTES_MAX];
    __u32 build_id_size;
};

#pragma clang attribute pop

/* The agent's own events have it. */
const volatile __u64 mapping_mark = 0;

/* Whether one of the agent's events is told of a file that is mapped to run. */
static __always_inline bool is_mapping_to_run(__u64 *ctx) {
    struct perf_event___mark *event = (void *)ctx[0];
    struct perf_mmap_event *mapping = (void *)ctx[1];

    return BPF_CORE_READ(event, attr.config1) == mapping_mark &&
           (BPF_CORE_READ(mapping, vma, vm_flags) & VMA_EXEC) && BPF_CORE_READ(mapping, vma, vm_file);
}

/*
 * The path by which a process knows the file. A file of overlayfs is mapped by the file behind it, which from
 * 6.5 on has both paths (before, it has that of the overlay). These count against no limit; FMODE_BACKING,
 * which would tell them from the kernel's own, is not the same bit in all kernels.
 */
static __always_inline __u64 mapped_path(struct file___mapped *file) {
    if (bpf_core_field_exists(struct backing_file, user_path) &&
        (BPF_CORE_READ(file, f_mode) & WEIR_FMODE_NOACCOUNT))
        return (__u64)file + bpf_core_field_offset(struct backing_file, user_path);
    return (__u64)file + bpf_core_field_offset(struct file___mapped, f_path);
}

/* Reads the build id; a file may have none. Not static: see read_path. */
__noinline int read_build_id(__u32 slot, __u64 address) {
    struct perf_mmap_event *mapping = (void *)address;
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, MAPPING_BUILD_ID);

    if (!work || !text)
        return 0;
    struct weir_argument *argument = &work->arguments[MAPPING_BUILD_ID];
    __u32 length = BPF_CORE_READ(mapping, build_id_size);

    if (length > BUILD_ID_BYTES_MAX)
        length = 0;
    if (bpf_core_read(text->bytes, BUILD_ID_BYTES_MAX, &mapping->build_id)) {
        set_unreadable(argument);
        return 0;
    }
    argument->payload.length = length;
    argument->original_length = length;
    return 0;
}

/* Fills in the two arguments. Nothing is asked of them. */
static __attribute__((noinline)) int match_mapping(void *ctx, __u32 slot, __u32 config_index) {
    __u64 *values = ctx;
    struct perf_mmap_event *mapping = (void *)values[1];
    struct hook_work *work = hook_work_of(slot);

    (void)config_index;
    if (!work)
        return false;
#pragma unroll
    for (int i = MAPPING_PATH; i <= MAPPING_BUILD_ID; i++) {
        __builtin_memset(&work->arguments[i], 0, sizeof(work->arguments[i]));
        work->arguments[i].type = spec.arguments[i].type;
        work->arguments[i].index = i;
    }
    read_path(slot, MAPPING_PATH, mapped_path(BPF_CORE_READ(mapping, vma, vm_file)), false);
    read_build_id(slot, (__u64)mapping);
    return true;
}

#endif
