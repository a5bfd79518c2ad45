// SPDX-License-Identifier: Apache-2.0
// Owns the entry of the addon: what it exports, and its state in each environment.
#include "common.h"
#include "join.h"
#include "kernel.h"
#include "map.h"
#include "object.h"
#include "program.h"
#include "ring.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
    weir::initialiseLibbpf();
    auto instance = std::make_unique<weir::Instance>();
    weir::Map::define(env, *instance);
    weir::Program::define(env, *instance);
    weir::Link::define(env, *instance);
    weir::Object::define(env, *instance);
    weir::Ring::define(env, *instance);
    weir::Table::define(env, *instance);
    weir::Join::define(env, *instance);
    // Node destroys it with the environment.
    env.SetInstanceData(instance.release());
    exports.Set("openObject", Napi::Function::New<weir::openObject>(env));
    exports.Set("createMap", Napi::Function::New<weir::createMap>(env));
    exports.Set("openMapById", Napi::Function::New<weir::openMapById>(env));
    exports.Set("openPinnedMap", Napi::Function::New<weir::openPinnedMap>(env));
    exports.Set("openPinnedLink", Napi::Function::New<weir::openPinnedLink>(env));
    exports.Set("openRing", Napi::Function::New<weir::openRing>(env));
    exports.Set("openTable", Napi::Function::New<weir::openTable>(env));
    exports.Set("openJoin", Napi::Function::New<weir::openJoin>(env));
    exports.Set("openMappingEvent", Napi::Function::New<weir::openMappingEvent>(env));
    exports.Set("enableStats", Napi::Function::New<weir::enableStats>(env));
    exports.Set("waitGracePeriod", Napi::Function::New<weir::waitGracePeriod>(env));
    exports.Set("kernelFunction", Napi::Function::New<weir::kernelFunction>(env));
    exports.Set("kernelField", Napi::Function::New<weir::kernelField>(env));
    exports.Set("probe", Napi::Function::New<weir::probe>(env));
    exports.Set("clockOffsetNs", Napi::Function::New<weir::clockOffsetNs>(env));
    exports.Set("copyRanges", Napi::Function::New<weir::copyRanges>(env));
    exports.Set("possibleCpus", Napi::Function::New<weir::possibleCpus>(env));
    return exports;
}

} // namespace

NODE_API_MODULE(weir, initialise)
