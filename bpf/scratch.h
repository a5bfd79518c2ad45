/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the claiming of scratch memory. A program is bound to its CPU while it runs, but can be interrupted
// there by another program: each claims a slot of its own by an atomic bit operation, and releases it on
// every path.

#ifndef WEIR_SCRATCH_H
#define WEIR_SCRATCH_H

#include "counters.h"

_Static_assert(WEIR_SCRATCH_SLOTS == 4, "scratch_claim tries four bits");

static __always_inline __u64 *scratch_claim_bits(void) {
    __u32 zero = 0;
    return bpf_map_lookup_elem(&scratch_claims, &zero);
}

/**
 * Claims a slot of this CPU. Its memory holds what the last owner left.
 *
 * Returns NULL where none is free: counted as scratch_busy. Else sets *slot, to be given to
 * scratch_release().
 */
static __always_inline struct scratch *scratch_claim(__u32 *slot) {
    __u64 *claims = scratch_claim_bits();
    if (!claims)
        return NULL;
    __u32 free_slot = WEIR_SCRATCH_SLOTS;
    // Unrolled: the first is free nearly always.
    if (!(__sync_fetch_and_or(claims, 1) & 1))
        free_slot = 0;
    else if (!(__sync_fetch_and_or(claims, 2) & 2))
        free_slot = 1;
    else if (!(__sync_fetch_and_or(claims, 4) & 4))
        free_slot = 2;
    else if (!(__sync_fetch_and_or(claims, 8) & 8))
        free_slot = 3;
    if (free_slot == WEIR_SCRATCH_SLOTS) {
        count(WEIR_KERNEL_COUNTER_SCRATCH_BUSY);
        return NULL;
    }
    struct scratch *scratch = bpf_map_lookup_elem(&scratch_slots, &free_slot);

    // Never NULL for a slot below max_entries; the verifier wants to see it asked.
    if (!scratch)
        return NULL;
    // Through memory, so that the verifier looks at what comes after it once, and not for each slot.
    *(volatile __u32 *)scratch->key = free_slot;
    *slot = *(volatile __u32 *)scratch->key;
    return scratch;
}

static __always_inline void scratch_release(__u32 slot) {
    __u64 *claims = scratch_claim_bits();
    if (claims)
        __sync_fetch_and_and(claims, ~(1ULL << (slot & (WEIR_SCRATCH_SLOTS - 1))));
}

#endif
