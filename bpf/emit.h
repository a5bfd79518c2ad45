/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns how a record gets from scratch memory to the agent: its header, appending payloads, output.
//
//     header_fill(&scratch->header, task, kind, flags)   who, when
//     end = record_append_path(...)                      payloads, one after the other, behind the fixed part
//     emit(scratch, end, WEIR_KERNEL_COUNTER_PRODUCED_...)
//
// One scratch record may be emitted several times (a hook that several policies match): emit() gives each its
// own sequence number.

#ifndef WEIR_EMIT_H
#define WEIR_EMIT_H

#include "counters.h"
#include "scratch.h"

// The reader polls every few milliseconds, so that a record needs no wake-up of its own, which would cost an
// interrupt a record. From this much of unread data on it is woken. The loader sets it: a quarter of the
// ring.
const volatile __u64 wakeup_bytes = 2 * 1024 * 1024;

// Above the threshold only a record that fills up another 64 KiB wakes the reader: a wake-up is an interrupt
// that the CPU sends itself, which in a virtual machine costs more than all else that a record does (2 us),
// and it would come just where there is much to do. Where two CPUs come at once, both may miss a place; the
// next one is not far.
#define WEIR_WAKEUP_STRIDE (64 * 1024)
_Static_assert((WEIR_WAKEUP_STRIDE & (WEIR_WAKEUP_STRIDE - 1)) == 0, "a mask is made of it");
// What the ring puts before each record (BPF_RINGBUF_HDR_SZ).
#define WEIR_RING_HEADER_BYTES 8

// Bytes behind the end of a record that emit() may write to fill it up.
#define WEIR_RECORD_PADDING 8

// Fills the header of a record about `task`'s process, whose leader and cgroup are given: kernels from 6.4 on
// go through all of their types for each pointer that a program takes from a task, a third of a millisecond
// of its load (btf_nested_type_is_trusted).
static __always_inline void header_fill_of(struct weir_record_header *header, const struct task_struct *task,
                                           const struct task_struct *leader, __u64 cgroup_id,
                                           enum weir_event_kind kind, __u16 flags) {
    header->kind = kind;
    header->flags = flags;
    header->time_ns = bpf_ktime_get_boot_ns();
    header->cpu = bpf_get_smp_processor_id();
    header->tid = task->pid;
    header->pid = task->tgid;
    header->process_index = 0;
    header->start_ns = leader->start_boottime;
    header->exec_ns = 0;
    header->cgroup_id = cgroup_id;
    header->parent_index = 0;
    header->annotation = 0;
}

// Fills the header of a record about `task`'s process. The size and the sequence are filled by emit(),
// `exec_ns` by the caller, from the process's state: 0 is not known.
static __always_inline void header_fill(struct weir_record_header *header, struct task_struct *task,
                                        enum weir_event_kind kind, __u16 flags) {
    header_fill_of(header, task, task->group_leader, task->cgroups->dfl_cgrp->kn->id, kind, flags);
}

// Says whether a payload of up to `bytes_max` can be appended at `end`. Used as
//     if (!record_has_room(end, max)) return end;
// it is also what lets the verifier bound `end`.
#define record_has_room(end, bytes_max) ((end) <= WEIR_RECORD_BYTES - WEIR_RECORD_PADDING - (bytes_max))

/**
 * Appends `length` bytes (below 4096) of kernel memory at `from` to the record, at offset `end`.
 *
 * Returns the new end. Where the memory cannot be read, or there is no room, the span is empty and the end as
 * it was: *failed is set, and the caller counts by its place.
 */
static __always_inline __u64 record_append(struct scratch *scratch, __u64 end, const void *from, __u64 length,
                                           struct weir_span *span, bool *failed) {
    span->offset = 0;
    span->length = 0;
    length &= WEIR_APPEND_BYTES_MAX - 1;
    // clang 14 would know here that the mask does nothing where the caller has bounded the length, and would
    // drop it; all three kernels then refuse the read ("R2 unbounded memory access").
    barrier_var(length);
    length &= WEIR_APPEND_BYTES_MAX - 1;
    if (length == 0)
        return end;
    if (!record_has_room(end, WEIR_APPEND_BYTES_MAX)) {
        *failed = true;
        return end;
    }
    if (bpf_probe_read_kernel(scratch->record + end, length, from) != 0) {
        *failed = true;
        return end;
    }
    span->offset = end;
    span->length = length;
    return end + length;
}

/* Whether a record of so many bytes wakes the reader, in the words of the ring. */
static __always_inline __u64 wake_flags(__u64 size) {
    __u64 unread = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
    bool wake = unread >= wakeup_bytes &&
                (unread & (WEIR_WAKEUP_STRIDE - 1)) + size + WEIR_RING_HEADER_BYTES >= WEIR_WAKEUP_STRIDE;

    return wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/**
 * Sends the record that lies in scratch, `end` bytes long, and counts it. Fills it up with zeros to a
 * multiple of 8.
 *
 * Takes a sequence number first: where the ring has no room, the gap in the sequence shows the loss
 * (ring_full). A program that interrupts between the number and the output puts its later number into the
 * ring before: a reader must allow for numbers of one CPU that come a little out of order.
 *
 * Returns 0, or a negative errno where the record was lost.
 */
static __always_inline long emit(struct scratch *scratch, __u64 end, enum weir_kernel_counter produced_kind) {
    struct weir_record_header *header = &scratch->header;
    __u32 key = WEIR_KERNEL_COUNTER_PRODUCED;
    __u64 *produced = bpf_map_lookup_elem(&counters, &key);
    if (!produced) // cannot be: the map has the key
        return -1;
    header->sequence = __sync_fetch_and_add(produced, 1);
    count(produced_kind);

    if (end > WEIR_RECORD_BYTES - WEIR_RECORD_PADDING) {
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
        return -1;
    }
    *(__u64 *)(scratch->record + end) = 0;
    __u64 size = (end + 7) & ~7ULL;
    header->size = size;

    long error = bpf_ringbuf_output(&events, scratch->record, size, wake_flags(size));

    if (error)
        count(WEIR_KERNEL_COUNTER_RING_FULL);
    return error;
}

#endif
