/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the reading of buffers: bytes whose number something else says, in one piece or in several. They may
// hold NULs. Their first bytes are kept, and how many there were.

#ifndef WEIR_BUFFER_H
#define WEIR_BUFFER_H

#include "hook_kernel.h"
#include "path.h"
#include "payload.h"
#include "spec.h"

enum {
    BUFFER_BYTES_MAX = WEIR_LIMIT_PATH_BYTES - 1,
    BUFFER_PIECES_MAX = 1024, // UIO_MAXIOV
    // Bytes that a look-up of sized bytes takes, behind the two that say how many there are.
    SIZED_BYTES_MAX = WEIR_LIMIT_TRIE_DATA_BYTES - 2,
    // In the number of an argument: it lies in user memory, whatever its address claims.
    IN_USER_MEMORY = 1 << 8,
    UNKNOWN_SIZE = 0xffffffff,
    // Flags of a hook_argument: its bytes are read at the return; the call returns 32 bits.
    ARGUMENT_AT_RETURN = 4,
    ARGUMENT_NARROW_RETURN = 8,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct iovec {
    void *iov_base;
    unsigned long iov_len;
};

/* Where the bytes of a read or a write are. 6.4 renamed iov (747b1f65d39a); ubuf is there from 6.0 on. */
struct iov_iter {
    __u8 iter_type;
    unsigned long iov_offset, count, nr_segs;
    void *ubuf;
    const struct iovec *__iov;
};

struct iov_iter___before_6_4 {
    const struct iovec *iov;
};

enum iter_type {
    ITER_IOVEC = 1001,
    ITER_UBUF,
    ITER_KVEC,
};

#pragma clang attribute pop

static __always_inline bool is_buffer(__u8 type) {
    return type == WEIR_ARGUMENT_TYPE_CHAR_BUF || type == WEIR_ARGUMENT_TYPE_CONST_BUF ||
           type == WEIR_ARGUMENT_TYPE_CHAR_IOVEC || type == WEIR_ARGUMENT_TYPE_IOV_ITER;
}

// Whether events of the hook have a buffer whole (maxData).
#define HOOK_HAS_WHOLE (spec.whole != 0)

/* Whether they have this one. */
static __always_inline bool is_whole(__u32 position) {
    return HOOK_HAS_WHOLE && spec.whole >> (position & (HOOK_ARGUMENTS_MAX - 1)) & 1;
}

static __always_inline long read_bytes(void *to, __u64 size, __u64 address, bool is_user) {
    return is_user || !(address >> 63) ? bpf_probe_read_user(to, size, (void *)address)
                                       : bpf_probe_read_kernel(to, size, (void *)address);
}

/*
 * Appends one piece to the bytes that are being gathered in the record's memory, which nothing else uses
 * before a record is made: there the verifier sees that any piece fits behind any other. Not static, so that
 * it looks at it once. Returns 0, or 1 where nothing more is to be read.
 */
__noinline int append_piece(__u32 slot, __u32 place, __u64 address, __u64 size) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    __u32 number = place & (HOOK_ARGUMENTS_MAX - 1);

    barrier_var(number);
    if (!work || !scratch)
        return 1;
    struct weir_argument *argument = &work->arguments[number];
    __u64 at = argument->payload.length & BUFFER_BYTES_MAX;

    if (size > work->bytes_left)
        size = work->bytes_left;
    work->bytes_left -= size;
    __u64 original = argument->original_length + size;

    argument->original_length = original > 0xffffffff ? 0xffffffff : original;
    if (size > BUFFER_BYTES_MAX - at) {
        size = BUFFER_BYTES_MAX - at;
        argument->flags |= WEIR_ARGUMENT_FLAG_TRUNCATED;
    }
    barrier_var(size); // see record_append
    size &= BUFFER_BYTES_MAX;
    barrier_var(at);
    at &= BUFFER_BYTES_MAX;
    if (size == 0)
        return 0;
    if (read_bytes(scratch->record + at, size, address, place & IN_USER_MEMORY)) {
        argument->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
        return 1;
    }
    argument->payload.length = at + size;
    return 0;
}

/* What the pieces of a buffer share; the context of bpf_loop, which keeps no pointers. */
struct pieces {
    __u32 slot;
    __u32 place;
    __u64 vector;  // address of the array of pieces
    __u64 skipped; // bytes of the first piece that are none of it
};

static long append_next_piece(__u32 index, void *context) {
    struct pieces *pieces = context;
    __u64 piece[2] = {}; // struct iovec: address, bytes
    struct hook_work *work = hook_work_of(pieces->slot);

    if (!work || work->bytes_left == 0)
        return 1;
    if (read_bytes(piece, sizeof(piece), pieces->vector + index * sizeof(piece),
                   pieces->place & IN_USER_MEMORY)) {
        work->arguments[pieces->place & (HOOK_ARGUMENTS_MAX - 1)].flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
        return 1;
    }
    __u64 skipped = pieces->skipped < piece[1] ? pieces->skipped : piece[1];

    pieces->skipped = 0;
    // The verifier wants the range seen.
    return append_piece(pieces->slot, pieces->place, piece[0] + skipped, piece[1] - skipped) ? 1 : 0;
}

/* Appends the pieces of an array. An array in the kernel's own memory may still name the user's. */
static __always_inline void append_pieces(__u32 slot, __u32 place, __u64 vector, __u64 count, __u64 skipped) {
    struct pieces pieces = {.slot = slot, .place = place, .vector = vector, .skipped = skipped};

    bpf_loop(count > BUFFER_PIECES_MAX ? BUFFER_PIECES_MAX : count, append_next_piece, &pieces, 0);
}

static __always_inline bool is_iter(__u8 type, enum iter_type kind) {
    switch (kind) {
    case ITER_UBUF:
        return bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) &&
               type == bpf_core_enum_value(enum iter_type, ITER_UBUF);
    case ITER_IOVEC:
        return type == bpf_core_enum_value(enum iter_type, ITER_IOVEC);
    default:
        return type == bpf_core_enum_value(enum iter_type, ITER_KVEC);
    }
}

/* Where the pieces of an iov_iter are. kvec has the same shape, and lies in the same union. */
static __always_inline __u64 vector_of(struct iov_iter *iter) {
    return bpf_core_field_exists(iter->__iov)
               ? (__u64)BPF_CORE_READ(iter, __iov)
               : (__u64)BPF_CORE_READ((struct iov_iter___before_6_4 *)iter, iov);
}

/* Appends what an iov_iter stands for. Where that is neither the user's memory nor plain memory of the kernel
 * (pages), it cannot be read. Returns whether it could be. */
static __always_inline bool append_iter(struct hook_work *work, __u32 slot, __u32 place, __u64 address) {
    struct iov_iter *iter = (void *)address;
    __u8 type = BPF_CORE_READ(iter, iter_type);
    __u64 skipped = BPF_CORE_READ(iter, iov_offset);

    work->bytes_left = BPF_CORE_READ(iter, count);
    if (is_iter(type, ITER_UBUF)) {
        append_piece(slot, place | IN_USER_MEMORY, (__u64)BPF_CORE_READ(iter, ubuf) + skipped,
                     work->bytes_left);
        return true;
    }
    if (!is_iter(type, ITER_IOVEC) && !is_iter(type, ITER_KVEC))
        return work->bytes_left == 0;
    __u64 vector = vector_of(iter);

    append_pieces(slot, place, vector, BPF_CORE_READ(iter, nr_segs), skipped);
    return true;
}

/* Puts the gathered bytes into the argument's text. Not static: see append_piece. */
__noinline int finish_buffer(__u32 slot, __u32 number) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    struct text_slot *text = text_of(slot, number);

    if (!work || !scratch || !text || number >= HOOK_ARGUMENTS_MAX)
        return 0;
    struct weir_argument *argument = &work->arguments[number];
    __u64 length = argument->payload.length;

    barrier_var(length);
    length &= BUFFER_BYTES_MAX;
    if (argument->flags & WEIR_ARGUMENT_FLAG_UNREADABLE ||
        (length && bpf_probe_read_kernel(text->bytes, length, scratch->record))) {
        payload_unreadable(slot, number);
        length = 0;
    }
    if (argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED && !is_whole(number))
        count(WEIR_KERNEL_COUNTER_TRUNCATED_ARGUMENT);
    text->bytes[length] = 0;
    return 0;
}

/* Keeps where a buffer lies of which there is more than has been read: see whole.h. */
static __always_inline void keep_rest(struct weir_argument *argument, __u64 address) {
    if (argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED && !(argument->flags & WEIR_ARGUMENT_FLAG_UNREADABLE))
        argument->value = address;
}

/*
 * Reads a buffer at an address into an argument and its text. Of one piece, `size` says its bytes; of an
 * iovec, the number of its pieces. Not more than work->bytes_left in all. Not static: see append_piece.
 */
__noinline int read_buffer(__u32 slot, __u32 place, __u32 type, __u64 address, __u64 size) {
    struct hook_work *work = hook_work_of(slot);
    __u32 number = place & (HOOK_ARGUMENTS_MAX - 1);

    barrier_var(number);
    if (!work)
        return 0;
    work->arguments[number].payload.length = 0;
    work->arguments[number].original_length = 0;
    if (type == WEIR_ARGUMENT_TYPE_CHAR_IOVEC)
        append_pieces(slot, place, address, size, 0);
    else if (type != WEIR_ARGUMENT_TYPE_IOV_ITER)
        append_piece(slot, place, address, size);
    else if (!append_iter(work, slot, place, address))
        work->arguments[number].flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
    finish_buffer(slot, number);
    if (is_whole(number))
        keep_rest(&work->arguments[number], address);
    return 0;
}

/* Keeps in an argument where its bytes will be, for the return. */
static __always_inline void keep_place(struct weir_argument *argument, __u64 address, __u64 size) {
    argument->value = address;
    argument->original_length = size < UNKNOWN_SIZE ? size : UNKNOWN_SIZE;
    argument->flags = WEIR_ARGUMENT_FLAG_RETURNED | WEIR_ARGUMENT_FLAG_UNREADABLE;
}

/*
 * Puts the number of an argument's bytes and then these into the text that is turned round otherwise: a key
 * by which only equal bytes are found, though they hold NULs. Returns its length.
 */
__noinline int size_text(__u32 slot, __u32 number) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);
    struct text_slot *sized = text_of(slot, TURNED_TEXT);

    if (!work || !text || !sized || number >= HOOK_ARGUMENTS_MAX)
        return 0;
    __u32 bytes = work->arguments[number].original_length;
    __u64 length = bytes > SIZED_BYTES_MAX ? SIZED_BYTES_MAX : bytes;

    if (bytes > 0xffff)
        bytes = 0xffff;
    sized->bytes[0] = bytes >> 8;
    sized->bytes[1] = bytes;
    barrier_var(length);
    length &= 0xff;
    if (length && bpf_probe_read_kernel(sized->bytes + 2, length, text->bytes))
        return 0;
    return length + 2;
}
_Static_assert(SIZED_BYTES_MAX <= 0xff, "size_text masks by it");

#endif
