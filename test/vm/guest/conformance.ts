// SPDX-License-Identifier: Apache-2.0
// Tries cells of the conformance matrix that the planner takes: a process does what the cell's selector means, and the
// kernel tells of it and does the cell's action; another does something else, and nothing happens.

import assert from 'node:assert/strict';
import { copyFileSync, linkSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Policy } from '@weir/policy';
import { policyOfDocument } from '@weir/policy/testing';
import type { Carrier } from '../conformance/carrier.js';
import { carriers } from '../conformance/carriers.js';
import {
  askedBy,
  type Cell,
  deedsOf,
  deniedError,
  firstCell,
  linkOf,
  noOperator,
  notifies,
  policyOfCells,
  program,
  selectorsOf,
} from '../conformance/matrix.js';
import { cellsOf, type Run } from '../conformance/runs.js';
import type { ScenarioContext } from '../scenario.js';
import { type HookEvent, type Hooks, withHooks } from './hooks.js';

/** What became of a deed: of the call, of the call that enforcers are on, and the signals that came. */
interface Outcome {
  readonly killed: boolean;
  readonly result: number;
  readonly enforced: number;
  readonly signals: number;
}

function outcomeOf(line: string | undefined): Outcome {
  if (line === 'killed') return { killed: true, result: 0, enforced: 0, signals: 0 };
  const [result = Number.NaN, enforced = Number.NaN, signals = Number.NaN] = (line ?? '')
    .split(' ')
    .map(Number);
  return { killed: false, result, enforced, signals };
}

/** Whether an action was done to whoever did the deed. */
function wasDone({ action, carrier }: Cell, { killed, result, enforced, signals }: Outcome): boolean {
  switch (action) {
    case 'Sigkill':
      return killed;
    case 'Signal':
      return signals > 0;
    case 'Override':
      return result === (carrier.onlyError ?? deniedError);
    case 'NotifyEnforcer':
      return enforced === deniedError;
    // Asked before the deed: taken back where the deed is meant.
    case 'CleanupEnforcerNotification':
      return enforced === 0;
    default:
      return false;
  }
}

const enforcing = new Set(['Sigkill', 'Signal', 'Override', 'NotifyEnforcer', 'CleanupEnforcerNotification']);

interface Told {
  readonly events: number;
  readonly others: number;
}

/** What is wrong with a cell, undefined where it is as it should be. */
function judge(
  cell: Cell,
  yes: Outcome,
  no: Outcome,
  told: { readonly yes: Told; readonly no: Told },
): string | undefined {
  const { action, operator } = cell;
  if (Number.isNaN(yes.result) || Number.isNaN(no.result)) return 'a deed was not done';
  // What a selector of a cell tells of goes by the selector that comes behind it where the cell tells of nothing.
  const tells = action !== 'NoPost';
  if (tells && told.yes.events === 0) return 'no event of who does it';
  if (!tells && told.yes.events + told.yes.others > 0) return 'an event of what is not to be told';
  if (told.no.events > 0) return 'an event of who does something else';
  // Without a condition another cell's process is the other one.
  if (!tells && operator !== noOperator && told.no.others === 0)
    return 'no event of who does something else, which the next selector tells';
  if (!enforcing.has(action)) return undefined;
  if (!wasDone(cell, yes)) return `not done: ${JSON.stringify(yes)}`;
  if (wasDone(cell, no)) return `done to who does something else: ${JSON.stringify(no)}`;
  return undefined;
}

/** Cells of one hook that are one policy. */
interface Group {
  readonly name: string;
  readonly carrier: Carrier;
  readonly types: readonly string[];
  readonly cells: readonly Cell[];
}

/**
 * How many types of one argument a policy reads beside the number of its cell: the whole of four numbers is 448
 * selectors, of the 512 that a policy may have on a hook.
 */
const typesMax = 4;

function groupsOf(which: Run): Group[] {
  return carriers.flatMap((carrier) => {
    const { kind } = carrier;
    const tried = carrier.types.filter((type) => cellsOf(carrier, type, which).length > 0);
    const atOnce = carrier.mark === 'number' && kind !== 'return' ? typesMax : 1;
    const chunks = Array.from({ length: Math.ceil(tried.length / atOnce) }, (_, n) =>
      tried.slice(n * atOnce, (n + 1) * atOnce),
    );
    return chunks.map((ofPolicy): Group => {
      const cells = ofPolicy.flatMap((type, position) =>
        cellsOf(carrier, type, which).map(
          (cell): Cell => ({
            ...cell,
            carrier,
            type,
            number: 0,
            ...(ofPolicy.length > 1 ? { position } : {}),
          }),
        ),
      );
      return { name: `${kind} ${ofPolicy.join(' ')}`, carrier, types: ofPolicy, cells };
    });
  });
}

/** What one hook takes of all policies together. */
const batchSelectors = 500;
const batchReadings = 8;

function readingsOf({ carrier, types: ofPolicy }: Group): string[] {
  const place = carrier.kind === 'return' ? 'returned' : carrier.index;
  const read = ofPolicy.map((type) => `${place} ${type}`);
  return [...read, ...(carrier.others ?? []).map(({ index, type }) => `${index} ${type}`)];
}

/** Puts the policies of one hook together, as the loading of its program takes longest, and numbers their cells. */
function batchesOf(groups: readonly Group[]): Group[][] {
  const batches: { readonly hook: string; readonly groups: Group[] }[] = [];
  for (const group of groups) {
    const { kind, hook } = group.carrier;
    // A kprobe and an fentry on a function share its program.
    const key = `${kind === 'fentry' ? 'function' : kind} ${hook}`;
    const fits = (others: readonly Group[]) => {
      const all = [...others, group];
      const selectors = all.flatMap(({ cells }) => cells.map(({ action }) => (action === 'NoPost' ? 2 : 1)));
      return (
        new Set(all.flatMap(readingsOf)).size <= batchReadings &&
        selectors.reduce((sum: number, count) => sum + count, 0) <= batchSelectors
      );
    };
    const found = batches.find((batch) => batch.hook === key && fits(batch.groups));
    if (found === undefined) batches.push({ hook: key, groups: [group] });
    else found.groups.push(group);
  }
  return batches.map(({ groups: all }) => {
    let number = firstCell;
    return all.map((group, policy) => ({
      ...group,
      cells: group.cells.map((cell) => ({ ...cell, number: number++, policy })),
    }));
  });
}

/** A policy, and which cell each of its selectors is of: its own, or the one behind it. */
interface Planned {
  readonly name: string;
  readonly policy: Policy;
  readonly bySelector: readonly (readonly [cell: Cell, isOwn: boolean])[];
}

function planned({ name, carrier, types: ofPolicy, cells }: Group, folder: string): Planned {
  const bySelector: (readonly [cell: Cell, isOwn: boolean])[] = [];
  const selectors = cells.flatMap((cell) => {
    const made = selectorsOf(cell, folder);
    made.forEach((_, at) => {
      bySelector.push([cell, cell.action !== 'NoPost' || at < made.length - 1]);
    });
    return made;
  });
  const policyName = name.replace(/[^a-z0-9]+/g, '-');
  const withEnforcers = cells.some(({ action }) => notifies(action));
  const document = policyOfCells(policyName, carrier, ofPolicy, selectors, withEnforcers, cells[0]?.policy);
  return { name: policyName, policy: policyOfDocument(document), bySelector };
}

function countByCell(events: readonly HookEvent[], policies: readonly Planned[]): Map<Cell, Told> {
  const counts = new Map<Cell, Told>();
  const byName = new Map(policies.map(({ name, bySelector }) => [name, bySelector]));
  for (const { policy, symbol, selector } of events) {
    if (symbol === askedBy) continue;
    const [cell, isOwn] = byName.get(policy)?.[selector] ?? [];
    if (cell === undefined) continue;
    const { events: own, others } = counts.get(cell) ?? nothingTold;
    counts.set(cell, isOwn === true ? { events: own + 1, others } : { events: own, others: others + 1 });
  }
  return counts;
}

const nothingTold: Told = { events: 0, others: 0 };

async function tryBatch(
  { run, log }: ScenarioContext,
  hooks: Hooks,
  batch: readonly Group[],
  folder: string,
): Promise<string[]> {
  const name = batch.map((group) => group.name).join(', ');
  const cells = batch.flatMap((group) => group.cells);
  const startMs = performance.now();
  const policies = batch.map((group) => planned(group, folder));
  const outcomes = await hooks.set.apply(policies.map(({ policy }) => policy));
  for (const { state, reason } of outcomes) assert.equal(state, 'loaded', reason);
  const appliedMs = performance.now() - startMs;
  hooks.events();
  const results: { readonly lines: readonly Outcome[]; readonly told: Map<Cell, Told> }[] = [];
  for (const which of [0, 1] as const) {
    const input = `${cells.map((cell) => deedsOf(cell, folder)[which]).join('\n')}\n`;
    const made = await run(program, [], { input, timeoutMs: 60_000 });
    assert.equal(made.code, 0, made.stderr);
    const lines = made.stdout.trim().split('\n').map(outcomeOf);
    assert.equal(lines.length, cells.length, `${lines.length} answers to ${cells.length} deeds`);
    results.push({ lines, told: countByCell(hooks.events(), policies) });
  }
  const doneMs = performance.now() - startMs - appliedMs;
  log(
    `${name}: ${cells.length} cells, applied in ${appliedMs.toFixed(0)} ms, tried in ${doneMs.toFixed(0)} ms`,
  );
  const [meant, others] = results;
  return cells.flatMap((cell, at) => {
    const [yes, no] = [meant?.lines[at], others?.lines[at]];
    assert.ok(yes !== undefined && no !== undefined);
    const told = { yes: meant?.told.get(cell) ?? nothingTold, no: others?.told.get(cell) ?? nothingTold };
    const wrong = judge(cell, yes, no, told);
    const what = cell.operator === noOperator ? '(none)' : cell.operator;
    return wrong === undefined
      ? []
      : [`${cell.carrier.kind} ${cell.type}, ${what}, ${cell.action}: ${wrong}`];
  });
}

/**
 * Tries the cells of a run on this kernel.
 * @throws where one is not as it should be, naming each.
 */
export async function tryCells(context: ScenarioContext, which: Run): Promise<void> {
  const { run, log } = context;
  // Names of kernel objects are short, and those of paths begin with the folder.
  const folder = '/cells';
  mkdirSync(folder);
  mkdirSync('/mnt', { recursive: true });
  for (const command of [
    'ip link set lo up',
    'modprobe dummy numdummies=0',
    'ip link add weir0 type dummy',
  ]) {
    const made = await run('sh', ['-c', command]);
    assert.equal(made.code, 0, `${command}: ${made.stderr}`);
  }
  const batches = batchesOf(groupsOf(which));
  const counts = batches.map((batch) => batch.reduce((sum, { cells }) => sum + cells.length, 0));
  copyFileSync(program, join(folder, 'program'));
  for (let number = firstCell - 1; number < firstCell + Math.max(...counts); number++)
    linkSync(join(folder, 'program'), linkOf(folder, number));
  await withHooks(async (hooks) => {
    const wrong: string[] = [];
    for (const batch of batches) {
      const found = await tryBatch(context, hooks, batch, folder).catch((error: unknown) => [
        `${batch.map(({ name }) => name).join(', ')}: ${error instanceof Error ? error.message : String(error)}`,
      ]);
      wrong.push(...found);
    }
    log(`${counts.reduce((sum, count) => sum + count, 0)} cells, ${batches.length} sets of policies`);
    for (const line of wrong.slice(0, 400)) log(`WRONG ${line}`);
    assert.equal(
      wrong.length,
      0,
      `${wrong.length} cells are not as they should be:\n${wrong.slice(0, 20).join('\n')}`,
    );
  });
}
