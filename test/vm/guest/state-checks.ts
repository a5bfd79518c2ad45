// SPDX-License-Identifier: Apache-2.0
// What bpf/process.h keeps of a process for the hooks: after an exec, after a fork, and of one that was there before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { openObject } from '@weir/native';
import type { CheckContext } from './process-checks.js';
import { bpfObjectPath } from './process-sensor.js';

/** The state's flags on the binary, and of these the one that is set where it could be read. */
const ownFlags = 7;
const ready = 1;

interface State {
  readonly pid: number;
  readonly execNs: bigint;
  readonly flags: number;
  readonly binary: string;
  readonly reversed: string;
}

/** A program that is asked for states by the tests' programs; it shares the states of the context's sensor. */
class StateProbe {
  readonly #object;
  readonly #link;

  constructor(context: CheckContext) {
    this.#object = openObject({
      path: bpfObjectPath('test/states.bpf.o'),
      reuseMaps: context.sensor.sharedMaps(),
    }).load();
    const program = this.#object.program('states_asked');
    this.#link = program.attach();
    program.close();
  }

  states(): State[] {
    const control = this.#object.map('control');
    const results = this.#object.map('results');
    const key = (number: number): Uint8Array => new Uint8Array(Uint32Array.of(number).buffer);
    const count = Buffer.alloc(8);
    control.lookup(key(0), count);
    const states = Array.from({ length: count.readUInt32LE() }, (_, index) => {
      const value = Buffer.alloc(results.valueBytes);
      assert.ok(results.lookup(key(index), value), `result ${index} had no room`);
      assert.equal(value.readUInt32LE(4), 1, 'there is a state');
      const length = Math.min(256, value.readUInt32LE(16));
      return {
        pid: value.readUInt32LE(0),
        execNs: value.readBigUInt64LE(8),
        flags: value.readUInt32LE(20),
        binary: value.toString('latin1', 24, 24 + length),
        reversed: value.toString('latin1', 280, 280 + length),
      };
    });
    control.close();
    results.close();
    return states;
  }

  close(): void {
    this.#link.close();
    this.#object.close();
  }
}

function reverse(text: string): string {
  return [...text].reverse().join('');
}

export async function checkStates(context: CheckContext): Promise<void> {
  const { sensor, folder, program } = context;
  const probe = new StateProbe(context);
  const copy = (name: string): string => {
    const path = join(folder, name);
    copyFileSync(program, path);
    chmodSync(path, 0o755);
    return path;
  };
  const last = (): State => {
    const state = probe.states().at(-1);
    assert.ok(state !== undefined);
    assert.equal(state.flags & ownFlags, ready);
    assert.equal(state.reversed, reverse(state.binary));
    return state;
  };
  const timeOf = (kind: 'exec' | 'clone', pid: number): bigint | undefined => {
    const found = sensor.records().findLast((event) => event.kind === kind && event.record.pid === pid);
    return kind === 'exec' ? found?.record.timeNs : found?.record.startNs;
  };

  try {
    const executed = await context.run(program, ['ask']);
    assert.equal(last().pid, executed.pid);
    assert.equal(last().binary, program);
    assert.equal(last().execNs, timeOf('exec', executed.pid));

    const threaded = await context.run(program, ['ask-thread']);
    assert.equal(last().pid, threaded.pid);
    assert.equal(last().binary, program, "of a thread, the leader's, though that has ended");

    // The name that a binary had when it was executed stays, for the children too.
    const moved = copy('moved');
    const parent = await context.run(moved, ['ask-child', moved]);
    assert.notEqual(last().pid, parent.pid);
    assert.equal(last().binary, moved);
    assert.equal(last().execNs, timeOf('clone', last().pid));

    // What was there before the programs: without them, nothing is written at its exec.
    for (const isDeleted of [false, true]) {
      const path = copy(`before-${isDeleted}`);
      sensor.detach();
      const child = spawn(path, ['ask-later'], { stdio: ['pipe', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      if (isDeleted) unlinkSync(path);
      sensor.attach();
      child.stdin.end();
      await once(child, 'close');
      assert.equal(last().pid, child.pid);
      assert.equal(last().binary, path, 'without " (deleted)"');
      assert.ok(last().execNs > 0n);
    }
    assert.equal(probe.states().length, 5);
  } finally {
    probe.close();
  }
}
