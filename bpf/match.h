/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns how look-ups become masks: a string in a trie, an integer in a hash, a dimension without an answer.
// Hooks and scopes use the same functions; what they look at, and under which ids, they say themselves.
//
// A mask says for each selector whether its term on this dimension holds, given what was found. The masks of
// all dimensions are ANDed; selectors that do not ask a dimension have their bit set in all of its masks.

#ifndef WEIR_MATCH_H
#define WEIR_MATCH_H

#include "maps.h"
#include "counters.h"
#include "hook_maps.h"

enum {
    // Purposes of an integer_key.
    PURPOSE_VALUE = 0,
    PURPOSE_UNDECIDED = 1,
    WORD_BITS = 64,
};

static __always_inline void mask_clear(struct weir_mask *mask) {
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        mask->words[word] = 0;
}

/* Keeps in `mask` what `other` has too; returns whether anything is left in the first `words` words. */
static __always_inline bool mask_and(struct weir_mask *mask, const struct weir_mask *other, __u32 words) {
    __u64 left = 0;

#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        if (word < words) {
            mask->words[word] &= other->words[word];
            left |= mask->words[word];
        }
    }
    return left != 0;
}

static __always_inline void mask_copy(struct weir_mask *mask, const struct weir_mask *other, __u32 words) {
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        if (word < words)
            mask->words[word] = other->words[word];
    }
}

static __always_inline bool mask_empty(const struct weir_mask *mask, __u32 words) {
    __u64 left = 0;

#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        if (word < words)
            left |= mask->words[word];
    }
    return left == 0;
}

/* Bits of a key that count, for `length` bytes and the NUL after them. */
static __always_inline __u32 trie_bits(__u32 length) {
    __u32 bytes = length + 1;

    if (bytes > WEIR_LIMIT_TRIE_DATA_BYTES)
        bytes = WEIR_LIMIT_TRIE_DATA_BYTES;
    return 8 * (sizeof(__u32) + bytes);
}

/* Looks up the bytes of `text` as they stand; its own header serves as that of the key, so nothing is copied.
 */
static __always_inline const struct weir_mask *look_up_forward(struct text_slot *text, __u32 length,
                                                               __u32 dimension_id) {
    text->prefix_bits = trie_bits(length);
    text->dimension_id = dimension_id;
    return bpf_map_lookup_elem(&string_masks, text);
}

/*
 * Turns a text round, into the slot for that. Eight bytes at a time: the last step may read up to seven bytes
 * before the text, which are the slot's own header, and writes them past the end that counts. Not static, so
 * that the verifier looks at it once.
 */
__noinline int turn_text(__u32 slot, __u32 number, __u32 length) {
    struct text_slot *text = text_of(slot, number);
    struct text_slot *turned = text_of(slot, TURNED_TEXT);

    if (!text || !turned || length >= WEIR_LIMIT_PATH_BYTES)
        return 0;
#pragma clang loop unroll(disable)
    for (__u32 step = 0; step < (WEIR_LIMIT_TRIE_DATA_BYTES + 7) / 8; step++) {
        __u32 done = step * 8;

        if (done >= length)
            break;
        __u32 from =
            offsetof(struct text_slot, bytes) + length - 8 - done; // counts from the start of the slot

        if (from > offsetof(struct text_slot, bytes) + WEIR_LIMIT_PATH_BYTES - 8)
            break;
        *(__u64 *)(turned->bytes + done) = __builtin_bswap64(*(__u64 *)((__u8 *)text + from));
    }
    turned->bytes[length] = 0;
    return 0;
}

static __always_inline const struct weir_mask *look_up_integer(__u32 dimension_id, __u64 value,
                                                               __u32 purpose) {
    struct weir_integer_key key = {.dimension_id = dimension_id, .purpose = purpose, .value = value};

    return bpf_map_lookup_elem(&integer_masks, &key);
}

#endif
