// SPDX-License-Identifier: Apache-2.0
// Owns the look at a batch for events whose policy asks the agent to do something. Batches without such a policy, which is
// nearly all, cost a look at their bindings.

import type { AgentAction, PlannedBinding } from '@weir/policy';
import {
  BATCH_HEADER_BINDING_COUNT_AT,
  BATCH_HEADER_BINDINGS_AT_AT,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  BINDING_ENTRY_BINDING_ID_AT,
  BINDING_ENTRY_BYTES,
  BINDING_ENTRY_EVENT_KIND_AT,
  HOOK_RECORD_BINDING_INDEX_AT,
  HOOK_RECORD_SELECTOR_INDEX_AT,
  RECORD_HEADER_KIND_AT,
} from '@weir/schema';
import type { AgentActions } from './actions.js';

/** What a binding's number stands for. */
type BindingOf = (bindingId: number) => PlannedBinding | undefined;

/** Takes the actions of all events in a joined batch. */
export function takeActions(view: DataView, bindingOf: BindingOf, actions: Pick<AgentActions, 'take'>): void {
  const count = view.getUint32(BATCH_HEADER_BINDING_COUNT_AT, true);
  const bindingsAt = view.getUint32(BATCH_HEADER_BINDINGS_AT_AT, true);
  const kinds = new Set<number>();
  const asking = new Map<
    number,
    { readonly owner: PlannedBinding; readonly asked: readonly AgentAction[] }
  >();
  for (let index = 0; index < count; index++) {
    const at = bindingsAt + index * BINDING_ENTRY_BYTES;
    const owner = bindingOf(view.getUint32(at + BINDING_ENTRY_BINDING_ID_AT, true));
    if (owner?.agentActions === undefined) continue;
    asking.set(index, { owner, asked: owner.agentActions });
    kinds.add(view.getUint16(at + BINDING_ENTRY_EVENT_KIND_AT, true));
  }
  if (asking.size === 0) return;
  const records = view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
  const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true);
  for (let record = 0; record < records; record++) {
    const at = view.getUint32(offsetsAt + 4 * record, true);
    // Records of other kinds have something else in that place.
    if (!kinds.has(view.getUint16(at + RECORD_HEADER_KIND_AT, true))) continue;
    // One more than the index; 0 is none.
    const found = asking.get(view.getUint32(at + HOOK_RECORD_BINDING_INDEX_AT, true) - 1);
    if (found === undefined) continue;
    const selector = view.getUint16(at + HOOK_RECORD_SELECTOR_INDEX_AT, true);
    for (const action of found.asked)
      if (action.selectorIndex === selector) actions.take(found.owner, action);
  }
}
