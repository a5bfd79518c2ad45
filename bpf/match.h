/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns how look-ups become masks: a string in a trie, an integer in a hash, among bounds or bit by bit, a
// dimension without an answer.
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
    PURPOSE_INTERVAL = 2,
    PURPOSE_BITS = 3,
    PURPOSE_BIT = 4,
    PURPOSE_DEFAULT = 5,
    PURPOSE_FOUND = 6,
    // Of a text that is longer than all values and has lost its front: where all terms ask for a whole text,
    // and where others are left undecided.
    PURPOSE_LONGER = 7,
    PURPOSE_LONGER_UNDECIDED = 8,
    // In place of the index of a configuration: what it says may be gone, as the call began under it.
    NO_CONFIG = 0xffffffff,
    WORD_BITS = 64,
    // Of a name in a payload; a mask.
    NAME_OFFSET_MAX = 127,
    // In what search_page() returns: the rest is an interval, not a page.
    FOUND_INTERVAL = 1 << 30,
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

static __always_inline void mask_or(struct weir_mask *mask, const struct weir_mask *other, __u32 words) {
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        if (word < words)
            mask->words[word] |= other->words[word];
    }
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

/* Looks up the bytes of `text` as they stand; its own header serves as that of the key, so nothing is copied.
 */
static __always_inline const struct weir_mask *look_up_forward(struct text_slot *text, __u32 length,
                                                               __u32 dimension_id) {
    text->prefix_bits = trie_bits(length);
    text->dimension_id = dimension_id;
    return bpf_map_lookup_elem(&string_masks, text);
}

/*
 * Turns a text round, into the slot for that; it begins at `offset` of the argument's payload. Eight bytes at
 * a time: the last step may read up to seven bytes before the text, which are the slot's own header, and
 * writes them past the end that counts. Not static, so that the verifier looks at it once.
 */
__noinline int turn_text(__u32 slot, __u32 number, __u32 offset, __u32 length) {
    struct text_slot *text = text_of(slot, number);
    struct text_slot *turned = text_of(slot, TURNED_TEXT);

    if (!text || !turned || length >= WEIR_LIMIT_PATH_BYTES)
        return 0;
    // A mask, as clang would join two comparisons into one of both values, which says nothing of either.
    offset &= NAME_OFFSET_MAX;
    barrier_var(offset);
#pragma clang loop unroll(disable)
    for (__u32 step = 0; step < (WEIR_LIMIT_TRIE_DATA_BYTES + 7) / 8; step++) {
        __u32 done = step * 8;

        if (done >= length)
            break;
        __u32 from = offsetof(struct text_slot, bytes) + offset + length - 8 -
                     done; // counts from the start of the slot

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

/*
 * The mask for a text of which something is missing. One that is longer than any value is none of them,
 * whatever is missing: nobody shall get past "none of these" by a path that is too long to be read. *known
 * says whether that decides all.
 */
static __always_inline const struct weir_mask *look_up_incomplete(__u32 dimension_id, bool is_longer,
                                                                  bool *known) {
    const struct weir_mask *found = is_longer ? look_up_integer(dimension_id, 0, PURPOSE_LONGER) : NULL;

    *known = found != NULL;
    if (found)
        return found;
    return look_up_integer(dimension_id, 0, is_longer ? PURPOSE_LONGER_UNDECIDED : PURPOSE_UNDECIDED);
}

/* By which id the look-up maps know a dimension of a configuration. */
static __always_inline __u32 dimension_id_of(__u32 config_id, __u32 d) {
    return config_id * WEIR_LIMIT_DIMENSIONS_PER_HOOK + d;
}

/* The mask of a dimension whose look-up finds nothing; of one that is looked up at a return, with NO_CONFIG.
 */
static __always_inline const struct weir_mask *default_mask(__u32 config_index, __u32 config_id, __u32 d) {
    if (config_index == NO_CONFIG)
        return look_up_integer(dimension_id_of(config_id, d), 0, PURPOSE_DEFAULT);
    const struct weir_hook_config *config = bpf_map_lookup_elem(&hook_configs, &config_index);

    if (!config)
        return NULL;
    d &= WEIR_LIMIT_DIMENSIONS_PER_HOOK - 1; // see lay_out_argument
    barrier_var(d);
    return &config->defaults[d];
}

/*
 * Finds the place of a number among the bounds of one page: which page comes next, or which interval it is
 * (FOUND_INTERVAL). Not static, so that the verifier walks once through the halvings, and not through those
 * of each page after those of the one before.
 */
__noinline int search_page(__u32 dimension_id, __u32 number, __u64 value) {
    struct weir_range_key key = {.dimension_id = dimension_id, .page = number};
    const struct weir_range_page *page = bpf_map_lookup_elem(&range_pages, &key);
    __u32 below = 0; // bounds that are not above the value

    if (!page)
        return FOUND_INTERVAL;
#pragma unroll
    for (__u32 step = (WEIR_LIMIT_RANGE_PAGE_BOUNDS + 1) / 2; step > 0; step /= 2) {
        if (below + step <= page->count && page->bounds[below + step - 1] <= value)
            below += step;
    }
    return (page->first + below) | (page->is_leaf ? FOUND_INTERVAL : 0);
}
_Static_assert(((WEIR_LIMIT_RANGE_PAGE_BOUNDS + 1) & WEIR_LIMIT_RANGE_PAGE_BOUNDS) == 0,
               "search_page halves: a page has one bound less than a power of two");

static __always_inline bool is_capability_set(__u8 type) {
    return type >= WEIR_ARGUMENT_TYPE_KERNEL_CAP_T && type <= WEIR_ARGUMENT_TYPE_CAP_EFFECTIVE;
}

/* Whether numbers of a type fill 64 bits and have no sign: others are compared as if they had one. */
static __always_inline bool is_without_sign(__u8 type) {
    return type == WEIR_ARGUMENT_TYPE_UINT64 || is_capability_set(type);
}

/* The mask of the interval that a number lies in. NULL is the first one. */
static __always_inline const struct weir_mask *look_up_range(__u32 dimension_id, __u64 value, __u8 type) {
    __u32 found = 0;

    if (!is_without_sign(type))
        value ^= 1ULL << 63;
#pragma clang loop unroll(disable)
    for (int level = 0; level < WEIR_LIMIT_RANGE_PAGE_LEVELS; level++) {
        found = search_page(dimension_id, found, value);
        if (found & FOUND_INTERVAL)
            break;
    }
    return look_up_integer(dimension_id, found & ~FOUND_INTERVAL, PURPOSE_INTERVAL);
}

/* What the bits of one number share; the context of bpf_loop, which keeps no pointers. */
struct bits_look_up {
    __u32 slot;
    __u32 dimension_id;
    __u64 left; // bits still to be looked up
};

/*
 * Number of the lowest bit of a word that has one. By hand: __builtin_ctzll crashes clang 14 where the target
 * is BPF; and without a branch, as the verifier would follow what comes after it once for each number.
 */
static __always_inline __u32 lowest_bit(__u64 word) {
    __u32 bit = 0;

#pragma unroll
    for (__u32 width = WORD_BITS / 2; width > 0; width /= 2) {
        __u64 low = word & ((1ULL << width) - 1);
        __u64 is_empty = (low - 1) >> 63;

        barrier_var(is_empty);
        __u32 step = is_empty * width;

        word >>= step;
        bit += step;
    }
    return bit;
}

/* ORs the mask of the lowest bit that is left. Returns 1, which ends the loop, where that was the last. */
static long look_up_bit(__u32 index, void *context) {
    struct bits_look_up *bits = context;
    struct hook_work *work = hook_work_of(bits->slot);

    (void)index;
    if (!work || bits->left == 0)
        return 1;
    const struct weir_mask *found = look_up_integer(bits->dimension_id, lowest_bit(bits->left), PURPOSE_BIT);

    if (found)
        mask_or(&work->found, found, WEIR_LIMIT_MASK_WORDS);
    bits->left &= bits->left - 1;
    return 0;
}

/*
 * The mask of a number bit by bit: what selectors ask of it is that one of some bits be set, or none of them.
 * Only bits that any selector asks for are looked up. Not static, for its stack.
 */
__noinline int look_up_bits(__u32 slot, __u32 config_index, __u32 d, __u64 value) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
    struct bits_look_up bits = {.slot = slot, .dimension_id = dimension_id_of(work->config_id, d)};
    const struct weir_mask *asked = look_up_integer(bits.dimension_id, 0, PURPOSE_BITS);
    const struct weir_mask *unset = default_mask(config_index, work->config_id, d);

    mask_clear(&work->found);
    if (!unset || !asked)
        return 0;
    bits.left = value & asked->words[0];
    bpf_loop(WORD_BITS, look_up_bit, &bits, 0);
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        work->found.words[word] ^= unset->words[word];
    return 0;
}

#endif
