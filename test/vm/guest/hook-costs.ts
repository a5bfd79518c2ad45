// SPDX-License-Identifier: Apache-2.0
// Measures what hooks cost, by the kernel's own statistics of programs: on the host at a system call's entry, in the
// guest at a function. An empty program on the same hook is measured in the same rounds.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { enableProgramStats, openObject } from '@weir/native';
import { type Hooks, policyOf } from './hooks.js';
import { bpfObjectPath } from './process-sensor.js';

export interface HookCostOptions {
  /** The call as policies name it: `sys_openat` or `security_file_open`. */
  readonly call: string;
  /** Types of its arguments. */
  readonly args: readonly string[];
  /** Selectors by what they measure; none may match but in `post`. */
  readonly cases: Readonly<Record<string, readonly object[]>>;
  /** Program that hits the hook: `count` times by its first argument, with this path. */
  readonly load: string;
  readonly path: string;
  readonly count: number;
  readonly rounds: number;
}

/** Nanoseconds a run; of each case and of an empty program beside it, medians of the rounds. */
export interface HookCosts {
  readonly emptyNs: number;
  readonly ns: Readonly<Record<string, number>>;
  /** Hits of the load that made an event, by case. */
  readonly events: Readonly<Record<string, number>>;
}

interface Counted {
  readonly runCount: bigint;
  readonly runTimeNs: bigint;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function perRun(before: Counted, after: Counted): number {
  return Number(after.runTimeNs - before.runTimeNs) / Number(after.runCount - before.runCount);
}

function hit({ load, path, count }: HookCostOptions): number {
  const { status, stdout, stderr, pid } = spawnSync(load, [String(count), path], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${load} ended with ${status}: ${stderr}`);
  if (Number(stdout) !== count) throw new Error(`${load} made ${stdout} of ${count} calls`);
  return pid;
}

export async function measureHookCosts(hooks: Hooks, options: HookCostOptions): Promise<HookCosts> {
  const { call, args, cases, rounds } = options;
  const object = openObject({
    path: bpfObjectPath('test/empty.bpf.o'),
    autoload: [call.startsWith('sys_') ? 'empty_system_call' : 'empty_function'],
  }).load();
  const empty = object.program(call.startsWith('sys_') ? 'empty_system_call' : 'empty_function');
  const link = empty.attach();
  const stats = enableProgramStats();
  const emptyNs: number[] = [];
  const ns: Record<string, number[]> = {};
  const events: Record<string, number> = {};
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [name, selectors] of Object.entries(cases)) {
        await hooks.apply(...policiesOf(name, call, args, selectors));
        const facts = () => {
          const program = hooks.set.hooks()[0]?.program;
          if (program === undefined) throw new Error(`${call} has no program`);
          return program;
        };
        const before = facts();
        const emptyBefore = empty.stats();
        const pid = hit(options);
        const after = facts();
        emptyNs.push(perRun(emptyBefore, empty.stats()));
        ns[name] = [...(ns[name] ?? []), perRun(before, after)];
        events[name] = hooks.events().filter((event) => event.pid === pid).length;
      }
    }
  } finally {
    stats.close();
    link.close();
    empty.close();
    object.close();
    await hooks.apply();
  }
  return {
    emptyNs: median(emptyNs),
    ns: Object.fromEntries(Object.entries(ns).map(([name, values]) => [name, median(values)])),
    events,
  };
}

/** One policy of the selectors, or one for each of them where the name says so. */
function policiesOf(
  name: string,
  call: string,
  args: readonly string[],
  selectors: readonly object[],
): string[] {
  if (!name.startsWith('policies')) return [policyOf(name, call, args, selectors)];
  return selectors.map((selector, index) => policyOf(`${name}-${index}`, call, args, [selector].flat()));
}

/** Selectors that use every operator of text and numbers and match nothing that a load does, `count` of them. */
export function mixedSelectors(count: number, text: number, number: number | undefined): object[] {
  const terms = [
    (n: number) => ({ index: text, operator: 'Equal', values: [`/nowhere/${n}`] }),
    (n: number) => ({ index: text, operator: 'Prefix', values: [`/nowhere/${n}/`, `/none/${n}/`] }),
    (n: number) => ({ index: text, operator: 'Postfix', values: [`.${n}.secret`] }),
    ...(number === undefined
      ? []
      : [
          (n: number) => ({ index: number, operator: 'Equal', values: [String(1000 + n)] }),
          (n: number) => ({ index: number, operator: 'GT', values: [String(100_000 + n)] }),
          (n: number) => ({ index: number, operator: 'InRange', values: [`${2000 + n}:${3000 + n}`] }),
          () => ({ index: number, operator: 'Mask', values: ['0x40000000'] }),
        ]),
  ];
  const scopes = [
    {},
    { matchBinaries: [{ operator: 'In', values: ['/nowhere/bin'] }] },
    { matchBinaries: [{ operator: 'NotIn', values: ['/nowhere/bin'] }] },
    { matchNamespaces: [{ namespace: 'Pid', operator: 'In', values: ['host_ns'] }] },
  ];
  return Array.from({ length: count }, (_, n) => {
    const term = terms[n % terms.length]?.(n);
    return { ...scopes[Math.floor(n / terms.length) % scopes.length], matchArgs: [term] };
  });
}

/**
 * What programs take of the kernel's memory, in KiB: its slabs, the instructions that it keeps of each function (in
 * areas with a guard page that is no memory), and their machine code (`jitedBytes`), which it takes from pages that many
 * programs share.
 */
export function programMemoryKiB(jitedBytes: number): number {
  const slabs = Number(/^SUnreclaim:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0);
  const areas = readFileSync('/proc/vmallocinfo', 'latin1')
    .split('\n')
    .filter((line) => / bpf_prog_alloc/.test(line))
    .reduce((sum, line) => sum + Number(/^\S+\s+(\d+)/.exec(line)?.[1] ?? 0) - 4096, 0);
  return slabs + (areas + jitedBytes) / 1024;
}
