// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { knownProcesses } from './known-processes.js';
import { LineageFinder } from './policy/lineages.js';
import { fillFromProc, readProcess, seedFromProc } from './process/proc.js';
import { ProcessTable } from './process/table.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

describe('what is known of processes', () => {
  it('has the ancestors that have ended, by the table, and those that run, by /proc', () => {
    const own = readProcess('/proc', process.pid);
    if (own === undefined) throw new Error('this process is not in /proc');
    const table = new ProcessTable();
    const parent = table.seed(4_000_000, 1n);
    fillFromProc(table, parent, { ...own, pid: 4_000_000, startTicks: 1n, binary: bytes('/gone/parent') });
    const child = table.seed(own.pid, own.startTicks);
    fillFromProc(table, child, own);
    table.handle.linkSeeds(child, parent);
    const found = knownProcesses(table).find(({ pid }) => pid === process.pid);
    const lineage = { kind: 'forward', key: '', exact: true, values: [bytes('/gone/parent')] } as const;
    const finder = new LineageFinder([{ lineage, number: 4 }]);
    expect(finder.of(found?.execution)).toBe(16n);
    expect(Buffer.from(found?.execution.binary ?? []).toString()).toBe(process.execPath);
  });

  it('has all that runs where the table has nothing, and the same where it has all', () => {
    const table = new ProcessTable();
    const text = () => {
      const found = knownProcesses(table).find(({ pid }) => pid === process.pid);
      return [found?.execution.binary, found?.execution.parent?.binary].map((binary) =>
        Buffer.from(binary ?? []).toString(),
      );
    };
    const before = text();
    expect(before[0]).toBe(process.execPath);
    seedFromProc(table);
    expect(text()).toEqual(before);
  });
});
