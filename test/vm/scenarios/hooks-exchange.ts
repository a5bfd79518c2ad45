// SPDX-License-Identifier: Apache-2.0
// Programs of a hook are exchanged while another processor calls the hooked function without end: each call is judged by
// one of them, never by two and never by none, so that what all of them deny is never let through. A program that takes its
// time runs between a function's entry and its check, so that most exchanges meet a call just there. The same of a function
// of a program, and of a raw tracepoint, where nothing is denied.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cloneProgram, openObject } from '@weir/native';
import { type Hooks, policyOf, policyWith, withHooks } from '../guest/hooks.js';
import { bpfObjectPath } from '../guest/process-sensor.js';
import { type ScenarioContext, scenario } from '../scenario.js';

/** Calls whose events may be unread: enough to go on through an exchange, and far less than the ring holds. */
const outstandingMax = 800;
/** Of the slow program: about a millisecond in an emulated guest. */
const turns = 20_000;
/** Of each try; of the one that goes to and fro twice as many. */
const exchanges = 3;
/** What the program calls itself before each. */
const opener = 'opener';

interface Outcome {
  readonly opened: number;
  readonly denied: number;
  /** Events of calls that were let through, and of those that were not. */
  readonly observed: number;
  readonly overridden: number;
}

/** Applies the versions of a policy in turn while a program opens a file. */
async function exchange(
  hooks: Hooks,
  file: string,
  versions: readonly string[],
  turnsMax: number,
  waitFor: ScenarioContext['waitFor'],
): Promise<Outcome> {
  await hooks.apply();
  const loop = spawn('openloop', [file, '100', 'any', opener], { stdio: ['pipe', 'pipe', 'inherit'] });
  const object = openObject({ path: bpfObjectPath('test/slow.bpf.o'), templates: ['slow_function'] }).load();
  const slow = cloneProgram(object.program('slow_function'), {
    rodata: {
      slowed_pid: new Uint8Array(Uint32Array.of(loop.pid ?? 0).buffer),
      turns: new Uint8Array(Uint32Array.of(turns).buffer),
    },
  });
  const link = slow.attach();
  try {
    await hooks.apply(versions[0] ?? '');
    const lines = createInterface({ input: loop.stdout })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, 'ready');
    let [observed, overridden, granted] = [0, 0, 0];
    const count = () => {
      for (const event of hooks.events()) {
        if (event.pid !== loop.pid || ![file, opener].includes(event.args[0]?.text ?? '')) continue;
        if (event.error === 0) observed++;
        else overridden++;
      }
    };
    for (let turn = 1; turn <= turnsMax; turn++) {
      const grants = Math.floor((outstandingMax - (granted - observed - overridden)) / 100);
      loop.stdin.write('.'.repeat(grants));
      granted += 100 * grants;
      await hooks.apply(versions[turn % versions.length] ?? '');
      count();
    }
    await waitFor('an event', () => {
      count();
      return observed + overridden > 0;
    });
    loop.stdin.end();
    const [opened = 0, denied = 0] = String((await lines.next()).value)
      .split(' ')
      .map(Number);
    await once(loop, 'close');
    count();
    assert.equal(hooks.counter('ringFull'), 0n);
    return { opened, denied, observed, overridden };
  } finally {
    loop.kill();
    link.close();
    slow.close();
    object.close();
  }
}

/** Of the tries those that deny every call. */
const denies: ReadonlySet<string> = new Set(['at the check', 'as a security module']);

export default scenario(
  'each call is judged by one of two programs that are exchanged',
  { variants: ['two-processors'], timeoutMs: 240_000 },
  async ({ folder, log, waitFor }) => {
    const file = join(folder, 'watched');
    writeFileSync(file, '');
    const is = (operator: string, value: string, ...matchActions: object[]) => ({
      matchArgs: [{ index: 0, operator, values: [value] }],
      matchActions,
    });
    const deny = { action: 'Override', argError: -1 };
    const byKprobe = (...selectors: object[]) =>
      policyOf('exchanged', 'security_file_open', ['file'], selectors);
    const byLsm = (...selectors: object[]) =>
      policyWith('exchanged', {
        lsmhooks: [{ hook: 'file_open', args: [{ index: 0, type: 'file' }], selectors }],
      });
    const byProgram = (selector: object) =>
      policyWith('exchanged', {
        uprobes: [
          {
            path: '/weir/bin/openloop',
            symbols: ['about_to_open'],
            args: [{ index: 0, type: 'string' }],
            selectors: [selector],
          },
        ],
      });
    const byRawTracepoint = (selector: object) =>
      policyWith('exchanged', {
        tracepoints: [
          {
            subsystem: 'task',
            event: 'task_rename',
            raw: true,
            args: [{ index: 1, type: 'string' }],
            selectors: [selector],
          },
        ],
      });
    await withHooks(async (hooks) => {
      const tries: Record<string, readonly string[]> = {
        'at the entry': [byKprobe(is('Equal', file)), byKprobe(is('Postfix', '/watched'))],
        'at the check': [byKprobe(is('Equal', file, deny)), byKprobe(is('Postfix', '/watched', deny))],
        "at a program's function": [byProgram(is('Equal', file)), byProgram(is('Postfix', '/watched'))],
        'at a raw tracepoint': [byRawTracepoint(is('Equal', opener)), byRawTracepoint(is('Prefix', 'open'))],
        'as a security module': [byLsm(is('Equal', file, deny)), byLsm(is('Postfix', '/watched', deny))],
        'from the entry to the check and back': [
          byKprobe(is('Equal', file)),
          byKprobe(is('Equal', file, deny)),
        ],
      };
      for (const [name, versions] of Object.entries(tries)) {
        const isToAndFro = name.startsWith('from');
        const startMs = performance.now();
        const found = await exchange(hooks, file, versions, isToAndFro ? 2 * exchanges : exchanges, waitFor);
        log(`${name}: ${JSON.stringify(found)}, ${(performance.now() - startMs).toFixed(0)} ms`);
        assert.deepEqual([found.observed, found.overridden], [found.opened, found.denied], name);
        if (denies.has(name)) assert.equal(found.opened, 0, name);
        else if (!isToAndFro) assert.equal(found.denied, 0, name);
      }
    });
  },
);
