// SPDX-License-Identifier: Apache-2.0
// Builds the example in C with clang and runs it through the host, against what it says of itself.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { acceptModule } from '@weir/filter-accept';
import { EventKind } from '@weir/schema';
import { BatchWriter } from '@weir/segment';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { closeHosts, judge, start } from '../host/src/fixtures.js';

const here = fileURLToPath(new URL('.', import.meta.url));

function why(): string | undefined {
  const missing = [process.env.CLANG ?? 'clang', 'wasm-ld', 'make'].filter(
    (program) => spawnSync(program, ['--version']).status !== 0,
  );
  return missing.length === 0
    ? undefined
    : `${missing.join(', ')} is not there (Debian: apt-get install clang lld make)`;
}
const reason = why();
if (reason !== undefined) console.warn(`the test of the filter in C does not run: ${reason}`);

function execs(binaries: readonly string[], kind: number = EventKind.exec): Uint8Array {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'test' });
  for (const [index, binary] of binaries.entries()) {
    const process = binary === '' ? 0 : writer.process({ pid: 100 + index, startNs: BigInt(index), binary });
    writer.event({ kind, pid: 100 + index, startNs: BigInt(index), process });
  }
  return writer.finish();
}

describe.skipIf(reason !== undefined)('a filter in C', () => {
  let module: Uint8Array;
  beforeAll(() => {
    execFileSync('make', ['-s', '-B', '-C', here], { stdio: 'inherit' });
    module = readFileSync(new URL('build/temp-exec.wasm', import.meta.url));
  });
  afterEach(closeHosts);

  it('is accepted as it comes from the linker, and small', () => {
    expect(acceptModule(module)).toMatchObject({
      ok: true,
      manifest: { name: 'temp-exec', binds: { kinds: ['exec'] }, labels: ['binary', 'folder'] },
      imports: [],
    });
    expect(module.length).toBeLessThan(4096);
  });

  it('marks what runs from folders that anyone may write to, and nothing else', async () => {
    const { host } = await start([module]);
    const binaries = [
      '/tmp/a',
      '/usr/bin/id',
      '/dev/shm/b',
      '',
      '/tmp',
      '/tmpfs/x',
      '/var/tmp/c',
      '/tmp/\xff',
    ];
    const judged = await judge(host, execs(binaries));
    expect(judged.verdicts).toEqual(binaries.map(() => 0));
    expect(judged.records.map(({ annotation }) => annotation?.labels['filter.temp-exec.folder'])).toEqual([
      '/tmp',
      undefined,
      '/dev/shm',
      undefined,
      undefined,
      undefined,
      '/var/tmp',
      '/tmp',
    ]);
    expect(judged.records[0]?.annotation).toMatchObject({
      severity: 'medium',
      labels: { 'filter.temp-exec.binary': '/tmp/a' },
    });
    expect(host.status()[0]).toMatchObject({ traps: 0, annotations: 4, alerts: 0 });
  });

  it('raises an alert at every tenth, over batches, however often it is called again', async () => {
    const { host } = await start([module]);
    let alerts = 0;
    let marked = 0;
    // More than it has room for in one call.
    for (const count of [7, 250, 3]) {
      const judged = await judge(
        host,
        execs(Array.from({ length: count }, (_, index) => `/tmp/tool-${index}`)),
      );
      alerts += judged.alerts.length;
      marked += judged.records.filter(({ annotation }) => annotation?.severity === 'medium').length;
    }
    expect({ alerts, marked }).toEqual({ alerts: 26, marked: 260 });
    expect(host.status()[0]?.quarantine).toBeUndefined();
  });

  it('sees only what it is bound to', async () => {
    const { host } = await start([module]);
    await judge(host, execs(['/tmp/a'], EventKind.exit));
    expect(host.status()[0]?.events).toBe(0);
  });
});
