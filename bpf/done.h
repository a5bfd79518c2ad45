/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what is kept of a hook's entry until the call returns: which selectors matched there, and what was
// done for those that acted.

#ifndef WEIR_DONE_H
#define WEIR_DONE_H

#include "match.h"

static __always_inline void returning_clear(struct hook_work *work) {
    mask_clear(&work->returning);
    mask_clear(&work->signalled);
    mask_clear(&work->denied);
    mask_clear(&work->enforced);
}

/* The word of a mask that has a bit. clang would drop a mask that does nothing by what it knows of the bit.
 */
static __always_inline __u32 word_of(__u32 bit) {
    __u32 word = bit / WORD_BITS;

    barrier_var(word);
    word &= WEIR_LIMIT_MASK_WORDS - 1;
    barrier_var(word);
    return word;
}
_Static_assert((WEIR_LIMIT_MASK_WORDS & (WEIR_LIMIT_MASK_WORDS - 1)) == 0, "a mask is made of it");

static __always_inline void mask_set(struct weir_mask *mask, __u32 bit) {
    mask->words[word_of(bit)] |= 1ULL << (bit % WORD_BITS);
}

static __always_inline bool mask_has(const struct weir_mask *mask, __u32 bit) {
    return mask->words[word_of(bit)] >> (bit % WORD_BITS) & 1;
}

/* Takes out those that wait up to `last`: see drop_candidates. */
__noinline int drop_returning(__u32 slot, __u32 last) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        __u32 first = word * WORD_BITS;

        if (last >= first + WORD_BITS - 1)
            work->returning.words[word] = 0;
        else if (last >= first)
            work->returning.words[word] &= ~((2ULL << (last - first)) - 1);
    }
    return 0;
}

/* Notes what act() did for a selector. Not static, so that the verifier looks at it once. */
__noinline int note_done(__u32 slot, __u32 bit) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
    if (work->done_signal)
        mask_set(&work->signalled, bit);
    if (work->done_error)
        mask_set(&work->denied, bit);
    if (work->done_is_enforced)
        mask_set(&work->enforced, bit);
    return 0;
}

#endif
