// SPDX-License-Identifier: Apache-2.0
// Owns how the addon sees the layouts of records and batches: the headers that the schema generates are C.
#pragma once

#include <linux/types.h>

#define _Static_assert static_assert
// A field of a pod entry.
#define namespace namespace_
#include "../../schema/generated/weir.h"
// After weir.h, whose span it uses.
#include "../../schema/generated/weir-batch.h"
#undef namespace
#undef _Static_assert
