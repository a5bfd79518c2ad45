// SPDX-License-Identifier: Apache-2.0
// Owns questions to the kernel: what it can do, its clocks and CPUs, a grace period; and one
// plain help with memory.
#pragma once

#include "common.h"

namespace weir {

void waitGracePeriod(const Napi::CallbackInfo &info);
Napi::Value kernelFunction(const Napi::CallbackInfo &info);
Napi::Value kernelField(const Napi::CallbackInfo &info);
Napi::Value probe(const Napi::CallbackInfo &info);
Napi::Value clockOffsetNs(const Napi::CallbackInfo &info);
Napi::Value possibleCpus(const Napi::CallbackInfo &info);

Napi::Value copyRanges(const Napi::CallbackInfo &info);

} // namespace weir
