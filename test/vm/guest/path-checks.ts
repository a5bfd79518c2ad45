// SPDX-License-Identifier: Apache-2.0
// Compares the text that bpf/path.h makes of open files with what the kernel itself shows in /proc/PID/fd, for files
// of every kind (programs/paths.c), on the host and in the guest.

import assert from 'node:assert/strict';
import { type BpfMap, type BpfProgram, openObject } from '@weir/native';
import { limits } from '@weir/schema';
import type { ScenarioContext } from '../scenario.js';
import { bpfObjectPath } from './process-sensor.js';

/** path_flag of bpf/path.h. */
const pathFlag = { truncated: 1, unreadable: 2, deleted: 4, memfd: 8, pseudo: 16, detached: 32 } as const;

const stateTextBytes = 256;

interface PathResult {
  readonly flags: number;
  readonly text: string;
  readonly forward: string;
  readonly reverse: string;
}

function key(number: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(number).buffer);
}

/** One of the programs of bpf/test/paths.bpf.c, attached. */
export class PathProbe {
  readonly #results: BpfMap;
  readonly #control: BpfMap;
  readonly #close: (() => void)[] = [];

  constructor(program: string) {
    const object = openObject({ path: bpfObjectPath('test/paths.bpf.o'), autoload: [program] }).load();
    this.#results = object.map('results');
    this.#control = object.map('control');
    const loaded: BpfProgram = object.program(program);
    const link = loaded.attach();
    for (const part of [object, this.#results, this.#control, loaded, link]) {
      this.#close.unshift(() => part.close());
    }
  }

  /** Makes the files that this process opens the ones of interest. */
  watch(pid: number): void {
    this.#control.update(key(1), new Uint8Array(BigUint64Array.of(BigInt(pid)).buffer));
  }

  results(): PathResult[] {
    const count = Buffer.alloc(8);
    this.#control.lookup(key(0), count);
    return Array.from({ length: count.readUInt32LE() }, (_, index) => {
      const value = Buffer.alloc(this.#results.valueBytes);
      assert.ok(this.#results.lookup(key(index), value), `result ${index} had no room`);
      const length = value.readUInt32LE(0);
      const kept = Math.min(length, stateTextBytes);
      const text = (at: number, bytes: number) => value.toString('latin1', at, at + bytes);
      return {
        flags: value.readUInt32LE(4),
        forward: text(8, kept),
        reverse: text(8 + stateTextBytes, kept),
        text: text(8 + 2 * stateTextBytes, length),
      };
    });
  }

  close(): void {
    for (const close of this.#close) close();
  }
}

/** What the flags must be, where they are not 0. */
const flagsOf: Readonly<Record<string, number>> = {
  'a deleted file': pathFlag.deleted,
  'a deleted name of a file with another': pathFlag.deleted,
  'a deleted folder': pathFlag.deleted,
  'a file without a name': pathFlag.deleted,
  'a pipe': pathFlag.pseudo,
  'a unix socket': pathFlag.pseudo,
  'a tcp socket': pathFlag.pseudo,
  'a memory file': pathFlag.pseudo | pathFlag.deleted | pathFlag.memfd,
  'a memory file without a name': pathFlag.pseudo | pathFlag.deleted | pathFlag.memfd,
  'a huge memory file': pathFlag.pseudo | pathFlag.deleted | pathFlag.memfd,
  eventfd: pathFlag.pseudo,
  epoll: pathFlag.pseudo,
  inotify: pathFlag.pseudo,
  timerfd: pathFlag.pseudo,
  signalfd: pathFlag.pseudo,
  'a pidfd': pathFlag.pseudo,
  'a net namespace': pathFlag.pseudo,
  'a pid namespace': pathFlag.pseudo,
  'a cgroup namespace': pathFlag.pseudo,
  'too deep': pathFlag.truncated,
  'a detached mount': pathFlag.detached,
  'in a detached mount': pathFlag.detached,
  'in a mount that was taken away': pathFlag.detached,
};

/** Compares all kinds of files, asked for by their descriptors at a tracepoint. */
export async function checkPathTexts(
  context: Pick<ScenarioContext, 'run' | 'folder'>,
  program: string,
): Promise<void> {
  const probe = new PathProbe('paths_descriptor');
  try {
    const { code, stdout, stderr } = await context.run(program, [context.folder]);
    assert.equal(code, 0, stderr);
    const lines = stdout.trimEnd().split('\n');
    const results = probe.results();
    assert.equal(results.length, lines.length);
    assert.ok(lines.length > 35, 'all kinds');
    for (const [index, line] of lines.entries()) {
      const [what = '', shown = ''] = line.split('\t');
      const result = results[index];
      assert.ok(result !== undefined);
      assert.equal(result.flags, flagsOf[what] ?? 0, `flags of ${what}`);
      if (what === 'too deep') {
        // The kernel gives up (ENAMETOOLONG); here the end of the path is kept, by whole names.
        assert.equal(shown, 'errno 36');
        const name = `/${'d'.repeat(200)}`;
        const names = Math.floor((limits.path_bytes - 1 - '/file'.length) / name.length);
        assert.equal(result.text, `${name.repeat(names)}/file`);
      } else {
        assert.equal(result.text, Buffer.from(shown, 'hex').toString('latin1'), what);
      }
      assert.equal(result.forward, result.text.slice(0, stateTextBytes), what);
      const reversed = [...result.text].reverse().join('');
      assert.equal(result.reverse, reversed.slice(0, stateTextBytes), what);
    }
  } finally {
    probe.close();
    // Node's rmSync names whole paths, which are too long here.
    await context.run('rm', ['-rf', context.folder]);
  }
}
