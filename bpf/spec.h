/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the constants that a clone of a template is made with.

#ifndef WEIR_SPEC_H
#define WEIR_SPEC_H

#include "maps.h"

/* What this clone of a template is for: constants, by which the verifier removes what it does not need. */
const volatile struct weir_hook_spec spec = {};
/* Of a place in a program or library: its offset in the file. */
const volatile __u64 function_offset = 0;

#define HOOK_HAS(feature) (spec.features & (feature))

#endif
