// SPDX-License-Identifier: Apache-2.0
// Tries whether a system call is kept from taking effect: made by a process that no policy is about it leaves its
// effect, killed at its entry it leaves none, overridden it returns the errno and the caller goes on.

import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lsmPathOf, syscallNumber } from '@weir/policy';
import type { ScenarioContext } from '../scenario.js';
import { type Hooks, policyOf, withHooks } from './hooks.js';

/** A system call: its name and its arguments as test/vm/programs/syscalls.c takes them. */
export type Line = readonly [name: string, ...args: (string | number)[]];

export interface Case {
  /** The system call that is tried. */
  readonly call: string;
  /** Tells cases of the same call apart. */
  readonly variant?: string;
  /** What it is made with; the last line is the call itself. `$n` is the result of line n. */
  readonly lines: readonly Line[];
  /** Whether the call's effect is there. Without it, what the call returned tells. */
  readonly effect?: () => boolean;
  /** Makes the effect undone, before each try. */
  readonly reset?: () => void | Promise<void>;
  /** A further call of the same thread, which crosses the same function and has to work. */
  readonly next?: Line;
  /** The further call leaves the same effect: what the overridden call returned tells alone. */
  readonly nextActs?: true;
  /** Tells the call from those that the program makes by itself: an argument of it, and its value. */
  readonly only?: readonly [index: number, value: number];
  /** The errno to override with. */
  readonly error?: number;
  readonly kernels?: readonly string[];
  /** The call does not return where it takes effect. */
  readonly replaces?: true;
}

const tracing = '/sys/kernel/tracing';

/** What system calls of a process returned, as the kernel's own tracer saw it: of the killed nobody else can say. */
function returnsOf(pid: number, number: number): bigint[] {
  return [
    ...readFileSync(join(tracing, 'trace'), 'latin1').matchAll(/-(\d+)\s.*sys_exit: NR (\d+) = (-?\d+)/g),
  ]
    .filter(([, ofPid, ofNumber]) => Number(ofPid) === pid && Number(ofNumber) === number)
    .map(([, , , value]) => BigInt(value ?? 0));
}

function numberOf(name: string): number {
  const number = syscallNumber(name);
  if (number === undefined) throw new Error(`${name} has no number`);
  return number;
}

function textOf(lines: readonly Line[]): string {
  return lines.map(([name, ...args]) => `${[numberOf(name), ...args].join('\t')}\n`).join('');
}

function nameOf({ call, variant }: Case): string {
  return variant === undefined ? call : `${call}-${variant}`;
}

/** Tries all cases; throws with what went wrong in any. */
export async function tryCases(ctx: ScenarioContext, all: readonly Case[]): Promise<void> {
  const { folder, run, log } = ctx;
  const cases = all.filter(({ kernels }) => kernels === undefined || kernels.includes(ctx.kernel));
  await run('sh', ['-c', `mountpoint -q ${tracing} || mount -t tracefs tracefs ${tracing}`]);
  // Of each program the call that is tried, and of no other process any: this one reads and writes, too.
  const filter = cases
    .map((one) => `id == ${numberOf(one.call)} && comm == "${nameOf(one).slice(0, 15)}"`)
    .join(' || ');
  writeFileSync(join(tracing, 'events/raw_syscalls/sys_exit/filter'), filter);
  writeFileSync(join(tracing, 'events/raw_syscalls/sys_exit/enable'), '1');
  const binaries = join(folder, 'binaries');
  mkdirSync(binaries);
  const outsider = join(folder, 'outsider');
  writeFileSync(outsider, readFileSync('/weir/bin/syscalls'), { mode: 0o755 });
  for (const one of cases) linkSync(outsider, join(binaries, nameOf(one)));
  const problems: string[] = [];

  const make = async (one: Case, binary: string, lines: readonly Line[]) => {
    await one.reset?.();
    const result = await run(binary, [join(folder, 'trace')], { input: textOf(lines) });
    return { ...result, results: result.stdout.split('\n').slice(0, -1).map(Number) };
  };
  const attempt = async (one: Case, what: string, body: () => Promise<void>) => {
    try {
      await body();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      problems.push(`${nameOf(one)}, ${what}: ${text}`);
    }
  };
  const position = (one: Case) => one.lines.length - 1;
  const works = async (one: Case, binary: string) => {
    const { results, stderr, code } = await make(one, binary, one.lines);
    if (one.replaces !== true) {
      assert.equal(results.length, one.lines.length, `results ${results}, code ${code} ${stderr}`);
      assert.ok((results[position(one)] ?? -1) >= 0, `it returned ${results}`);
    }
    assert.ok(one.effect?.() ?? true, 'the effect is not there');
  };
  const policies = (actions: (one: Case) => readonly object[]) =>
    cases.map((one) =>
      policyOf(
        `on-${nameOf(one)}`.replaceAll('_', '-').toLowerCase(),
        `sys_${one.call}`,
        Array.from({ length: one.only === undefined ? 0 : one.only[0] + 1 }, () => 'uint64'),
        [
          {
            matchBinaries: [{ operator: 'In', values: [join(binaries, nameOf(one))] }],
            ...(one.only === undefined
              ? {}
              : { matchArgs: [{ index: one.only[0], operator: 'Equal', values: [String(one.only[1])] }] }),
            matchActions: actions(one),
          },
        ],
      ),
    );
  const errorOf = (one: Case) => one.error ?? lsmPathOf(one.call)?.onlyError ?? -13;

  const report = (hooks: Hooks, what: string) => {
    log(
      `${what}: ${hooks.set
        .hooks()
        .map(({ symbol, program }) => `${symbol} through ${program.deniedThrough}`)
        .join('; ')}`,
    );
  };

  await withHooks(async (hooks) => {
    for (const one of cases)
      await attempt(one, 'without a policy', () => works(one, join(binaries, nameOf(one))));

    const outcomes = await hooks.apply(...policies(() => [{ action: 'Sigkill' }]));
    for (const { name, unprevented } of outcomes) {
      if (unprevented.length > 0) problems.push(`${name}: ${unprevented}`);
    }
    report(hooks, 'killed');
    for (const one of cases) {
      await attempt(one, 'killed', async () => {
        const { pid, signal, results } = await make(one, join(binaries, nameOf(one)), one.lines);
        assert.equal(signal, 'SIGKILL', `results ${results}`);
        assert.equal(one.effect?.() ?? false, false, 'the call took effect');
        const returned = returnsOf(pid, numberOf(one.call));
        assert.ok(returned.length > 0 && (returned.at(-1) ?? 0n) < 0n, `the call returned ${returned}`);
      });
      await attempt(one, 'another process, killing', () => works(one, outsider));
    }

    await hooks.apply(...policies((one) => [{ action: 'Override', argError: errorOf(one) }]));
    report(hooks, 'overridden');
    for (const one of cases) {
      await attempt(one, 'overridden', async () => {
        const next = one.next ?? (['getppid'] as const);
        const { results, code } = await make(one, join(binaries, nameOf(one)), [...one.lines, next]);
        assert.equal(results[position(one)], errorOf(one), `results ${results}`);
        assert.equal(code, 0);
        if (one.nextActs !== true) assert.equal(one.effect?.() ?? false, false, 'the call took effect');
        assert.ok((results.at(-1) ?? -1) >= 0, `the next call returned ${results.at(-1)}`);
      });
    }

    await hooks.apply();

    const failed = hooks.counter('enforceFailed');
    if (failed > 0n) problems.push(`${failed} calls were not denied, or not killed`);
  });
  writeFileSync(join(tracing, 'events/raw_syscalls/sys_exit/enable'), '0');
  for (const one of cases)
    if (!problems.some((problem) => problem.startsWith(`${nameOf(one)},`))) log(`proven: ${nameOf(one)}`);
  assert.deepEqual(problems, []);
}
