// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- hook`: what a hook costs. On this machine, at a system call's entry (tracepoint-type programs load
// on any kernel): nanoseconds a run by the kernel's own statistics, less those of an empty program on the same hook in
// the same rounds, and how long hooks take to load. In the guests, on a function: multiples of an empty program, and
// kernel memory, by kernel; `--no-guests` leaves them out, and why they cannot be had is said in `guestsSkipped`.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { whyNothingLoads } from '@weir/native';
import { syscallNames, syscallNumber } from '@weir/policy';
import { measureHookCosts, median, mixedSelectors } from '../vm/dist/guest/hook-costs.js';
import { policyWith, withHooks } from '../vm/dist/guest/hooks.js';
import { cacheFolder } from '../vm/dist/places.js';

const tiny = process.argv.includes('--tiny');
const folder = dirname(fileURLToPath(import.meta.url));
const count = tiny ? 500 : 15_000;
const rounds = tiny ? 2 : 9;
const loads = tiny ? 1 : 5;

const why = existsSync(join(folder, '../../bpf/build/hook.bpf.o'))
  ? whyNothingLoads()
  : 'bpf/build is not built: run npm run build';
if (why !== undefined) {
  console.log(JSON.stringify({ bench: 'hook', skipped: why }));
  process.exit(0);
}

const rounded = (value, digits = 0) => Number(value.toFixed(digits));
const scratch = mkdtempSync(join(tmpdir(), 'weir-bench-'));
const load = join(scratch, 'opens');
execFileSync('gcc', ['-O2', '-Wall', '-static', '-o', load, join(folder, '../vm/programs/opens.c')]);

const result = { bench: 'hook' };
const none = [{ matchBinaries: [{ operator: 'In', values: ['/nowhere/bin'] }] }];
/** A policy with a hook on each of these system calls, whose programs all run at the entry of every call. */
const onCalls = (name, calls) =>
  policyWith(name, {
    kprobes: calls.map((call) => ({
      call,
      syscall: true,
      args: [{ index: 0, type: 'int' }],
      selectors: none,
    })),
  });
const rare = [
  'acct',
  'quotactl',
  'swapon',
  'swapoff',
  'sethostname',
  'setdomainname',
  'iopl',
  'ioperm',
  'vhangup',
];

/** Calls of one list, some of which no kernel has any more. */
const listed = [...syscallNames].filter((name) => syscallNumber(name) !== undefined).slice(0, 300);

await withHooks(async (hooks) => {
  const costs = await measureHookCosts(hooks, {
    call: 'sys_openat',
    args: ['int', 'string', 'int'],
    cases: {
      scope: none,
      integer: [{ matchArgs: [{ index: 2, operator: 'Equal', values: ['12345'] }] }],
      post: [{ matchArgs: [{ index: 2, operator: 'Equal', values: ['0'] }] }],
      policies1: [mixedSelectors(28, 1, 2)],
      policies100: mixedSelectors(100, 1, 2),
    },
    load,
    path: join(scratch, 'not-there'),
    count,
    rounds,
  });
  const { emptyNs, ns } = costs;
  result.nativeNsEmpty = rounded(emptyNs);
  result.nativeNsScope = rounded(ns.scope - emptyNs);
  result.nativeNsInteger = rounded(ns.integer - emptyNs);
  result.nativeNsPost = rounded(ns.post - emptyNs);
  result.ratio100Policies = rounded((ns.policies100 - emptyNs) / (ns.policies1 - emptyNs), 3);
  result.posted = costs.events.post;
  result.calls = count * rounds;

  const first = onCalls('first', ['sys_personality']);
  const took = [];
  for (let round = 0; round < loads; round++) {
    await hooks.apply(first);
    const startMs = performance.now();
    await hooks.apply(first, onCalls('ten', [...rare.map((name) => `sys_${name}`), 'sys_settimeofday']));
    took.push(performance.now() - startMs);
  }
  result.loadMs10Hooks = rounded(median(took), 1);

  const list = policyWith('list', {
    lists: [{ name: 'many', type: 'syscalls', values: listed.map((call) => `sys_${call}`) }],
    kprobes: [
      {
        call: 'list:many',
        syscall: true,
        args: [{ index: 0, type: 'int' }],
        selectors: none,
        ignore: { callNotFound: true },
      },
    ],
  });
  const tookList = [];
  for (let round = 0; round < loads; round++) {
    await hooks.apply(first);
    const startMs = performance.now();
    await hooks.apply(first, list);
    tookList.push(performance.now() - startMs);
  }
  result.loadMs300Syscalls = rounded(median(tookList), 1);
});
rmSync(scratch, { recursive: true });

const kernels = ['6.1', '6.12'];
const guests = process.argv.includes('--no-guests')
  ? undefined
  : spawnSync(process.execPath, [join(folder, '../vm/run.mjs'), '--scenario', 'bench-hook'], {
      encoding: 'utf8',
    });
if (guests?.status === 0) {
  for (const kernel of kernels) {
    const file = join(cacheFolder(), 'results', kernel, 'measures-what-hooks-cost', 'bench-hook.json');
    for (const [name, value] of Object.entries(JSON.parse(readFileSync(file, 'utf8'))))
      result[`${name}_${kernel.replace('.', '_')}`] = rounded(value, 2);
  }
} else {
  result.guestsSkipped =
    guests === undefined
      ? '--no-guests'
      : (guests.stderr + guests.stdout).trim().split('\n').slice(-3).join(' | ');
}
console.log(JSON.stringify(result));
