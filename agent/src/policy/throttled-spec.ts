// SPDX-License-Identifier: Apache-2.0
// Owns what a throttle of the node asks of a hook's program.
import { HOOK_SPEC_FEATURES_AT, HookFeature } from '@weir/schema';

/** The spec of a program whose events a throttle of the node may hold back. */
export function throttledSpec(spec: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(spec);
  const view = new DataView(bytes.buffer);
  const features = view.getUint32(HOOK_SPEC_FEATURES_AT, true);
  view.setUint32(HOOK_SPEC_FEATURES_AT, features | HookFeature.throttle, true);
  return bytes;
}
