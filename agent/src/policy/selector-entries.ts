// SPDX-License-Identifier: Apache-2.0
// Owns how a selector becomes bytes: what it does where it is the first of its policy to match.
import type { HookPlan, PlannedSelector } from '@weir/policy';
import {
  SELECTOR_ENTRY_BYTES,
  SELECTOR_KEY_BYTES,
  SelectorFlag,
  writeSelectorEntry,
  writeSelectorKey,
} from '@weir/schema';
import { PolicyLoadError } from './errors.js';

/** The entry of a hook's n-th selector in the map of selectors. */
export function encodeSelector(
  hook: HookPlan,
  bit: number,
  configId: number,
  bindingIdOf: (selector: PlannedSelector) => number,
): { readonly key: Uint8Array; readonly value: Uint8Array } {
  const selector = hook.selectors[bit];
  if (selector === undefined) throw new TypeError(`${hook.symbol} has no selector ${bit}`);
  const key = new Uint8Array(SELECTOR_KEY_BYTES);
  writeSelectorKey(new DataView(key.buffer), 0, { configId, bit });
  const value = new Uint8Array(SELECTOR_ENTRY_BYTES);
  writeSelectorEntry(new DataView(value.buffer), 0, {
    bindingId: bindingIdOf(selector),
    selectorIndex: selector.selectorIndex,
    lastBit: lastBitOf(hook, bit),
    actions: selector.actions,
    signal: selector.signal,
    error: selector.error,
    flags: selectorFlags(selector),
    shown: encodeShown(selector.shownArguments),
    rateLimitSeconds: selector.rateLimit?.seconds ?? 0,
    policyId: selector.policyId,
    notifyError: selector.notification?.error ?? 0,
    notifySignal: selector.notification?.signal ?? 0,
    returnActions: selector.returnActions ?? 0,
    returnSignal: selector.returnSignal ?? 0,
    socketArguments: socketArguments(selector),
    setArgument: selector.set === undefined ? 0 : selector.set.argument + 1,
    reserved: 0,
    setValue: selector.set?.value ?? 0n,
  });
  return { key, value };
}

function socketArguments({ sockets, returnSockets }: PlannedSelector): number {
  const positions = [sockets?.track, sockets?.untrack, returnSockets?.track, returnSockets?.untrack];
  return positions.reduce<number>(
    (packed, position, byte) => packed + (position === undefined ? 0 : position + 1) * 2 ** (8 * byte),
    0,
  );
}

function selectorFlags({
  monitor,
  rateLimit,
  stacks,
  imaHash,
  isEnforcer,
  returns,
  showsReturn,
}: PlannedSelector): number {
  return (
    (monitor ? SelectorFlag.monitor : 0) |
    (isEnforcer === true ? SelectorFlag.enforcer : 0) |
    (stacks?.kernel === true ? SelectorFlag.kernelStack : 0) |
    (stacks?.user === true ? SelectorFlag.userStack : 0) |
    (imaHash === true ? SelectorFlag.imaHash : 0) |
    (returns === true ? SelectorFlag.returns : 0) |
    (showsReturn === true ? SelectorFlag.showsReturn : 0) |
    (rateLimit?.scope === 'process' ? SelectorFlag.ratePerProcess : 0) |
    (rateLimit?.scope === 'global' ? SelectorFlag.rateGlobal : 0)
  );
}

/** The last bit of the selectors of the same policy's hook, of which the first that matches acts. */
function lastBitOf(hook: HookPlan, bit: number): number {
  const own = hook.selectors[bit];
  let last = bit;
  for (;;) {
    const next = hook.selectors[last + 1];
    if (next === undefined || next.policyId !== own?.policyId || next.hookIndex !== own.hookIndex)
      return last;
    last++;
  }
}

function encodeShown(positions: readonly number[]): number {
  if (positions.length > 8) throw new PolicyLoadError('limit', 'an event shows at most 8 arguments');
  return positions.reduce((shown, position, i) => (shown | ((position + 1) << (4 * i))) >>> 0, 0);
}
