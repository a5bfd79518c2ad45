// SPDX-License-Identifier: Apache-2.0
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildFilter } from '@weir/filter-compile';
import { FilterHost, type FilterReport } from '@weir/filter-host';
import {
  ArgumentType,
  EventKind,
  ExecFlag,
  LossStage,
  MODULE_ARGUMENT_BYTES,
  makeModuleArgument,
  makePerfEventArgument,
  makeUserNamespaceArgument,
  PERF_EVENT_ARGUMENT_BYTES,
  USER_NAMESPACE_ARGUMENT_BYTES,
  writeModuleArgument,
  writePerfEventArgument,
  writeUserNamespaceArgument,
} from '@weir/schema';
import {
  type ArgumentDescription,
  BatchDecoder,
  BatchReader,
  BatchWriter,
  bpfPayload,
  credentialPayload,
  type DecodedRecord,
  socketPayload,
} from '@weir/segment';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

const fixtures = join(dirname(fileURLToPath(import.meta.url)), '../fixtures');
let folder = '';
const modules = new Map<string, Uint8Array>();
const hosts: FilterHost[] = [];
const reports: FilterReport[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-typed-'));
  for (const name of ['typed', 'state', 'configured', 'redactor', 'reader', 'messages']) {
    const { bytes } = await buildFilter({
      source: join(fixtures, name),
      outFile: join(folder, `${name}.wasm`),
    });
    modules.set(name, bytes);
  }
}, 120_000);
afterEach(async () => {
  reports.length = 0;
  for (const host of hosts.splice(0)) await host.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const module = (name: string): Uint8Array => modules.get(name) as Uint8Array;

async function start(
  filters: readonly { bytes: Uint8Array; config?: string }[],
  options = {},
): Promise<FilterHost> {
  const host = await FilterHost.create({
    onReport: (report) => reports.push(report),
    timeLimitMs: 5000,
    ...options,
  });
  hosts.push(host);
  await host.setFilters(filters);
  return host;
}

interface Judged {
  verdicts: number[];
  records: DecodedRecord[];
  labels: Record<string, string>[];
  text: string;
}

async function judge(host: FilterHost, batch: Uint8Array): Promise<Judged> {
  const slot = await host.acquireWhenFree();
  slot.bytes.set(batch);
  const result = await host.run(slot, batch.length);
  const bytes = slot.bytes.slice(0, result.byteLength);
  const verdicts = [...slot.verdicts.slice(0, result.recordCount)];
  host.release(slot);
  const decoder = new BatchDecoder(new BatchReader(bytes));
  const records = Array.from({ length: result.recordCount }, (_, index) => decoder.record(index));
  const labels = records.map((record) =>
    Object.fromEntries(
      Object.entries(record.annotation?.labels ?? {}).map(([name, value]) => [
        name.split('.').at(-1) ?? '',
        value,
      ]),
    ),
  );
  return { verdicts, records, labels, text: Buffer.from(bytes).toString('latin1') };
}

function hookBatch(...events: ArgumentDescription[][]): Uint8Array {
  const writer = new BatchWriter();
  for (const list of events) writer.event({ kind: EventKind.kprobe, pid: 1, arguments: list });
  return writer.finish();
}

const struct = (bytes: number, write: (view: DataView) => void): Uint8Array => {
  const payload = new Uint8Array(bytes);
  write(new DataView(payload.buffer));
  return payload;
};
const padded = (name: string, bytes: number): number[] => [
  ...Buffer.from(name),
  ...new Array<number>(bytes - name.length).fill(0),
];
const v4 = (...bytes: number[]): number[] => [...bytes, ...new Array<number>(12).fill(0)];
const v6 = (...words: number[]): number[] => words.flatMap((word) => [word >> 8, word & 255]);

describe('typed accessors', () => {
  it('read sockets of both families', async () => {
    const host = await start([{ bytes: module('typed') }]);
    const socket = (fields: Parameters<typeof socketPayload>[0], type: number = ArgumentType.sock) => [
      { type, payload: socketPayload(fields) },
    ];
    const { labels } = await judge(
      host,
      hookBatch(
        socket({
          family: 2,
          protocol: 6,
          destinationPort: 443,
          destinationAddress: v4(10, 1, 2, 255),
          sourceAddress: v4(192, 168, 0, 9),
          cookie: 77n,
          mark: 5,
        }),
        socket(
          {
            family: 10,
            protocol: 17,
            destinationAddress: v6(0x2001, 0xdb8, 0, 0, 1, 0, 0, 0xabc),
            sourceAddress: v6(0, 0, 0, 0, 0, 0, 0, 1),
          },
          ArgumentType.skb,
        ),
        socket(
          {
            family: 10,
            destinationAddress: v6(0x2001, 0xdb8, 0x8000, 0, 0, 0, 0, 0),
            sourceAddress: v6(0, 0, 0, 0, 0, 0, 0, 0),
          },
          ArgumentType.sockaddr,
        ),
        socket({
          family: 10,
          destinationAddress: v6(0, 0, 0, 0, 0, 0xffff, 0x0a00, 1),
          sourceAddress: v6(1, 2, 3, 4, 5, 6, 7, 8),
        }),
        socket({ family: 1 }),
      ),
    );
    expect(labels).toEqual([
      { a: '10.1.2.255', b: '192.168.0.9', c: '443', d: '77', e: 'tcp', f: 'private', g: 'in', h: '5' },
      { a: '2001:db8::1:0:0:abc', b: '::1', c: '0', d: '0', e: 'other', f: 'public', g: 'in', h: '0' },
      { a: '2001:db8:8000::', b: '::', c: '0', d: '0', e: 'other', f: 'public', g: 'out', h: '0' },
      {
        a: '::ffff:a00:1',
        b: '1:2:3:4:5:6:7:8',
        c: '0',
        d: '0',
        e: 'other',
        f: 'private',
        g: 'in',
        h: '0',
      },
      { a: '', b: '', c: '0', d: '0', e: 'other', f: 'public', g: 'out', h: '0' },
    ]);
  });

  it('read credentials, namespaces, BPF objects, perf events and modules', async () => {
    const host = await start([{ bytes: module('typed') }]);
    const { labels } = await judge(
      host,
      hookBatch(
        [
          {
            type: ArgumentType.cred,
            payload: credentialPayload({
              uid: 1000,
              fsgid: 9,
              capEffective: 8n,
              userNamespace: 4026531837,
            }),
          },
        ],
        [
          {
            type: ArgumentType.userNamespace,
            payload: struct(USER_NAMESPACE_ARGUMENT_BYTES, (view) =>
              writeUserNamespaceArgument(
                view,
                0,
                makeUserNamespaceArgument({ inode: 7, level: 2, owner: 3, group: 4 }),
              ),
            ),
          },
        ],
        [
          {
            type: ArgumentType.bpfProg,
            payload: bpfPayload({
              type: 5,
              maxEntries: 6,
              instructionCount: 7,
              name: padded('probe', 16),
            }),
          },
        ],
        [
          {
            type: ArgumentType.perfEvent,
            payload: struct(PERF_EVENT_ARGUMENT_BYTES, (view) =>
              writePerfEventArgument(
                view,
                0,
                makePerfEventArgument({
                  type: 6,
                  config: 8n,
                  probeOffset: 9n,
                  function: padded('do_exit', 64),
                }),
              ),
            ),
          },
        ],
        [
          {
            type: ArgumentType.module,
            payload: struct(MODULE_ARGUMENT_BYTES, (view) =>
              writeModuleArgument(
                view,
                0,
                makeModuleArgument({ signatureOk: 2, tainted: 4n, name: padded('m'.repeat(64), 64) }),
              ),
            ),
          },
        ],
      ),
    );
    expect(labels).toEqual([
      { a: '1000', b: '9', c: '8', d: '4026531837', e: 'yes' },
      { a: '7', b: '2', c: '3', d: '4' },
      { a: 'probe', b: '5', c: '6', d: '7' },
      { a: 'do_exit', b: '6', c: '8', d: '9' },
      { a: 'm'.repeat(64), b: '2', c: '4' },
    ]);
  });

  it('answer 0 or nothing for another type, and for a payload that is too short', async () => {
    const host = await start([{ bytes: module('typed') }]);
    const nothing = { a: '0', b: '', c: '0', d: '-1', e: '-1', f: '-1', g: '0', h: 'other' };
    const { labels } = await judge(
      host,
      hookBatch(
        [],
        [{ type: ArgumentType.int32, value: -5n }],
        [{ type: ArgumentType.file, value: 0o100644n, payload: '/etc/passwd' }],
        [{ type: ArgumentType.fd, value: 3n, payload: '/x' }],
        [{ type: ArgumentType.capability, value: 21n }],
        [{ type: ArgumentType.syscall64, value: (1n << 32n) | 11n }],
        [{ type: ArgumentType.charBuf, payload: 'bytes' }],
        [{ type: ArgumentType.cred, payload: new Uint8Array(8).fill(255) }],
      ),
    );
    expect(labels).toEqual([
      nothing,
      { ...nothing, a: '-5' },
      { ...nothing, a: '33188', b: '/etc/passwd', c: '33188', h: 'path' },
      { ...nothing, a: '3', b: '/x', f: '3', h: 'path' },
      { ...nothing, a: '21', d: '21' },
      { ...nothing, a: '4294967307', e: '11', h: 'compat' },
      { ...nothing, b: 'bytes', h: 'text' },
      { a: '0', b: '0', c: '0', d: '0', e: 'no' },
    ]);
  });

  it('read the hash of the file that an LSM hook is about', async () => {
    const host = await start([{ bytes: module('typed') }]);
    const writer = new BatchWriter();
    const digest = Uint8Array.from({ length: 64 }, (_, index) => 100 + index);
    const arguments_ = [{ type: ArgumentType.file, payload: '/bin/true' }];
    for (const algorithm of [4, 2, 6, 99]) {
      const imaHash = { algorithm, digest };
      writer.event({ kind: EventKind.lsm, pid: 1, arguments: arguments_, imaHash });
    }
    writer.event({ kind: EventKind.lsm, pid: 1, arguments: arguments_ });
    const { labels } = await judge(host, writer.finish());
    expect(labels).toEqual([
      { a: '4', b: '32', c: '100', d: '131' },
      { a: '2', b: '20', c: '100', d: '119' },
      { a: '6', b: '64', c: '100', d: '163' },
      { a: '99', b: '64', c: '100', d: '163' },
      { a: '-1', b: '0', c: '0', d: '0' },
    ]);
  });

  it('read what events of other kinds tell', async () => {
    const host = await start([{ bytes: module('typed') }]);
    const writer = new BatchWriter({ node: 'n', nodeLabels: { zone: 'eu-1' } });
    const grandparent = writer.process({ pid: 1, startNs: 1n, binary: '/init' });
    const process = writer.process({
      pid: 9,
      startNs: 2n,
      parentIndex: grandparent,
      binary: '/memfd:x',
      environment: ['PATH=/bin', 'HOME=/root'],
      suid: 12,
      capEffective: 1n << 21n,
      execFlags: ExecFlag.memfd,
      namespacePid: 4,
    });
    writer.event({ kind: EventKind.exec, pid: 9, process, parent: grandparent });
    writer.event({ kind: EventKind.clone, pid: 9, namespacePid: 6 });
    writer.event({ kind: EventKind.loss, pid: 0, stage: LossStage.spoolFull, count: 1n << 40n });
    writer.event({
      kind: EventKind.throttle,
      pid: 0,
      type: 2,
      scope: 3,
      heldBack: 8n,
      cgroupName: 'pod1',
      policyName: 'p',
    });
    writer.event({ kind: EventKind.tamper, pid: 0, message: 'a map was changed' });
    const { labels } = await judge(host, writer.finish());
    expect(labels).toEqual([
      { a: '/root', b: '12', c: 'admin', d: '/init', e: 'eu-1', f: '0', g: 'memfd', h: '4' },
      { a: '6' },
      { a: '5', b: '1099511627776' },
      { a: 'stop', b: '8', c: 'pod1', d: 'p', e: '3' },
      { a: 'a map was changed' },
    ]);
  });
});

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

type Step = [operation: string, key: number, time?: number];

function stateBatch(steps: readonly Step[]): Uint8Array {
  return hookBatch(
    ...steps.map(([operation, key, time = 0]) => [
      { type: ArgumentType.string, payload: operation },
      { type: ArgumentType.uint64, value: BigInt(key) },
      { type: ArgumentType.uint64, value: BigInt(time) },
    ]),
  );
}

describe('state', () => {
  const answers = async (host: FilterHost, steps: readonly Step[]): Promise<number[]> =>
    (await judge(host, stateBatch(steps))).labels.map((one) => Number(one.answer));
  const seed = Number(process.env.WEIR_SEED ?? 20260301);

  it(`counts as a plain model does, windows included (seed ${seed})`, async () => {
    const host = await start([{ bytes: module('state') }]);
    const next = random(seed);
    const model = new Map<number, { begun: number; count: number }>();
    const steps: Step[] = [];
    const expected: number[] = [];
    for (let time = 1; steps.length < 3000; time += next(40)) {
      const key = 1 + next(100);
      const entry = model.get(key);
      const over = entry === undefined || time - entry.begun > 1000;
      if (next(3) === 0) {
        steps.push(['ask', key, time]);
        expected.push(over ? 0 : entry.count);
        continue;
      }
      if (over) model.set(key, { begun: time, count: 1 });
      else entry.count++;
      steps.push(['count', key, time]);
      expected.push(model.get(key)?.count ?? 0);
    }
    expect(await answers(host, steps)).toEqual(expected);
  });

  it(`keeps values, and forgets what was used least where it is full (seed ${seed})`, async () => {
    const host = await start([{ bytes: module('state') }]);
    expect(
      await answers(host, [
        ['get', 5],
        ['set', 5, 9],
        ['set', 5, 10],
        ['get', 5],
        ['delete', 5],
        ['delete', 5],
        ['get', 5],
        ['add', 1],
        ['add', 1],
        ['has', 1],
        ['has', 2],
        ['add', 0],
        ['has', 0],
      ]),
    ).toEqual([7, 1, 0, 10, 1, 0, 7, 1, 0, 1, 0, 1, 1]);
    // 64 places: a key that is used all the time outlives thousands of others.
    const steps = Array.from({ length: 1500 }, (_, index): Step[] => [
      ['set', 1000 + index, index],
      ['get', 1],
    ]).flat();
    const got = await answers(host, [['set', 1, 42], ...steps]);
    expect(got.filter((_, index) => index > 0 && index % 2 === 0).every((value) => value === 42)).toBe(true);
    const present = await answers(
      host,
      Array.from({ length: 1500 }, (_, index): Step => ['get', 1000 + index]),
    );
    const kept = present.filter((value, index) => value === index && value !== 7).length;
    expect(kept).toBeGreaterThan(32);
    expect(kept).toBeLessThanOrEqual(64);
  });

  it('knows every key that it was told, and few others, until its half is full', async () => {
    const host = await start([{ bytes: module('state') }]);
    const keys = Array.from({ length: 1000 }, (_, index) => 1 + index * 7919);
    await answers(
      host,
      keys.map((key): Step => ['bloom', key]),
    );
    const known = await answers(
      host,
      keys.map((key): Step => ['known', key]),
    );
    expect(known.every((one) => one === 1)).toBe(true);
    const others = await answers(
      host,
      Array.from({ length: 4000 }, (_, index): Step => ['known', 3 + index * 7919]),
    );
    expect(others.filter((one) => one === 1).length).toBeLessThan(120);
  });

  it('forgets keys of a bloom filter after one to two windows', async () => {
    const host = await start([{ bytes: module('state') }]);
    expect(
      await answers(host, [
        ['recent', 1, 10],
        ['recent', 1, 900],
        ['recent', 1, 1500],
        ['recent', 1, 1501],
        ['recent', 2, 9000],
        ['recent', 1, 9001],
      ]),
    ).toEqual([1, 0, 0, 0, 1, 1]);
  });

  it('is handed over to the next version, and not to one that does not know it', async () => {
    const host = await start([{ bytes: module('state') }]);
    await answers(host, [
      ['count', 3, 5],
      ['count', 3, 6],
      ['set', 4, 44],
      ['add', 5],
      ['bloom', 6],
      ['recent', 7, 8],
    ]);
    const { bytes } = await buildFilter({
      source: join(fixtures, 'state'),
      outFile: join(folder, 'next.wasm'),
      memoryBytesMax: 3 * 1024 * 1024,
    });
    await host.setFilters([{ bytes }]);
    expect(
      await answers(host, [
        ['count', 3, 7],
        ['get', 4],
        ['has', 5],
        ['known', 6],
        ['recent', 7, 9],
      ]),
    ).toEqual([3, 44, 1, 1, 1]);
    expect(reports).toContainEqual(
      expect.objectContaining({ type: 'log', text: 'took over the state of version 1.0.0' }),
    );
  });
});

describe('a configuration', () => {
  const event = (): Uint8Array => {
    const writer = new BatchWriter();
    const process = writer.process({ pid: 1, startNs: 1n, binary: 'b' });
    writer.event({ kind: EventKind.exec, pid: 1, process });
    return writer.finish();
  };

  it('is typed; what is not given stays as the filter has it', async () => {
    const host = await start([{ bytes: module('configured'), config: '{}' }]);
    const defaults = { a: '5', b: '500', c: 'off', d: 'none', e: '1', f: 'not', g: '1', h: '0' };
    expect((await judge(host, event())).labels[0]).toEqual(defaults);
    await host.setFilters([
      {
        bytes: module('configured'),
        config:
          ' {"limit":17,"share":2.5e-1,"on":true,"word":"\\u00fc\\ud83d\\ude00\\"","window":"5m","grave":"high","words":["x","b"],"networks":["fd00::/8","10.0.0.1"],"part":{"inner":3}} ',
      },
    ]);
    const { labels, records } = await judge(host, event());
    expect(labels[0]).toEqual({
      a: '17',
      b: '250',
      c: 'on',
      d: 'ü\u{1f600}"',
      e: '300000000000',
      f: 'listed',
      g: '2',
      h: '3',
    });
    expect(records[0]?.annotation?.severity).toBe('high');
  });

  it.each([
    ['{"limit":0}', 'limit must be a whole number from 1 to 100; it is 0'],
    ['{"limit":1.5}', 'limit must be a whole number from 1 to 100; it is 1.5'],
    ['{"limit":"x"}', 'limit must be a whole number from 1 to 100; it is "x"'],
    ['{"limit":null}', 'limit must be a whole number from 1 to 100; it is null'],
    ['{"share":2}', 'share must be a number from 0.0 to 1.0; it is 2'],
    ['{"on":1}', 'on must be true or false; it is 1'],
    ['{"word":[]}', 'word must be a string; it is a list'],
    ['{"window":"5"}', 'window must be a time such as'],
    ['{"grave":"dire"}', 'grave must be none, info, low, medium, high or critical; it is "dire"'],
    ['{"words":["a",1]}', 'words[1] must be a string; it is 1'],
    ['{"networks":["10.0.0.0/33"]}', 'networks[0] must be a network such as 10.0.0.0/8; it is "10.0.0.0/33"'],
    ['{"part":{"inner":-1}}', 'part.inner must be a whole number from 0'],
    ['{"part":{"outer":1}}', 'part.outer is no field that this filter knows'],
    ['{"limitt":1}', 'limitt is no field that this filter knows'],
    ['{"limit":13}', '13 is not for this filter'],
    ['[]', 'the configuration must be an object; it is a list'],
    ['{"a":1,}', 'the configuration needs a name in double quotes at byte 7'],
    ['{"a":1', 'the configuration needs a comma or a closing brace at byte 6'],
    ['{"a":01}', 'the configuration is no number'],
    ['{"a":"\u0001"}', 'has a control character in a string'],
    ['{"a":"\\x"}', 'has an escape that is none'],
    ['{"a":tru}', 'the configuration is no JSON at byte 5'],
    ['{"a":1}x', 'goes on after its end'],
    ['{"a":1,"a":2}', 'has two fields of the name a'],
    [`${'['.repeat(40)}`, 'is nested more than 16 deep'],
    ['', 'ends too early'],
  ])('is refused: %s', async (config, reason) => {
    await expect(start([{ bytes: module('configured'), config }])).rejects.toThrow(
      expect.objectContaining({ message: expect.stringContaining(reason) }),
    );
  });

  it.each([
    '10.0.0.0/8',
    '0.0.0.0/0',
    '255.255.255.255',
    '::',
    '::1/128',
    'fe80::/10',
    '1:2:3:4:5:6:7:8',
    '1::8',
    '1:2:3:4:5:6:7::',
    '::ffff:10.0.0.1',
    'FD00::A/8',
  ])('takes the network %s', async (network) => {
    await start([{ bytes: module('configured'), config: JSON.stringify({ networks: [network] }) }]);
  });

  it.each([
    '',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.0/',
    '10.0.0.0/x',
    '1.2.3.4.5',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    '::/129',
    '1:',
    'g::',
    '::1 ',
  ])('refuses what is no network: %s', async (network) => {
    await expect(
      start([{ bytes: module('configured'), config: JSON.stringify({ networks: [network] }) }]),
    ).rejects.toThrow(/networks\[0\] must be a network/);
  });

  it('of an exact network matches no other address', async () => {
    const host = await start([{ bytes: module('typed') }]);
    const at = (...address: number[]) => [
      { type: ArgumentType.sock, payload: socketPayload({ family: 2, destinationAddress: v4(...address) }) },
    ];
    const { labels } = await judge(
      host,
      hookBatch(at(10, 0, 0, 0), at(10, 255, 255, 255), at(11, 0, 0, 0), at(9, 255, 255, 255)),
    );
    expect(labels.map((one) => one.g)).toEqual(['in', 'in', 'out', 'out']);
  });
});

describe('log lines', () => {
  it('are limited by event time, and those left out are counted', async () => {
    const host = await start([{ bytes: module('configured') }], { logLinesMax: 1000 });
    const writer = new BatchWriter();
    const process = writer.process({ pid: 1, startNs: 1n, binary: '/bin/a' });
    for (let index = 0; index < 50; index++) {
      writer.event({ kind: EventKind.exit, pid: 1, process, timeNs: BigInt(1000 + index) });
    }
    writer.event({ kind: EventKind.exit, pid: 1, process, timeNs: 20_000_000_000n });
    await judge(host, writer.finish());
    const lines = reports.flatMap((report) => (report.type === 'log' ? [report.text] : []));
    expect(lines).toHaveLength(18);
    expect(lines[0]).toBe('exited /bin/a');
    expect(lines[16]).toBe('34 lines were left out');
  });
});

describe('labels of an earlier filter', () => {
  it('are shown to one that reads them, and what it drops is gone', async () => {
    const host = await start([
      { bytes: module('configured'), config: '{"word":"first","grave":"low"}' },
      { bytes: module('reader') },
    ]);
    const writer = new BatchWriter();
    for (let index = 0; index < 300; index++) {
      writer.event({ kind: index % 3 === 0 ? EventKind.exit : EventKind.exec, pid: 1 });
    }
    const { labels, verdicts } = await judge(host, writer.finish());
    expect(verdicts.every((one) => one === 0)).toBe(true);
    expect(labels.map((one) => one.seen)).toEqual(
      Array.from({ length: 300 }, (_, index) => (index % 3 === 0 ? '' : 'first')),
    );
  });

  it('leave no trace on what is dropped', async () => {
    const host = await start([
      { bytes: module('configured'), config: '{"grave":"critical"}' },
      { bytes: module('reader') },
    ]);
    const writer = new BatchWriter();
    writer.event({ kind: EventKind.exec, pid: 1 });
    writer.event({ kind: EventKind.exit, pid: 1 });
    const { records, verdicts } = await judge(host, writer.finish());
    expect(verdicts).toEqual([1, 0]);
    expect(records[0]?.annotation).toBeUndefined();
    expect(records[1]?.annotation?.severity).toBe('info');
  });
});

describe('a message', () => {
  it('that is said again and again takes no more room than once', async () => {
    const budget = { fuelPerEvent: 10_000_000, averageFuel: 100_000_000, averageNs: 100_000_000 };
    const host = await start([{ bytes: module('messages') }], budget);
    const { records } = await judge(
      host,
      hookBatch(...[1n, 60n, 2n].map((value) => [{ type: ArgumentType.uint64, value }])),
    );
    expect(records.map((record) => record.annotation?.error)).toEqual([false, false, false]);
    for (const { annotation } of records) expect(annotation?.message).toBe('x'.repeat(512));
  });

  it('does not write over those of the alerts of its event', async () => {
    const host = await start([{ bytes: module('messages') }]);
    const { records, text } = await judge(host, hookBatch([{ type: ArgumentType.uint64, value: -2n }]));
    expect(records[0]?.annotation?.message).toBe('é'.repeat(256));
    expect(text).toContain('b'.repeat(512));
    expect(text).not.toContain('b'.repeat(513));
    expect(text).not.toContain('a literal first');
    expect(text).toContain('a literal');
  });
});

describe('a redactor', () => {
  const text = (payload: string) => ({ type: ArgumentType.string, payload });
  function batch(...arguments_: string[][]): Uint8Array {
    const writer = new BatchWriter();
    const parent = writer.process({ pid: 1, startNs: 1n, binary: '/bin/p', arguments: ['pp', 'qq'] });
    const process = writer.process({
      pid: 2,
      startNs: 2n,
      parentIndex: parent,
      binary: '/bin/a',
      arguments: ['one', 'two'],
    });
    for (const list of arguments_) {
      writer.event({ kind: EventKind.kprobe, pid: 2, process, parent, arguments: list.map(text) });
    }
    return writer.finish();
  }
  const seen = (record: DecodedRecord | undefined) => ({
    hook: record?.hook?.arguments.map((one) => one.text),
    process: record?.process?.arguments,
    parent: record?.parent?.arguments,
  });

  it('has pieces, whole arguments, and ancestors masked in place', async () => {
    const host = await start([{ bytes: module('redactor') }]);
    const piece = await judge(host, batch(['piece', 'abcdef'], ['second', 'secret']));
    expect(seen(piece.records[0])).toEqual({
      hook: ['piece', 'a*def'],
      process: ['one', 'two'],
      parent: ['pp', 'qq'],
    });
    expect(seen(piece.records[1]).hook).toEqual(['second', '*']);
    expect(piece.records[1]?.hook?.arguments[1]?.flags).toContain('redacted');
    expect(piece.text).not.toContain('secret');
    const whole = await judge(host, batch(['arguments', 'x']));
    expect(seen(whole.records[0])).toEqual({
      hook: ['arguments', 'x'],
      process: ['*', '*'],
      parent: ['pp', 'qq'],
    });
    expect(seen((await judge(host, batch(['parent', 'x']))).records[0]).parent).toEqual(['*', '*']);
  });

  it('has the record of an exec masked like the process', async () => {
    const host = await start([{ bytes: module('redactor') }]);
    const writer = new BatchWriter();
    const process = writer.process({ pid: 2, startNs: 2n, binary: '/bin/a', arguments: ['-p', 'hunter2'] });
    writer.event({ kind: EventKind.exec, pid: 2, process, binary: '/bin/a', arguments: ['-p', 'hunter2'] });
    // Cut elsewhere: nothing in it can be placed, so all of it is masked.
    const other = writer.process({ pid: 3, startNs: 2n, binary: '/bin/a', arguments: ['-p', 'hunter3'] });
    writer.event({
      kind: EventKind.exec,
      pid: 3,
      process: other,
      binary: '/bin/a',
      arguments: ['-p', 'hunter'],
    });
    const { records, text: all } = await judge(host, writer.finish());
    expect(records[0]?.process?.arguments).toEqual(['-p', '*']);
    expect(records[0]?.exec?.arguments).toEqual(['-p', '*']);
    expect(records[1]?.exec?.arguments).toEqual(['*', '*']);
    for (const record of records) {
      expect(record.process?.flags).toContain('redacted');
    }
    expect(all).not.toContain('hunter');
  });

  it('that traps has all masked that its manifest names, on that event only', async () => {
    const host = await start([{ bytes: module('redactor') }]);
    const { records } = await judge(host, batch(['x', 'keep'], ['trap', 'secret'], ['x', 'keep']));
    expect(records[0]?.hook?.arguments.map((one) => one.text)).toEqual(['x', 'keep']);
    expect(seen(records[1])).toEqual({
      hook: ['*', '*'],
      process: ['*', '*'],
      parent: ['*', '*'],
    });
    expect(records[1]?.annotation?.error).toBe(true);
    expect(records[2]?.hook?.arguments.map((one) => one.text)).toEqual(['x', 'keep']);
  });

  it('that names a field which it does not declare fails on that event, and is quarantined in time', async () => {
    const host = await start([{ bytes: module('redactor') }]);
    const masked = { hook: ['*', '*'], process: ['*', '*'], parent: ['*', '*'] };
    const { records } = await judge(host, batch(['x', 'keep'], ['binary', 'secret']));
    expect(records[0]?.hook?.arguments.map((one) => one.text)).toEqual(['x', 'keep']);
    expect(seen(records[1])).toEqual(masked);
    expect(records[1]?.annotation?.labels['filter.redactor.error']).toMatch(
      /are in no field of record 1 that its manifest redacts \(process\.arguments, arguments\)/,
    );
    // The fifteenth more within a minute ends it: then all is masked.
    await judge(host, batch(...Array.from({ length: 15 }, () => ['binary', 'secret'])));
    expect(host.status()[0]?.quarantine?.code).toBe('traps');
    const later = await judge(host, batch(['second', 'secret']));
    expect(seen(later.records[0])).toEqual(masked);
    expect(later.verdicts).toEqual([0]);
  });

  it('is heard before the filters after it see the event', async () => {
    const host = await start([{ bytes: module('redactor') }, { bytes: module('typed') }]);
    const { labels } = await judge(host, batch(['first'], ['x']));
    expect(labels.map((one) => one.b)).toEqual(['*', 'x']);
  });

  it('tells of two secrets of unlike length the same', async () => {
    const host = await start([{ bytes: module('redactor') }]);
    const shown = async (secret: string) =>
      (await judge(host, batch(['second', secret]))).records.map((record) => {
        const { originalLength, text, flags } = record.hook?.arguments[1] ?? {};
        return { originalLength, text, flags };
      });
    expect(await shown('x')).toEqual(await shown('correct horse battery staple'));
  });

  it('masks pieces of more events than the SDK has room for', async () => {
    const host = await start([{ bytes: module('redactor') }]);
    const { records } = await judge(host, batch(...Array.from({ length: 200 }, () => ['many', 'abc'])));
    expect(records.every((record) => record.hook?.arguments[1]?.text === '*c')).toBe(true);
  });
});
