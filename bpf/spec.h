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
// Whether a hook has an argument of a type or from a source, a look-up of a kind or of a part of an argument,
// or what else a hook_feature says. What is asked so is taken out of the programs that have none, before the
// kernel sees them; each thing that not all hooks need is to be behind one of these.
#define HOOK_READS(argument_type) (spec.types & (1ULL << (argument_type)))
#define HOOK_TAKES(argument_source) (spec.sources & (1U << (argument_source)))
#define HOOK_LOOKS_UP(dimension_kind) (spec.kinds & (1U << (dimension_kind)))
#define HOOK_SCOPES_BY(scope_attribute) (spec.scope_attributes & (1U << (scope_attribute)))
#define HOOK_COMPARES(argument_part) (spec.parts & (1U << (argument_part)))

#endif
