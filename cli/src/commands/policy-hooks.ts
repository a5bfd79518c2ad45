// SPDX-License-Identifier: Apache-2.0
// Owns what `weir policy list --hooks` shows: what the policies on this machine have done, hook by hook.
import type { HookState } from '@weir/agent/client';
import { wantsJson, wholeNumber } from '../command.js';
import { cell, type Output, table } from '../output.js';
import { socketPath, withAgent } from './agent-socket.js';

const titles = [
  'POLICY',
  'HOOK',
  'TYPE',
  'HITS',
  'MATCHES',
  'POSTED',
  'HELD',
  'ENFORCED',
  'DROPS',
  'ERRORS',
  'UNDECIDED',
  'NS/RUN',
  'KIB',
];

/** A row for each policy on each hook; what belongs to the hook as a whole stands in each of its rows. */
export function hookRows(hooks: readonly HookState[]): (string | number)[][] {
  return hooks.flatMap((hook) =>
    hook.policies.map(({ name, namespace, counts }) => {
      const count = (value: number | undefined) => value ?? '?';
      return [
        namespace === '' ? name : `${namespace}/${name}`,
        hook.hook,
        hook.type,
        hook.hits,
        count(counts?.matches),
        count(counts?.posted),
        count(counts && counts.rateLimited + counts.throttled),
        count(counts?.enforced),
        count(counts?.lost),
        count(counts && counts.enforceFailed + hook.skipped),
        hook.undecided,
        hook.nsPerRun === undefined ? '-' : Math.round(hook.nsPerRun),
        Math.ceil(hook.memoryBytes / 1024),
      ];
    }),
  );
}

export function listHooks(
  output: Output,
  text: (name: string) => string | undefined,
): Promise<number | undefined> {
  const json = wantsJson(text('output'));
  const seconds = wholeNumber('measure', text('measure'), { least: 0, most: 60, otherwise: 0 });
  const args = ['policy', 'list', '--hooks', '--measure', String(seconds), '-o', json ? 'json' : 'table'];
  return withAgent(socketPath(text('socket')), args, async (client) => {
    const hooks = await client.hooks(seconds * 1000);
    if (json) output.json(hooks);
    else {
      const rows = hookRows(hooks).map((row) => row.map((value) => cell(String(value))));
      for (const line of table(titles, rows)) output.line(line);
    }
    return undefined;
  });
}
