// SPDX-License-Identifier: Apache-2.0
// Owns TrackSock and UntrackSock: which socket they mean, whether it is one, and which hooks tell events of a socket of
// the process that it belongs to.
import { ArgumentType } from '@weir/schema';
import type { Findings } from './findings.js';
import type { HookPlan, PlannedSelector, PlannedSockets } from './plan-types.js';
import type { Located } from './policy.js';
import { findArgument } from './selectors.js';
import type { Action, Argument, CalledFields, Kprobe } from './shape.js';

export const socketActions: ReadonlySet<string> = new Set(['TrackSock', 'UntrackSock']);
/** What is a socket; a packet only has one. */
const socketTypes = new Set(['sock', 'socket']);

/** Judges which argument the actions of a selector name as a socket. */
export function checkSocketActions(
  findings: Findings,
  actions: readonly Located<Action>[],
  args: readonly Argument[],
): void {
  for (const { item, path } of actions) {
    if (!socketActions.has(item.action)) continue;
    if (item.argSock === undefined) {
      findings.error(
        'missing-field',
        `${path}.argSock`,
        'is missing: write the index of the argument that is the socket',
      );
      continue;
    }
    const found = findArgument(args, { index: item.argSock, operator: 'Equal', values: [] });
    if ('error' in found) findings.error('wrong-index', `${path}.argSock`, found.error);
    else if (!socketTypes.has(args[found.position]?.type ?? ''))
      findings.error(
        'wrong-type',
        `${path}.argSock`,
        `names an argument of the type ${args[found.position]?.type}, which is no socket: it takes sock and socket`,
      );
  }
}

/** Judges what is to become of a returned socket. */
export function checkReturnedSocket(
  findings: Findings,
  { returnArg, returnArgAction }: Pick<Kprobe, 'returnArg' | 'returnArgAction'>,
  path: string,
): void {
  if (returnArgAction === undefined || !socketActions.has(returnArgAction) || returnArg === undefined) return;
  if (!socketTypes.has(returnArg.type))
    findings.error(
      'wrong-type',
      `${path}.returnArgAction`,
      `${returnArgAction} takes a socket, and returnArg is of the type ${returnArg.type}: it takes sock and socket`,
    );
}

function socketsOf(
  actions: readonly Located<Action>[],
  slotOf: (index: number) => number | undefined,
): PlannedSockets | undefined {
  const slot = (name: string) => {
    const index = actions.find(({ item }) => item.action === name)?.item.argSock;
    return index === undefined ? undefined : slotOf(index);
  };
  const [track, untrack] = [slot('TrackSock'), slot('UntrackSock')];
  if (track === undefined && untrack === undefined) return undefined;
  return {
    ...(track === undefined ? {} : { track }),
    ...(untrack === undefined ? {} : { untrack }),
  };
}

/**
 * The sockets whose owner a selector sets or forgets.
 * @param slotOf position in the hook of an argument, by its position in `args`
 */
export function plannedSockets(
  matchActions: readonly Located<Action>[],
  matchReturnActions: readonly Located<Action>[],
  called: (CalledFields & Pick<Kprobe, 'returnArgAction'>) | undefined,
  args: readonly Argument[],
  slotOf: ReadonlyMap<number, number>,
  returnSlot: number | undefined,
): Pick<PlannedSelector, 'sockets' | 'returnSockets'> {
  const byIndex = (index: number) => {
    const found = findArgument(args, { index, operator: 'Equal', values: [] });
    return 'position' in found ? slotOf.get(found.position) : undefined;
  };
  const sockets = socketsOf(matchActions, byIndex);
  const returned =
    returnSlot === undefined
      ? undefined
      : { TrackSock: { track: returnSlot }, UntrackSock: { untrack: returnSlot }, Post: undefined }[
          called?.returnArgAction ?? 'Post'
        ];
  const atReturn = socketsOf(matchReturnActions, byIndex);
  const returnSockets = returned === undefined ? atReturn : { ...atReturn, ...returned };
  return {
    ...(sockets === undefined ? {} : { sockets }),
    ...(returnSockets === undefined ? {} : { returnSockets }),
  };
}

const ownedTypes: ReadonlySet<number> = new Set([ArgumentType.sock, ArgumentType.socket, ArgumentType.skb]);

/** Where any policy says which process a socket belongs to, hooks that see sockets tell it. */
export function withSocketOwners(hooks: readonly HookPlan[]): readonly HookPlan[] {
  const tracks = hooks.some(({ selectors }) =>
    selectors.some(
      ({ sockets, returnSockets }) => sockets?.track !== undefined || returnSockets?.track !== undefined,
    ),
  );
  if (!tracks) return hooks;
  return hooks.map((hook) =>
    hook.arguments.some(({ type }) => ownedTypes.has(type)) ? { ...hook, socketOwners: true } : hook,
  );
}
