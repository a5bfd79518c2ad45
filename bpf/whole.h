/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns events with buffers that are longer than what is kept of one for matching (maxData). Room for the
// whole event is taken in the ring, what the record has so far is copied there, and the rest of each such
// buffer is read from where it lies, piece by piece, behind it:
//
//     record as it lies in scratch | first bytes of a buffer, as matched, and the rest | those of the next
//     ...
//
// Where anything goes wrong, the event is sent as it lies in scratch, with its buffers cut.

#ifndef WEIR_WHOLE_H
#define WEIR_WHOLE_H

#include "buffer.h"
#include "emit.h"
#include "field.h"
#include "spec.h"

enum {
    WHOLE_CHUNK_BYTES = BUFFER_BYTES_MAX,
    // Chunks of an event: as many as the longest buffer has in one piece, and more for those that have
    // several.
    WHOLE_CHUNKS_MAX = 4 * (WEIR_LIMIT_WHOLE_BYTES / WHOLE_CHUNK_BYTES),
    // Turns of a loop: pieces that are read past, or are empty.
    WHOLE_TURNS_MAX = 2 * BUFFER_PIECES_MAX,
};

/* Which argument is shown at a place of an event. */
static __always_inline __u32 position_of(__u32 shown, __u32 place) {
    __u32 position = (shown >> (4 * place) & 15) - 1;

    barrier_var(position); // see lay_out_argument
    position &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(position);
    return position;
}

/* Sets the walk over a buffer to the first byte that has not been read. */
static __always_inline bool begin_rest(struct whole_walk *walk, const struct weir_argument *argument,
                                       bool is_user) {
    __u64 address = argument->value;

    walk->vector = 0;
    walk->left = 0;
    walk->piece_count = 0;
    walk->skipped = BUFFER_BYTES_MAX;
    walk->is_user = is_user;
    if (argument->type == WEIR_ARGUMENT_TYPE_CHAR_IOVEC) {
        walk->vector = address;
        walk->piece_count = BUFFER_PIECES_MAX;
        return true;
    }
    if (argument->type != WEIR_ARGUMENT_TYPE_IOV_ITER) {
        walk->piece = address;
        walk->left = argument->original_length;
        return true;
    }
    struct iov_iter *iter = (void *)address;
    __u8 type = BPF_CORE_READ(iter, iter_type);
    __u64 offset = BPF_CORE_READ(iter, iov_offset);

    if (is_iter(type, ITER_UBUF)) {
        walk->is_user = true;
        walk->piece = (__u64)BPF_CORE_READ(iter, ubuf) + offset;
        walk->left = argument->original_length;
        return true;
    }
    walk->skipped += offset;
    walk->vector = vector_of(iter);
    walk->piece_count = BPF_CORE_READ(iter, nr_segs);
    return is_iter(type, ITER_IOVEC) || is_iter(type, ITER_KVEC);
}

/* Goes on to the next bytes that are to be read. Ends where there are some, or no more. */
static long find_rest(__u32 index, void *context) {
    struct hook_work *work = hook_work_of(*(__u32 *)context);
    __u64 piece[2] = {}; // struct iovec: address, bytes

    (void)index;
    if (!work)
        return 1;
    struct whole_walk *walk = &work->whole_walk;
    __u64 skipped = walk->skipped < walk->left ? walk->skipped : walk->left;

    walk->skipped -= skipped;
    walk->piece += skipped;
    walk->left -= skipped;
    if (walk->left)
        return 1;
    if (!walk->piece_count || read_bytes(piece, sizeof(piece), walk->vector, walk->is_user)) {
        walk->wanted = 0;
        return 1;
    }
    walk->piece_count--;
    walk->vector += sizeof(piece);
    walk->piece = piece[0];
    walk->left = piece[1];
    return 0;
}

/* Sets the walk to the next buffer of which the rest is wanted, and copies the bytes of it that were matched.
 * Returns how many, 0 where there is none. */
static __always_inline int begin_next(__u32 slot, struct hook_work *work, struct text_slot *to, __u32 shown) {
    __u32 found = HOOK_ARGUMENTS_MAX;

#pragma clang loop unroll(disable)
    for (__u32 place = 0; place < HOOK_ARGUMENTS_MAX; place++) {
        if (place >= work->whole_walk.place && work->whole_bytes[place]) {
            found = place;
            break;
        }
    }
    if (found >= HOOK_ARGUMENTS_MAX)
        return 0;
    __u32 position = position_of(shown, found);
    const struct weir_argument *argument = &work->arguments[position];
    const struct text_slot *text = text_of(slot, position);

    work->whole_walk.place = found + 1;
    work->whole_walk.wanted = work->whole_bytes[found] - BUFFER_BYTES_MAX;
    if (!text || !begin_rest(&work->whole_walk, argument, is_of_user(position)) ||
        bpf_probe_read_kernel(to->bytes, BUFFER_BYTES_MAX, text->bytes))
        return 0;
    return BUFFER_BYTES_MAX;
}

/* Reads the next bytes of an event's buffers into the text that is turned round otherwise. Returns how many,
 * 0 where there are no more or they cannot be read. Not static: see append_piece. */
__noinline int next_rest(__u32 slot, __u32 shown) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, TURNED_TEXT);
    __u32 own_slot = slot;

    if (!work || !text)
        return 0;
    if (!work->whole_walk.wanted)
        return begin_next(slot, work, text, shown);
    bpf_loop(WHOLE_TURNS_MAX, find_rest, &own_slot, 0);
    __u64 bytes = work->whole_walk.left;

    if (bytes > work->whole_walk.wanted)
        bytes = work->whole_walk.wanted;
    if (bytes > WHOLE_CHUNK_BYTES)
        bytes = WHOLE_CHUNK_BYTES;
    barrier_var(bytes); // see record_append
    bytes &= WHOLE_CHUNK_BYTES;
    if (!bytes || read_bytes(text->bytes, bytes, work->whole_walk.piece, work->whole_walk.is_user))
        return 0;
    work->whole_walk.piece += bytes;
    work->whole_walk.left -= bytes;
    work->whole_walk.wanted -= bytes;
    return bytes;
}
_Static_assert((WHOLE_CHUNK_BYTES & (WHOLE_CHUNK_BYTES + 1)) == 0, "a mask is made of it");

/* Finds which buffers of an event have more than lies in its record in scratch. Returns the bytes that they
 * have together, those in the record included. Not static: see append_piece. */
__noinline int plan_rest(__u32 slot, __u32 shown) {
    struct hook_work *work = hook_work_of(slot);
    __u32 bytes = 0;

    if (!work)
        return 0;
    work->whole_walk.place = 0;
    work->whole_walk.wanted = 0;
#pragma clang loop unroll(disable)
    for (__u32 place = 0; place < HOOK_ARGUMENTS_MAX; place++) {
        const struct weir_argument *argument = &work->arguments[position_of(shown, place)];
        __u32 wanted = 0;

        if (shown >> (4 * place) & 15 && is_whole(position_of(shown, place)) && argument->value &&
            argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED)
            wanted = argument->original_length;
        if (wanted > WEIR_LIMIT_WHOLE_BYTES - bytes)
            wanted = WEIR_LIMIT_WHOLE_BYTES - bytes;
        if (wanted <= BUFFER_BYTES_MAX)
            wanted = 0;
        work->whole_bytes[place] = wanted;
        bytes += wanted;
    }
    return bytes;
}

/* Has the arguments of the record in scratch name the bytes that lie behind it, from `end` on. Not static:
 * see append_piece. */
__noinline int name_rest(__u32 slot, __u32 end) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    __u16 flags = 0;

    if (!work || !scratch)
        return 0;
#pragma clang loop unroll(disable)
    for (__u32 place = 0; place < HOOK_ARGUMENTS_MAX; place++) {
        struct weir_argument *argument = (void *)(scratch->record + sizeof(struct weir_hook_record) +
                                                  place * sizeof(struct weir_argument));

        if (place >= scratch->hook.argument_count)
            break;
        if (work->whole_bytes[place]) {
            argument->payload.offset = end;
            argument->payload.length = work->whole_bytes[place];
            end += work->whole_bytes[place];
            if (argument->original_length == argument->payload.length)
                argument->flags &= ~WEIR_ARGUMENT_FLAG_TRUNCATED;
            else
                count(WEIR_KERNEL_COUNTER_TRUNCATED_ARGUMENT);
        }
        flags |= argument->flags;
    }
    if (!(flags & WEIR_ARGUMENT_FLAG_TRUNCATED))
        scratch->header.flags &= ~WEIR_RECORD_FLAG_TRUNCATED;
    return 0;
}

/*
 * Sends the record that lies in scratch, `end` bytes long, with what it has cut of its buffers behind it.
 * Returns 0 where it is not sent: there is no more of them, it could not be read, or the ring has no room for
 * it. Not static, for its stack.
 */
__noinline int emit_whole(__u32 slot, __u32 end, __u32 shown) {
    struct scratch *scratch = path_scratch(slot);
    const struct text_slot *text = text_of(slot, TURNED_TEXT);
    __u32 key = WEIR_KERNEL_COUNTER_PRODUCED;
    __u64 *produced = bpf_map_lookup_elem(&counters, &key);
    struct bpf_dynptr event;
    __u32 all = plan_rest(slot, shown);
    __u32 at = end;

    if (!scratch || !text || !produced || !all)
        return 0;
    __u32 size = (end + all + 7) & ~7U;
    __u64 wake = wake_flags(size); // before the ring counts it
    bool is_whole = bpf_ringbuf_reserve_dynptr(&events, size, 0, &event) == 0;

#pragma clang loop unroll(disable)
    for (__u32 turn = 0; turn < WHOLE_CHUNKS_MAX && is_whole; turn++) {
        __u64 bytes = next_rest(slot, shown);

        barrier_var(bytes); // see record_append
        bytes &= WHOLE_CHUNK_BYTES;
        if (!bytes || bpf_dynptr_write(&event, at, (void *)text->bytes, bytes, 0))
            break;
        at += bytes;
    }
    // The record is filled up with zeros to a multiple of 8.
    __u64 padding = 0;
    __u64 unfilled = (size - at) & 7;
    // As wide as an address, and compared where it is used: see lay_out_argument.
    __u64 length = end;

    barrier_var(unfilled);
    unfilled &= 7;
    barrier_var(length);
    if (!is_whole || at != end + all || bpf_dynptr_write(&event, at, &padding, unfilled, 0) ||
        length > WEIR_RECORD_BYTES) {
        bpf_ringbuf_discard_dynptr(&event, 0);
        count(WEIR_KERNEL_COUNTER_TRUNCATED_ARGUMENT);
        return 0;
    }
    name_rest(slot, end);
    scratch->header.size = size;
    scratch->header.sequence = __sync_fetch_and_add(produced, 1);
    count(WEIR_KERNEL_COUNTER_PRODUCED_HOOK);
    if (bpf_dynptr_write(&event, 0, scratch->record, length, 0))
        bpf_ringbuf_discard_dynptr(&event, 0); // cannot be; the gap in the sequence would tell
    else
        bpf_ringbuf_submit_dynptr(&event, wake);
    return 1;
}

#endif
