// SPDX-License-Identifier: Apache-2.0
// The SDK as it runs: filters that are built with it, judged by the real host, compared with plain references.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildFilter } from '@weir/filter-compile';
import { FilterHost, type FilterHostOptions, type FilterReport } from '@weir/filter-host';
import {
  ARGUMENT_PAYLOAD_AT,
  ArgumentType,
  BATCH_HEADER_BYTES,
  EventKind,
  HOOK_RECORD_BYTES,
} from '@weir/schema';
import { BatchDecoder, BatchReader, BatchWriter, type DecodedRecord, socketPayload } from '@weir/segment';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const fixtures = join(dirname(fileURLToPath(import.meta.url)), '../fixtures');
let folder = '';
let host: FilterHost;
const reports: FilterReport[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-sdk-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function load(name: string, options: FilterHostOptions = {}): Promise<void> {
  const { bytes } = await buildFilter({
    source: join(fixtures, name),
    outFile: join(folder, `${name}.wasm`),
  });
  host = await FilterHost.create({
    onReport: (report) => reports.push(report),
    timeLimitMs: 5000,
    // One event of the filter that uses everything costs as much as twenty of an ordinary one.
    fuelPerEvent: 1_000_000,
    averageFuel: 100_000_000,
    averageNs: 100_000_000,
    ...options,
  });
  await host.setFilters([{ bytes }]);
}

async function judge(batch: Uint8Array): Promise<{
  verdicts: Uint8Array;
  records: () => DecodedRecord[];
  errors: number;
  lost: number;
  alerts: number;
}> {
  const slot = await host.acquireWhenFree();
  slot.bytes.set(batch);
  const result = await host.run(slot, batch.length);
  const bytes = slot.bytes.slice(0, result.byteLength);
  const verdicts = slot.verdicts.slice(0, result.recordCount);
  host.release(slot);
  const records = () => {
    const decoder = new BatchDecoder(new BatchReader(bytes));
    return Array.from({ length: result.recordCount }, (_, index) => decoder.record(index));
  };
  return {
    verdicts,
    records,
    errors: result.errors,
    lost: result.annotationsLost,
    alerts: result.alertCount,
  };
}

type Question = [operation: string, subject: Uint8Array, text: string];

function ask(questions: readonly Question[]): Uint8Array {
  const writer = new BatchWriter();
  for (const [operation, subject, text] of questions) {
    const payload = (bytes: Uint8Array) => ({ type: ArgumentType.string, payload: bytes });
    const encode = (value: string) => new TextEncoder().encode(value);
    writer.event({
      kind: EventKind.kprobe,
      pid: 1,
      arguments: [payload(encode(operation)), payload(subject), payload(encode(text))],
    });
  }
  return writer.finish();
}

/** mulberry32 */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

/** Bytes as a string of one character each, so that plain string functions and expressions work on them. */
const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function globReference(subject: string, pattern: string): boolean {
  const source = latin(new TextEncoder().encode(pattern)).replace(/\*\*|\*|\?|[.+^${}()|[\]\\]/g, (found) => {
    if (found === '**') return '[^]*';
    if (found === '*') return '[^/]*';
    if (found === '?') return '[^/]';
    return `\\${found}`;
  });
  return new RegExp(`^${source}$`, 's').test(subject);
}

/** A to Z as a to z; all else as it is. */
const fold = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

function reference([operation, bytes, text]: Question): boolean {
  const subject = latin(bytes);
  const other = latin(new TextEncoder().encode(text));
  switch (operation) {
    case 'equals':
    case 'same':
      return subject === other;
    case 'startsWith':
      return subject.startsWith(other);
    case 'endsWith':
      return subject.endsWith(other);
    case 'equalsIgnoreCase':
      return fold(subject) === fold(other);
    case 'startsWithIgnoreCase':
      return fold(subject).startsWith(fold(other));
    case 'endsWithIgnoreCase':
      return fold(subject).endsWith(fold(other));
    case 'containsIgnoreCase':
      return fold(subject).includes(fold(other));
    case 'contains':
      return subject.includes(other);
    case 'glob':
      return globReference(subject, text);
    case 'isWithin':
      return subject === other || subject.startsWith(other.endsWith('/') ? other : `${other}/`);
    default:
      throw new Error(operation);
  }
}

describe('string helpers', () => {
  beforeAll(() => load('helpers'));
  afterAll(() => host.close());

  const known: [string, string, string, boolean][] = [
    ['equals', '', '', true],
    ['equals', 'abcd', 'abcd', true],
    ['equals', 'abcde', 'abcd', false],
    ['equals', 'abc', 'abcd', false],
    ['equals', '/bin/bäsh', '/bin/bäsh', true],
    ['equals', '/bin/b\u{1f600}', '/bin/b\u{1f600}', true],
    ['startsWith', '/proc/self/maps', '/proc/self/', true],
    ['startsWith', '/proc/sel', '/proc/self/', false],
    ['endsWith', 'libü.so', 'ü.so', true],
    ['endsWith', 'x', 'xx', false],
    ['contains', 'aaab', 'aab', true],
    ['contains', 'aaab', '', true],
    ['isWithin', '/etc/passwd', '/etc', true],
    ['isWithin', '/etcetera', '/etc', false],
    ['isWithin', '/etc', '/etc', true],
    ['isWithin', '/x', '/', true],
    ['glob', '/usr/lib/a/b/libc.so.6', '/usr/lib/**/libc.so*', true],
    ['glob', '/usr/lib/libc.so', '/usr/lib/*', true],
    ['glob', '/usr/lib/a/libc.so', '/usr/lib/*', false],
    ['glob', '/a/b', '/?/?', true],
    ['glob', '//', '/?', false],
    ['equalsIgnoreCase', 'Bearer ÄB', 'bEARER Äb', true],
    ['equalsIgnoreCase', 'ä', 'Ä', false],
    ['equalsIgnoreCase', '@[`{', '`{@[', false],
    ['containsIgnoreCase', 'x: AUTHORIZATION: y', 'Authorization:', true],
    ['startsWithIgnoreCase', 'ab', 'ABC', false],
    ['endsWithIgnoreCase', '/x/A.SH', '.sh', true],
    ['glob', '', '**', true],
    ['glob', '', '?', false],
    ['glob', 'ab', '*b*', true],
    ['glob', 'x/aab', '**/*a*b', true],
  ];
  it('answer as they should', async () => {
    const questions = known.map(
      ([operation, subject, text]): Question => [operation, new TextEncoder().encode(subject), text],
    );
    const { verdicts } = await judge(ask(questions));
    expect(
      [...verdicts].map((verdict, index) => [...(known[index]?.slice(0, 3) ?? []), verdict === 0]),
    ).toEqual(known);
    // The reference must say the same, or what follows proves nothing.
    expect(questions.map(reference)).toEqual(known.map((one) => one[3]));
  });

  const seed = Number(process.env.WEIR_SEED ?? 20260103);
  it(`agree with a plain reference on bytes of every kind (seed ${seed})`, async () => {
    const next = random(seed);
    const alphabet = [
      'a',
      'A',
      'b',
      'B',
      '/',
      'ab',
      'Z',
      '@',
      '[',
      '/a',
      'ä',
      '€',
      '\u{1f600}',
      '.so',
      'aaaa',
      'abcdefgh',
    ];
    const word = (most: number) =>
      Array.from({ length: next(most) }, () => alphabet[next(alphabet.length)]).join('');
    const operations = [
      'equals',
      'same',
      'startsWith',
      'endsWith',
      'contains',
      'isWithin',
      'glob',
      'equalsIgnoreCase',
      'startsWithIgnoreCase',
      'endsWithIgnoreCase',
      'containsIgnoreCase',
    ];
    let held = 0;
    for (let round = 0; round < 8; round++) {
      const questions = Array.from({ length: 1000 }, (): Question => {
        const operation = operations[next(operations.length)] as string;
        let text = word(5);
        let subject = new TextEncoder().encode(
          next(2) === 0 ? word(6) : `${next(2) === 0 ? word(3) : ''}${text}${next(2) === 0 ? word(3) : ''}`,
        );
        if (operation === 'glob')
          text = Array.from(text, (c) => (next(4) === 0 ? ['*', '**', '?'][next(3)] : c))
            .join('')
            .replace(/\*{3,}/g, '**');
        if (next(4) === 0) subject = subject.map((byte) => (next(8) === 0 ? next(256) : byte));
        return [operation, subject, text];
      });
      const { verdicts, errors } = await judge(ask(questions));
      expect(errors).toBe(0);
      for (const [index, question] of questions.entries()) {
        const expected = reference(question);
        if (expected) held++;
        expect(
          verdicts[index] === 0,
          `round ${round}: ${question[0]} ${JSON.stringify(latin(question[1]))} ${JSON.stringify(question[2])}`,
        ).toBe(expected);
      }
    }
    expect(held).toBeGreaterThan(1000);
  });

  it('take paths apart', async () => {
    const paths = ['/usr/bin/bash', 'bash', '/bash', '/usr/', ''];
    const questions = paths.flatMap((path): Question[] => [
      ['name', new TextEncoder().encode(path), ''],
      ['directory', new TextEncoder().encode(path), ''],
    ]);
    const { records } = await judge(ask(questions));
    const parts = records().map((record) => record.annotation?.labels['filter.helpers.part']);
    expect(parts).toEqual(['bash', '/usr/bin', 'bash', '', 'bash', '', '', '/usr', '', '']);
  });

  it('tell extension, depth, part and number', async () => {
    const cases: [string, string, string][] = [
      ['extension', '/usr/lib/libc.so.6', '6'],
      ['extension', '/a.b/c', ''],
      ['extension', '/home/.profile', ''],
      ['extension', 'x.', ''],
      ['depth', '/usr/bin/ls', '3'],
      ['depth', '/', '0'],
      ['depth', '//a//b/', '2'],
      ['depth', 'a', '1'],
      ['part', '/usr/bin/ls', 'bin'],
      ['part', 'a//b', 'b'],
      ['part', '/a', ''],
      ['number', '0042', '42'],
      ['number', '999999999999999999', '999999999999999999'],
      ['number', '9999999999999999999', '-1'],
      ['number', '-1', '-1'],
      ['number', '', '-1'],
      ['number', '4x', '-1'],
    ];
    const { records } = await judge(
      ask(cases.map(([operation, subject]): Question => [operation, new TextEncoder().encode(subject), ''])),
    );
    expect(records().map((record) => record.annotation?.labels['filter.helpers.part'])).toEqual(
      cases.map((one) => one[2]),
    );
  });

  it('that run out of views trap, with the place in the source, and cost that event only', async () => {
    reports.length = 0;
    const { verdicts, errors } = await judge(
      ask([
        ['equals', new Uint8Array(0), ''],
        ['views', new Uint8Array(4), ''],
        ['nonsense', new Uint8Array(0), ''],
        ['equals', new Uint8Array(0), 'a'],
      ]),
    );
    expect([...verdicts]).toEqual([0, 0, 0, 1]);
    expect(errors).toBe(2);
    const traps = reports.filter((report) => report.type === 'trap').map((report) => report.reason);
    expect(traps[0]).toMatch(/more than 4096 views at ~lib\/@weir\/filter-sdk\/memory\.ts:\d+:\d+/);
    expect(traps[1]).toMatch(/no such helper at filter\.ts:\d+:\d+/);
  });
});

describe('the path of an event', () => {
  const fuzzSeed = Number(process.env.WEIR_SEED ?? 20260104);
  beforeAll(() => load('accessors', { trapsMax: 1_000_000 }));
  afterAll(() => host.close());

  function busyBatch(records: number): Uint8Array {
    const writer = new BatchWriter({ node: 'node-1', cluster: 'c' });
    const pod = writer.pod({
      namespace: 'shop',
      name: 'web-1',
      workload: 'web',
      containerName: 'c',
      imageName: 'i',
      labels: { tier: 'x', app: 'web' },
    });
    const systemd = writer.process({ pid: 1, startNs: 1n, binary: '/usr/lib/systemd/systemd' });
    const processes = Array.from({ length: 8 }, (_, index) =>
      writer.process({
        pid: 100 + index,
        startNs: BigInt(1000 + index),
        parentIndex: systemd,
        binary: '/usr/bin/bash',
        arguments: ['-c', 'echo', '--verbose'],
        cwd: '/root',
        podIndex: pod,
        containerId: 'abc',
      }),
    );
    const binding = writer.binding({
      eventKind: EventKind.kprobe,
      policyName: 'files',
      functionName: 'security_file_open',
      message: 'm',
    });
    for (let index = 0; index < records; index++) {
      writer.event({
        kind: EventKind.kprobe,
        pid: 100 + (index % 8),
        timeNs: BigInt(index) * 1000n,
        process: processes[index % 8] as number,
        parent: systemd,
        binding,
        arguments: [
          { type: ArgumentType.file, payload: `/usr/lib/x${index % 100}ä.so` },
          { type: ArgumentType.int32, value: 5n },
          {
            type: ArgumentType.sock,
            payload: socketPayload({
              family: 2,
              destinationPort: 443,
              destinationAddress: [10, 0, 0, 1, ...new Array<number>(12).fill(0)],
            }),
          },
        ],
        returnValue: { type: ArgumentType.int32, value: 0n },
      });
    }
    return writer.finish();
  }

  /** One number of the filter: 0 where its heap ends, 1 how large its memory is. */
  async function ask(status: number): Promise<number> {
    const writer = new BatchWriter();
    writer.event({ kind: EventKind.exit, pid: 1, status });
    const [record] = (await judge(writer.finish())).records();
    return Number(
      record?.annotation?.labels[status === 0 ? 'filter.accessors.heap' : 'filter.accessors.pages'],
    );
  }

  async function measure(): Promise<{ heap: number; pages: number }> {
    return { heap: await ask(0), pages: await ask(1) };
  }

  it('allocates nothing, in two hundred thousand events that use every accessor and helper', async () => {
    const batch = busyBatch(2000);
    await judge(batch);
    const first = await measure();
    const second = await measure();
    const block = second.heap - first.heap;
    expect(block).toBeGreaterThan(0);
    let events = 0;
    while (events < 200_000) {
      const { errors, verdicts } = await judge(batch);
      expect(errors).toBe(0);
      events += verdicts.length;
    }
    const last = await measure();
    // The probe's own block, and not a byte more.
    expect(last.heap - second.heap).toBe(block);
    expect(last.pages).toBe(first.pages);
    expect(host.status()[0]).toMatchObject({ traps: 0 });
  }, 300_000);

  it(`takes records and entries that hold anything: a trap at most, never the host (seed ${fuzzSeed})`, async () => {
    const next = random(fuzzSeed);
    const records = 50;
    const clean = busyBatch(records);
    const header = new BatchReader(clean).header;
    const offsets = new DataView(clean.buffer, clean.byteOffset + header.offsetsAt);
    let traps = 0;
    for (let round = 0; round < 300; round++) {
      const batch = clean.slice();
      for (let left = 1 + next(60); left > 0; left--) {
        const at = BATCH_HEADER_BYTES + next(batch.length - BATCH_HEADER_BYTES);
        // Where the records are is the agent's own; all else is fair.
        if (at >= header.offsetsAt && at < header.offsetsAt + records * 4) continue;
        batch[at] = [0, 1, 0x7f, 0xff, next(256)][next(5)] as number;
      }
      // Arguments are what a filter trusts most: lie about one of them in each round.
      const record = offsets.getUint32(next(records) * 4, true);
      new DataView(batch.buffer).setUint32(
        record + HOOK_RECORD_BYTES + ARGUMENT_PAYLOAD_AT,
        next(0xffffffff),
        true,
      );
      const { verdicts, errors } = await judge(batch);
      expect(verdicts.length).toBe(records);
      expect(verdicts.every((verdict) => verdict === 0)).toBe(true);
      traps += errors;
    }
    // The canary: some of this must reach beyond the filter's memory.
    expect(traps).toBeGreaterThan(0);
    expect(host.status()[0]?.quarantine).toBeUndefined();
    expect((await judge(clean)).errors).toBe(0);
  }, 300_000);

  it('annotates every event of a batch that holds more of them than the SDK has room for', async () => {
    const { records, lost } = await judge(busyBatch(3000));
    expect(lost).toBe(0);
    expect(
      records().filter((record) => record.annotation?.labels['filter.accessors.value'] !== undefined).length,
    ).toBe(3000);
  }, 300_000);
});
