// SPDX-License-Identifier: Apache-2.0
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { acceptModule } from '@weir/filter-accept';
import { FilterHost } from '@weir/filter-host';
import { EventKind } from '@weir/schema';
import {
  BatchDecoder,
  BatchReader,
  BatchWriter,
  CHAIN_START,
  frameParts,
  readWholeFrames,
  sealSegment,
} from '@weir/segment';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  batchOfEvents,
  buildFilter,
  FilterBuildError,
  formatDiagnostics,
  formatTest,
  newFilter,
  splitArguments,
  testFilter,
} from './index.js';

const examples = join(dirname(fileURLToPath(import.meta.url)), '../../examples');
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-filter-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const head = `import { drop, Event, keep, Verdict } from '@weir/filter-sdk';\n`;
let made = 0;
async function project(
  source: string,
  manifest: unknown = { name: 'one', version: '1.0.0' },
): Promise<string> {
  const path = join(folder, `p${made++}`);
  await mkdir(path);
  await writeFile(join(path, 'filter.ts'), source);
  await writeFile(
    join(path, 'filter.json'),
    typeof manifest === 'string' ? manifest : JSON.stringify(manifest),
  );
  return path;
}

async function failure(promise: Promise<unknown>): Promise<FilterBuildError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof FilterBuildError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('building', () => {
  it('makes a module that acceptance takes, the same bytes each time', async () => {
    const path = await project(
      `${head}export function filter(event: Event): Verdict { return event.pid == 1 ? drop() : keep(); }`,
    );
    const one = await buildFilter({ source: path });
    const two = await buildFilter({ source: join(path, 'filter.ts'), outFile: join(folder, 'two.wasm') });
    expect(one.digest).toBe(two.digest);
    expect(acceptModule(await readFile(one.outFile))).toMatchObject({
      ok: true,
      imports: ['weir.log'],
      manifest: { name: 'one' },
    });
    expect(one.outFile).toBe(join(path, 'build', 'one.wasm'));
  });

  it('names file, line and column of what is wrong', async () => {
    const path = await project(
      `${head}export function filter(event: Event): Verdict {\n  return event.nonsense;\n}\n`,
    );
    const error = await failure(buildFilter({ source: path }));
    expect(error.code).toBe('compile');
    expect(error.diagnostics[0]).toMatchObject({
      file: join(path, 'filter.ts'),
      line: 3,
      column: 16,
      severity: 'error',
      source: '  return event.nonsense;',
    });
    expect(error.message).toMatch(/filter\.ts does not compile: 1 error$/);
    expect(formatDiagnostics(error.diagnostics)).toContain('filter.ts:3:16: error');
  });

  const wrong: [string, string, unknown, string, RegExp][] = [
    ['a source without the function', 'export const x = 1;', undefined, 'source', /export function filter/],
    [
      'a manifest that is no JSON',
      `${head}export function filter(event: Event): Verdict { return keep(); }`,
      '{',
      'manifest',
      /filter\.json/,
    ],
    [
      'a manifest with a wrong field',
      `${head}export function filter(event: Event): Verdict { return keep(); }`,
      { name: 'X', version: '1' },
      'manifest',
      /name must be/,
    ],
    [
      'a source that needs what no filter has',
      `${head}export function filter(event: Event): Verdict { return Math.random() > 0.5 ? keep() : drop(); }`,
      undefined,
      'refused',
      /env\.seed/,
    ],
  ];
  it.each(wrong)('refuses %s', async (_, source, manifest, code, message) => {
    const error = await failure(buildFilter({ source: await project(source, manifest) }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it('refuses a folder that is not there', async () => {
    const error = await failure(buildFilter({ source: join(folder, 'nowhere') }));
    expect(error.message).toBe(`${join(folder, 'nowhere')}: there is no such folder or source`);
  });

  it('lets a filter be configured', async () => {
    const path = await project(
      `import { Config, drop, Event, keep, Verdict } from '@weir/filter-sdk';
let pid: i64 = 0;
export function configure(config: Config): void {
  pid = config.integer('pid', pid);
}
export function filter(event: Event): Verdict { return event.pid == pid ? drop() : keep(); }`,
    );
    const { bytes } = await buildFilter({ source: path });
    const file = join(path, 'configured.json');
    const events = [
      { process_exec: { process: { pid: 42, binary: '/bin/a' } } },
      { process_exec: { process: { pid: 7, binary: '/bin/a' } } },
    ];
    await writeFile(
      file,
      JSON.stringify({ config: { pid: 42 }, cases: [{ name: 'c', events, expect: ['drop', 'keep'] }] }),
    );
    expect(formatTest(await testFilter({ module: bytes, tests: [file] }))).toMatch(/1 of 1 cases pass/);
    await writeFile(
      file,
      JSON.stringify({ config: { pid: 'x' }, cases: [{ name: 'c', events, expect: ['drop', 'keep'] }] }),
    );
    await expect(testFilter({ module: bytes, tests: [file] })).rejects.toThrow(
      /refuses its configuration: pid must be a whole number/,
    );
  });
});

describe('a new filter', () => {
  it('builds, and its own test passes', async () => {
    const path = join(folder, 'fresh');
    const result = await newFilter(path, 'fresh');
    expect(result.files).toContain('filter.ts');
    const { bytes, warnings } = await buildFilter({ source: path });
    expect(warnings).toEqual([]);
    const tested = await testFilter({ module: bytes, tests: [join(path, 'tests')] });
    expect(formatTest(tested)).toMatch(/1 of 1 cases pass, 3 events/);
  });

  it('overwrites nothing', async () => {
    const error = await failure(newFilter(join(folder, 'fresh'), 'fresh'));
    expect(error.code).toBe('exists');
  });

  it('is refused under a name that no filter can have', async () => {
    const error = await failure(newFilter(join(folder, 'other'), 'No Name'));
    expect(error.message).toMatch(/name must be/);
  });
});

describe('the examples', () => {
  const names = [
    'binary-write',
    'container-escape',
    'container-shell',
    'exec-burst',
    'memfd-exec',
    'miner',
    'module-load',
    'network-baseline',
    'noisy-paths',
    'package-manager',
    'redact-secrets',
    'reverse-shell',
    'token-read',
  ];
  it('are all there', async () => {
    const entries = await readdir(examples, { withFileTypes: true });
    expect(
      entries
        .filter((entry) => entry.isDirectory() && entry.name !== 'build')
        .map((entry) => entry.name)
        .sort(),
    ).toEqual(names);
  });

  it.each(names)(
    '%s builds and passes its tests',
    async (name) => {
      const path = join(folder, 'examples', name);
      await cp(join(examples, name), path, { recursive: true });
      const { bytes, warnings } = await buildFilter({ source: path });
      expect(warnings).toEqual([]);
      const result = await testFilter({ module: bytes, tests: [join(path, 'tests')] });
      expect(result.cases.flatMap((one) => one.failures)).toEqual([]);
      expect(result.events).toBeGreaterThan(2);
      expect(await trapsOnPadding(bytes)).toEqual([]);
    },
    120_000,
  );

  /** Judges events alone in their batches, with as many bytes of arguments as are recorded: none may be too dear. */
  async function trapsOnPadding(module: Uint8Array): Promise<string[]> {
    const recorded = 4096;
    const paddings = {
      'one long argument': ['a'.repeat(recorded)],
      'many short ones': Array<string>(recorded / 2).fill('-'),
      'many that nearly match': Array.from({ length: recorded / 8 }, (_, index) => `stratu${index % 10}`),
    };
    const host = await FilterHost.create({ timeLimitMs: 5000 });
    const trapped: string[] = [];
    try {
      await host.setFilters([{ bytes: module }]);
      for (const [index, [what, padding]] of Object.entries(paddings).entries()) {
        const writer = new BatchWriter();
        const pod = writer.pod({ namespace: 'n', name: 'p', workload: 'w' });
        const parent = writer.process({ pid: 1, startNs: BigInt(index), binary: '/bin/bash', podIndex: pod });
        const process = writer.process({
          pid: 2,
          startNs: BigInt(index),
          parentIndex: parent,
          binary: '/usr/bin/python3',
          arguments: padding,
          podIndex: pod,
        });
        writer.event({ kind: EventKind.exec, pid: 2, process, parent, arguments: padding });
        const batch = writer.finish();
        const slot = await host.acquireWhenFree();
        slot.bytes.set(batch);
        const { errors } = await host.run(slot, batch.length);
        host.release(slot);
        if (errors > 0) trapped.push(what);
      }
    } finally {
      await host.close();
    }
    return trapped;
  }
});

describe('testing', () => {
  let module: Uint8Array;
  beforeAll(async () => {
    const path = await project(`${head}export function filter(event: Event): Verdict {
  if (event.pid == 3) throw new Error('three');
  return event.pid == 1 ? drop() : keep();
}`);
    ({ bytes: module } = await buildFilter({ source: path }));
  });

  const event = (pid: number) => ({ process_exec: { process: { pid, binary: '/bin/a' } } });
  async function run(test: unknown): Promise<string> {
    const file = join(folder, `t${made++}.json`);
    await writeFile(file, JSON.stringify(test));
    return formatTest(await testFilter({ module, tests: [file] }));
  }

  it('says what differs, event by event', async () => {
    const report = await run({
      cases: [
        {
          name: 'wrong',
          events: [event(1), event(2)],
          expect: ['keep', { severity: 'high', labels: { a: 'b' } }],
        },
      ],
    });
    expect(report).toContain('FAIL wrong');
    expect(report).toContain('event 0 (exec of /bin/a): verdict is "drop", expected "keep"');
    expect(report).toContain('event 1 (exec of /bin/a): severity is "none", expected "high"');
    expect(report).toContain('label a is null, expected "b"');
    expect(report).toContain('0 of 1 cases pass');
  });

  it('fails where the filter traps, with the reason and its place', async () => {
    const report = await run({ cases: [{ name: 'traps', events: [event(3)], expect: ['keep'] }] });
    expect(report).toMatch(/the filter trapped: three at filter\.ts:3:\d+/);
  });

  it('fails where there are more events than expectations', async () => {
    expect(
      await run({ cases: [{ name: 'short', events: [event(1), event(2)], expect: ['drop'] }] }),
    ).toContain('there are 2 events, but 1 expectations');
  });

  const wrong: [unknown, RegExp][] = [
    [{ cases: [] }, /at least one case/],
    [{ cases: [{ events: [], expect: [] }] }, /cases\[0\]\.name/],
    [{ cases: [{ name: 'n', events: [event(1)] }] }, /expect or count/],
    [{ cases: [{ name: 'n', events: [event(1)], expect: ['maybe'] }] }, /expect\[0\]/],
    [{ cases: [{ name: 'n', events: [event(1)], expect: [{ severity: 'awful' }] }] }, /severity.*critical/],
    [{ cases: [{ name: 'n', events: 'none.jsonl', expect: [] }] }, /cannot be read/],
    [{ cases: [{ name: 'n', events: [{}], expect: ['keep'] }] }, /events\[0\] must have process_exec/],
    [
      { cases: [{ name: 'n', events: [{ process_exec: { process: { pid: -1 } } }], expect: ['keep'] }] },
      /events\[0\]\.process_exec\.process\.pid must be a whole number/,
    ],
    [
      {
        cases: [
          {
            name: 'n',
            events: [{ process_kprobe: { process: { pid: 1 }, args: [{ odd_arg: 1 }] } }],
            expect: ['keep'],
          },
        ],
      },
      /args\[0\] has odd_arg/,
    ],
    [
      {
        cases: [
          { name: 'n', events: [{ process_exec: { process: { pid: 1 } }, time: 'today' }], expect: ['keep'] },
        ],
      },
      /time must be a time such as/,
    ],
  ];
  it.each(wrong)('names the field of a wrong test: %j', async (test, message) => {
    const file = join(folder, `t${made++}.json`);
    await writeFile(file, JSON.stringify(test));
    expect((await failure(testFilter({ module, tests: [file] }))).message).toMatch(message);
  });

  it('finds a filter that goes by how events fall into batches', async () => {
    const path = await project(`${head}
import { batchAt } from '@weir/filter-sdk/memory';
let seen = 0;
export function filter(event: Event): Verdict {
  seen++;
  // How many records the batch has.
  return seen == 3 && load<u32>(batchAt() + 12) > 1 ? drop() : keep();
}`);
    const { bytes } = await buildFilter({ source: path });
    const file = join(folder, 'beside.json');
    const count = { keep: 3, drop: 1 };
    const events = [event(4), event(5), event(6), event(7)];
    await writeFile(file, JSON.stringify({ cases: [{ name: 'goes by batches', events, count }] }));
    expect(formatTest(await testFilter({ module: bytes, tests: [file] }))).toMatch(
      /event 2 \(exec of \/bin\/a\): \["keep".*\] in a batch of its own, but \["drop".*\] beside others/,
    );
  });

  it('judges a recording as it is, and skips what no filter judges', async () => {
    const lines = [
      event(1),
      { loss: { stage: 'ring_full', count: '3' } },
      event(2),
      { process_throttle: {} },
    ];
    const file = join(folder, 'recorded.jsonl');
    await writeFile(file, lines.map((line) => JSON.stringify(line)).join('\n'));
    expect(formatTest(await testFilter({ module, tests: [file] }))).toContain(
      'ok   recorded.jsonl (1 kept, 1 dropped)',
    );
    await writeFile(file, JSON.stringify(event(3)));
    expect(formatTest(await testFilter({ module, tests: [file] }))).toContain(
      'the filter trapped on 1 events',
    );
  });

  it('takes a captured segment', async () => {
    const raw = Buffer.concat(frameParts(batchOfEvents([event(1), event(2)], 'e'), new Uint8Array(0)));
    const sealed = await sealSegment({
      agentId: 'node-1',
      chainId: '0'.repeat(32),
      sequence: 0n,
      previous: CHAIN_START,
      raw,
      frames: readWholeFrames(raw).frames,
    });
    await writeFile(join(folder, 'captured.segment'), sealed.bytes);
    expect(
      await run({ cases: [{ name: 'captured', events: 'captured.segment', expect: ['drop', 'keep'] }] }),
    ).toMatch(/1 of 1 cases pass/);
  });

  it('takes a captured batch', async () => {
    const bytes = batchOfEvents([event(1), event(2)], 'e');
    await writeFile(join(folder, 'captured.batch'), bytes);
    expect(
      await run({ cases: [{ name: 'captured', events: 'captured.batch', expect: ['drop', 'keep'] }] }),
    ).toMatch(/1 of 1 cases pass/);
  });
});

describe('events in JSON', () => {
  it('become the records that an agent would make', () => {
    const bytes = batchOfEvents(
      [
        {
          process_kprobe: {
            process: {
              exec_id: 'a',
              pid: 7,
              uid: 5,
              binary: '/bin/cat',
              arguments: '-n "/tmp/a b"',
              flags: 'execve rootcwd',
              start_time: '2026-01-02T03:04:05.123456789Z',
              pod: { namespace: 'n', name: 'p', pod_labels: { app: 'x' } },
            },
            parent: { exec_id: 'b', pid: 1, binary: '/sbin/init' },
            function_name: 'security_file_open',
            policy_name: 'files',
            args: [
              { file_arg: { path: '/etc/shadow' } },
              { int_arg: -1 },
              { sock_arg: { family: 'AF_INET6', daddr: '2001:db8::1', dport: 53 } },
            ],
            return: { int_arg: 0 },
          },
          node_name: 'n1',
          time: '2026-01-02T03:04:06Z',
        },
        { process_exit: { process: { exec_id: 'a', pid: 7 }, signal: 'SIGKILL' } },
      ],
      'events',
    );
    const decoder = new BatchDecoder(new BatchReader(bytes));
    const record = decoder.record(0);
    expect(record).toMatchObject({ kind: 'kprobe', pid: 7, timeNs: 1767323046000000000n });
    expect(record.process).toMatchObject({
      binary: '/bin/cat',
      arguments: ['-n', '/tmp/a b'],
      uid: 5,
      startTimeNs: 1767323045123456789n,
      flags: ['execve', 'rootcwd'],
    });
    expect(record.process?.pod).toMatchObject({ name: 'p', labels: { app: 'x' } });
    expect(record.parent).toMatchObject({ binary: '/sbin/init', pid: 1 });
    expect(record.hook?.binding).toMatchObject({ policyName: 'files', functionName: 'security_file_open' });
    expect(record.hook?.arguments.map((one) => [one.type, one.text ?? one.signedValue])).toEqual([
      ['file', '/etc/shadow'],
      ['int32', -1n],
      ['sock', 0n],
    ]);
    expect(record.hook?.arguments[2]?.socket).toMatchObject({
      family: 10,
      destinationPort: 53,
      destinationAddress: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    });
    expect(decoder.batch.header.processCount).toBe(2);
    expect(decoder.record(1)).toMatchObject({ kind: 'exit', exit: { signal: 9 } });
  });

  it('have arguments with blanks in quotes', () => {
    expect(splitArguments('-c "echo \\"x\\" y" z')).toEqual(['-c', 'echo "x" y', 'z']);
    expect(splitArguments('')).toEqual([]);
  });
});
