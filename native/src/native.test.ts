// SPDX-License-Identifier: Apache-2.0
// Runs the addon against this kernel: what it refuses, what each handle does in each state of its life, and that the
// ring reader loses and repeats nothing. Needs the rights to load tracing programs.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type BpfMap,
  type BpfProgram,
  bootId,
  clockOffsetNs,
  cloneProgram,
  copyRanges,
  createMap,
  enableProgramStats,
  kernelField,
  kernelFunction,
  lsmHook,
  NativeError,
  openMapById,
  openObject,
  possibleCpus,
  probe,
  RingReader,
  updateFlags,
  waitGracePeriod,
  whyNothingLoads,
} from '../dist/index.js';

const objectPath = fileURLToPath(new URL('../build/test/ring.bpf.o', import.meta.url));
const built = existsSync(objectPath);
const reason = built ? whyNothingLoads() : 'the objects are not built (make -C native)';
if (reason !== undefined) console.warn(`the tests of the addon do not run: ${reason}`);

const closers: { close(): void }[] = [];
function later<T extends { close(): void }>(handle: T): T {
  closers.push(handle);
  return handle;
}
afterEach(() => {
  for (const handle of closers.splice(0).reverse()) handle.close();
});

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof NativeError ? error.code : `other: ${error}`;
  }
  return 'none';
}

function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function u64(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}

interface Loaded {
  ring: BpfMap;
  counts: BpfMap;
  produce: BpfProgram;
}

function loadProducer(ringBytes: number): Loaded {
  const object = later(
    openObject({ path: objectPath, autoload: ['produce'], maxEntries: { ring: ringBytes } }).load(),
  );
  return {
    ring: later(object.map('ring')),
    counts: later(object.map('counts')),
    produce: later(object.program('produce')),
  };
}

function count(counts: BpfMap, index: number): number {
  const value = new Uint8Array(8);
  counts.lookup(u32(index), value);
  return Number(new DataView(value.buffer).getBigUint64(0, true));
}

function produce(program: BpfProgram, records: number, first: number, discardEvery = 0): void {
  program.testRun({ context: u32(records, first, discardEvery, 0) });
}

/** Checks one record of the producer in a buffer and returns its number. */
function check(target: Uint8Array, offset: number): number {
  const view = new DataView(target.buffer, target.byteOffset + offset);
  const number = view.getUint32(0, true);
  const length = 9 + (number % 241);
  if (view.getUint32(4, true) !== length) throw new Error(`record ${number} does not have its length`);
  for (let byte = 8; byte < Math.min(length, 16); byte++) {
    if (view.getUint8(byte) !== (number & 255))
      throw new Error(`record ${number} has a wrong byte at ${byte}`);
  }
  for (let byte = length; byte % 8 !== 0; byte++) {
    if (view.getUint8(byte) !== 0) throw new Error(`record ${number} is followed by what is not its own`);
  }
  return number;
}

describe.skipIf(reason !== undefined)('addon', () => {
  describe('specialised programs', () => {
    const path = fileURLToPath(new URL('../build/test/constants.bpf.o', import.meta.url));

    it('do what the whole would, without what their constants make unreachable', () => {
      // Its own constants make all of it unreachable, so that the template loads too.
      const object = later(openObject({ path }).load());
      const template = later(object.program('choose'));
      const results = (rodata: Record<string, Uint8Array>) =>
        [0, 1, 3].map((given) => {
          const program = cloneProgram(template, { rodata });
          const returned = program.testRun({ context: u32(given) });
          program.close();
          return returned - given * 65536;
        });
      const numbers = Uint8Array.of(1, 2, 4, 8);
      expect(results({})).toEqual([0, 0, 0]);
      expect(results({ uses_loop: u32(3) })).toEqual([0, 0, 3]);
      expect(results({ uses_called: u32(6) })).toEqual([0, 0, 0]);
      expect(results({ uses_called: u32(7) })).toEqual([0, 10, 30]);
      expect(results({ uses_called: u32(7), lowest: u32(2 ** 32 - 5) })).toEqual([5, 15, 35]);
      expect(results({ uses_called: u32(7), lowest: u32(5) })).toEqual([0, 10, 30]);
      expect(results({ uses_callback: u64(1n << 39n), numbers })).toEqual([0, 0, 0]);
      expect(results({ uses_callback: u64(1n << 40n), numbers })).toEqual([15, 15, 15]);
      expect(
        results({ uses_loop: u32(9), uses_called: u32(7), uses_callback: u64(1n << 63n), numbers }),
      ).toEqual([15, 25, 48]);
    });

    it('have what their constants leave reachable, and are refused for it where the kernel knows it not', () => {
      const template = later(later(openObject({ path }).load()).program('choose'));
      const clone = (rodata: Record<string, Uint8Array>) =>
        codeOf(() => later(cloneProgram(template, { rodata })));
      // In the second function, of a call; in the third, handed over to be called.
      expect(clone({ uses_unknown: u32(1) })).toBe('PROGRAM_LOAD_FAILED');
      expect(clone({ uses_unknown: u32(2) })).toBe('none');
      expect(clone({ uses_unknown: u32(2), uses_called: u32(7) })).toBe('PROGRAM_LOAD_FAILED');
      expect(clone({ uses_unknown: u32(4) })).toBe('none');
      expect(clone({ uses_unknown: u32(4), uses_callback: u64(1n << 40n) })).toBe('PROGRAM_LOAD_FAILED');
      const whole = { path, rodata: { uses_unknown: u32(1) } };
      expect(codeOf(() => later(openObject(whole)).load())).toBe('OBJECT_LOAD_FAILED');
    });

    it('come of templates that the kernel has not seen themselves', () => {
      const whole = { path, rodata: { uses_unknown: u32(1) }, autoload: [] };
      expect(codeOf(() => openObject({ ...whole, templates: ['nothing'] }))).toBe('NOT_FOUND');
      const object = later(openObject({ ...whole, templates: ['choose'] }).load());
      const template = later(object.program('choose'));
      expect(codeOf(() => template.attach())).toBe('ATTACH_FAILED');
      expect(codeOf(() => cloneProgram(template))).toBe('PROGRAM_LOAD_FAILED');
      const program = later(
        cloneProgram(template, { rodata: { uses_unknown: u32(0), uses_called: u32(7) } }),
      );
      expect(program.testRun({ context: u32(3) })).toBe(30 + 3 * 65536);
    });
  });

  describe('object', () => {
    it('refuses a file that is no object, an unknown map, an unknown constant and a wrong length', () => {
      expect(codeOf(() => openObject({ path: '/nowhere.bpf.o' }))).toBe('OBJECT_OPEN_FAILED');
      expect(codeOf(() => openObject({ path: '/proc/self/status' }))).toBe('OBJECT_OPEN_FAILED');
      expect(codeOf(() => openObject({ path: objectPath, maxEntries: { nomap: 1 } }))).toBe('NOT_FOUND');
      expect(codeOf(() => openObject({ path: objectPath, maxEntries: { ring: 0 } }))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => openObject({ path: objectPath, rodata: { nothing: u32(1) } }))).toBe('NOT_FOUND');
      expect(codeOf(() => openObject({ path: objectPath, rodata: { mark: u64(1n) } }))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => openObject({ path: objectPath, autoload: ['nothing'] }))).toBe('NOT_FOUND');
    });

    it('says why the verifier refuses a program', () => {
      const object = later(openObject({ path: objectPath, autoload: ['refused'] }));
      try {
        object.load();
        expect.unreachable();
      } catch (error) {
        const refusal = error as NativeError;
        expect(refusal.code).toBe('OBJECT_LOAD_FAILED');
        expect(refusal.errnoName).toBe('EACCES');
        expect(refusal.log).toContain('invalid mem access');
      }
      expect(codeOf(() => object.load())).toBe('BAD_STATE');
      expect(codeOf(() => object.map('ring'))).toBe('BAD_STATE');
    });

    it('offers what its state allows and nothing more', () => {
      const object = openObject({ path: objectPath, autoload: ['produce'] });
      const states: [string, () => unknown][] = [
        ['load', () => object.load()],
        ['map', () => object.map('counts').close()],
        ['program', () => object.program('produce').close()],
        ['mapNames', () => object.mapNames()],
        ['programNames', () => object.programNames()],
      ];
      const matrix = (names: string[]) =>
        Object.fromEntries(
          states.filter(([name]) => names.includes(name)).map(([name, call]) => [name, codeOf(call)]),
        );
      expect(matrix(['map', 'program', 'mapNames'])).toEqual({
        map: 'BAD_STATE',
        program: 'BAD_STATE',
        mapNames: 'none',
      });
      object.load();
      expect(matrix(['load', 'map', 'program', 'mapNames', 'programNames'])).toEqual({
        load: 'BAD_STATE',
        map: 'none',
        program: 'none',
        mapNames: 'none',
        programNames: 'none',
      });
      expect(codeOf(() => object.map('nothing'))).toBe('NOT_FOUND');
      expect(codeOf(() => object.program('refused'))).toBe('NOT_FOUND');
      object.close();
      object.close();
      expect(Object.values(matrix(states.map(([name]) => name)))).toEqual(states.map(() => 'BAD_STATE'));
    });

    it('gives handles that outlive it', () => {
      const object = openObject({ path: objectPath, autoload: ['produce'] }).load();
      const counts = later(object.map('counts'));
      const program = later(object.program('produce'));
      object.close();
      produce(program, 3, 0);
      expect(count(counts, 0)).toBe(3);
    });

    it('shares maps with another object', () => {
      const first = later(openObject({ path: objectPath, autoload: ['produce'] }).load());
      const counts = later(first.map('counts'));
      const second = later(
        openObject({ path: objectPath, autoload: ['produce'], reuseMaps: { counts } }).load(),
      );
      const program = later(second.program('produce'));
      produce(program, 2, 0);
      expect(count(counts, 0)).toBe(2);
      expect(later(second.map('counts')).id).toBe(counts.id);
    });
  });

  describe('map', () => {
    it('reads, writes, walks and deletes', () => {
      const map = later(createMap({ type: 'hash', name: 'test', keySize: 4, valueSize: 8, maxEntries: 16 }));
      const value = new Uint8Array(8);
      expect(map.lookup(u32(1), value)).toBe(false);
      map.updateBatch(u32(1, 2, 3), new Uint8Array([...u64(10n), ...u64(20n), ...u64(30n)]), 3);
      map.update(u32(4), u64(40n), updateFlags.noExist);
      expect(codeOf(() => map.update(u32(4), u64(41n), updateFlags.noExist))).toBe('MAP_ACCESS_FAILED');
      expect(map.lookup(u32(2), value)).toBe(true);
      expect(value).toEqual(u64(20n));
      const keys: number[] = [];
      map.forEachKey((key) => {
        keys.push(key[0] ?? 0);
        map.delete(key);
      });
      expect(keys.sort()).toEqual([1, 2, 3, 4]);
      expect(map.delete(u32(1))).toBe(false);
    });

    it('opens a map that is held elsewhere, by its id', () => {
      const map = later(createMap({ type: 'hash', name: 'test', keySize: 4, valueSize: 8, maxEntries: 16 }));
      map.update(u32(1), u64(7n));
      const value = new Uint8Array(8);
      expect(later(openMapById(map.id)).lookup(u32(1), value)).toBe(true);
      expect(value).toEqual(u64(7n));
      expect(codeOf(() => openMapById(0xffffff))).toBe('NOT_FOUND');
    });

    it('refuses keys and values of a wrong length, in its wrapper and below it', () => {
      const map = later(createMap({ type: 'hash', name: 'test', keySize: 4, valueSize: 8, maxEntries: 16 }));
      expect(codeOf(() => map.lookup(u64(1n), new Uint8Array(8)))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => map.lookup(u32(1), new Uint8Array(7)))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => map.update(u32(1), u32(1)))).toBe('BAD_ARGUMENT');
      expect(() => map.raw().lookup(new Uint8Array(3), new Uint8Array(8))).toThrow('3 bytes');
      expect(() => map.raw().update(u32(1), new Uint8Array(1), 0)).toThrow('1 bytes');
      expect(() => map.raw().lookup('key' as never, new Uint8Array(8))).toThrow('Uint8Array');
    });

    it('holds maps in a map, a value for each CPU, and prefixes', () => {
      const inner = later(
        createMap({ type: 'array', name: 'inner', keySize: 4, valueSize: 8, maxEntries: 1 }),
      );
      const outer = later(
        createMap({ type: 'arrayOfMaps', name: 'outer', keySize: 4, valueSize: 4, maxEntries: 2, inner }),
      );
      outer.update(u32(1), u32(inner.fd));
      const id = new Uint8Array(4);
      expect(outer.lookup(u32(1), id)).toBe(true);
      expect(id).toEqual(u32(inner.id));

      const perCpu = later(
        createMap({ type: 'percpuArray', name: 'percpu', keySize: 4, valueSize: 8, maxEntries: 1 }),
      );
      const values = new Uint8Array(perCpu.valueBytes);
      values.set(u64(5n));
      perCpu.update(u32(0), values);
      expect(perCpu.lookupPerCpu(u32(0))).toHaveLength(possibleCpus());
      expect(perCpu.lookupPerCpu(u32(0))?.[0]).toEqual(u64(5n));

      const trie = later(
        createMap({ type: 'lpmTrie', name: 'trie', keySize: 8, valueSize: 4, maxEntries: 8, flags: 1 }),
      );
      trie.updateBatch(new Uint8Array([...u32(8), 47, 0, 0, 0]), u32(9), 1);
      const found = new Uint8Array(4);
      expect(trie.lookup(new Uint8Array([...u32(32), 47, 1, 2, 3]), found)).toBe(true);
      expect(found).toEqual(u32(9));
    });

    it('refuses every method once closed', () => {
      const map = createMap({ type: 'hash', name: 'test', keySize: 4, valueSize: 8, maxEntries: 16 });
      const below = map.raw();
      map.close();
      map.close();
      const calls = [
        () => map.lookup(u32(1), new Uint8Array(8)),
        () => map.update(u32(1), u64(1n)),
        () => map.updateBatch(u32(1), u64(1n), 1),
        () => map.delete(u32(1)),
        () => map.forEachKey(() => {}),
        () => map.freeze(),
        () => map.pin('/sys/fs/bpf/x'),
        () => map.fd,
        () => map.id,
      ];
      expect(calls.map(codeOf)).toEqual(calls.map(() => 'BAD_STATE'));
      expect(() => below.lookup(u32(1), new Uint8Array(8))).toThrow('closed');
    });
  });

  describe('program', () => {
    it('counts, clones with constants of its own, and stops when its link closes', () => {
      const object = later(openObject({ path: objectPath, autoload: ['counter'] }).load());
      const counts = later(object.map('counts'));
      const marks = later(object.map('marks'));
      const template = later(object.program('counter'));
      const clone = later(cloneProgram(template, { rodata: { mark: u32(9), rounds: u32(2) }, name: 'nine' }));
      using stats = enableProgramStats();
      const link = clone.attach();
      execFileSync('/bin/true');
      link.close();
      const ran = count(counts, 3);
      expect(ran).toBeGreaterThan(0);
      const value = new Uint8Array(8);
      expect(marks.lookup(u32(9), value)).toBe(true);
      expect(value).toEqual(u64(19n)); // 9 + 0, then 9 + 1
      expect(marks.lookup(u32(7), value)).toBe(false);
      expect(clone.stats().runCount).toBe(BigInt(ran));
      execFileSync('/bin/true');
      expect(count(counts, 3)).toBe(ran);
      void stats;
    });

    it('clones with maps of its own, and knows programs that lie in one by their ids', () => {
      const object = later(openObject({ path: objectPath, autoload: ['produce', 'raw_counter'] }).load());
      const template = later(object.program('produce'));
      const own = later(createMap({ type: 'array', name: 'own', keySize: 4, valueSize: 8, maxEntries: 4 }));
      produce(later(cloneProgram(template, { maps: { counts: own } })), 2, 0);
      produce(template, 1, 0);
      expect([count(own, 0), count(later(object.map('counts')), 0)]).toEqual([2, 1]);
      expect(codeOf(() => cloneProgram(template, { maps: { nothing: own } }))).toBe('NOT_FOUND');

      const programs = later(
        createMap({ type: 'progArray', name: 'programs', keySize: 4, valueSize: 4, maxEntries: 2 }),
      );
      const counter = later(object.program('raw_counter'));
      programs.update(u32(0), u32(counter.fd));
      const id = new Uint8Array(4);
      expect(programs.lookup(u32(0), id)).toBe(true);
      expect(id).toEqual(u32(counter.id));
      expect(codeOf(() => programs.update(u32(1), u32(template.fd)))).toBe('MAP_ACCESS_FAILED');
      expect([programs.delete(u32(0)), programs.delete(u32(0))]).toEqual([true, false]);
    });

    it('refuses clones that cannot be', () => {
      const object = later(openObject({ path: objectPath, autoload: ['counter', 'produce'] }).load());
      const template = later(object.program('counter'));
      expect(codeOf(() => cloneProgram(template, { rodata: { nothing: u32(1) } }))).toBe('NOT_FOUND');
      expect(codeOf(() => cloneProgram(template, { rodata: { mark: u64(1n) } }))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => cloneProgram(template, { rodata: new Uint8Array(3) }))).toBe('BAD_ARGUMENT');
      expect(
        codeOf(() =>
          cloneProgram(template, { attachTarget: 'no_such_function', expectedAttachType: 'fentry' }),
        ),
      ).toBe('NOT_FOUND');
      object.close();
      expect(codeOf(() => cloneProgram(template))).toBe('BAD_STATE');
    });

    it('attaches raw tracepoints and tracepoints by name, and says what is not there', () => {
      const object = later(openObject({ path: objectPath, autoload: ['raw_counter'] }).load());
      const program = later(object.program('raw_counter'));
      program.attach().close();
      program.attach({ kind: 'raw_tp', name: 'sched_process_exec' }).close();
      expect(codeOf(() => program.attach({ kind: 'raw_tp', name: 'no_such_tracepoint' }))).toBe(
        'ATTACH_FAILED',
      );
      expect(codeOf(() => program.attach({ kind: 'nonsense' } as never))).toBe('BAD_ARGUMENT');
    });

    it('refuses every method once closed', () => {
      const { produce: program } = loadProducer(64 * 1024);
      program.close();
      program.close();
      const calls = [
        () => program.attach(),
        () => program.stats(),
        () => program.testRun(),
        () => program.pin('/sys/fs/bpf/x'),
        () => cloneProgram(program),
        () => program.fd,
        () => program.id,
      ];
      expect(calls.map(codeOf)).toEqual(calls.map(() => 'BAD_STATE'));
    });
  });

  describe('ring', () => {
    it.each([
      ['an ArrayBuffer', () => new Uint8Array(1 << 16)],
      ['a SharedArrayBuffer', () => new Uint8Array(new SharedArrayBuffer(1 << 16))],
    ])('reads 100,000 records through a ring that wraps, into %s, in order, none lost', (_, make) => {
      const { ring, counts, produce: program } = loadProducer(64 * 1024);
      const reader = later(new RingReader(ring, { onReady: () => {} }));
      const target = make();
      const offsets = new Uint32Array(1000);
      let next = 0;
      let discarded = 0;
      for (let first = 0; first < 100_000; first += 200) {
        produce(program, 200, first, 10);
        for (let more = true; more; ) {
          const drained = reader.drain(target, 0, offsets, 97);
          for (let index = 0; index < drained.records; index++) {
            const number = check(target, offsets[index] ?? 0);
            if (number !== next) throw new Error(`record ${number} where ${next} was due`);
            next++;
          }
          discarded += drained.discarded;
          more = drained.more;
          reader.commit(drained.position);
        }
      }
      expect(next).toBe(100_000);
      expect(count(counts, 0)).toBe(100_000);
      expect(count(counts, 1)).toBe(0);
      expect(discarded).toBe(count(counts, 2));
      expect(discarded).toBe(10_000);
      expect(reader.pendingBytes()).toBe(0);
    });

    it('gives room back at the commit and not before', () => {
      const { ring, counts, produce: program } = loadProducer(4096);
      const reader = later(new RingReader(ring, { onReady: () => {} }));
      const target = new Uint8Array(4096);
      const offsets = new Uint32Array(100);
      produce(program, 100, 0);
      const written = count(counts, 0);
      expect(written).toBeLessThan(100);
      const first = reader.drain(target, 0, offsets, 5);
      const second = reader.drain(target, first.bytes, offsets, 100);
      expect(first.records + second.records).toBe(written);
      expect(reader.unreadBytes()).toBe(0);
      expect(reader.pendingBytes()).toBeGreaterThan(3500);
      produce(program, 20, 200);
      expect(count(counts, 0)).toBe(written); // all read, none committed: no room
      reader.commit(first.position);
      produce(program, 1, 0);
      expect(count(counts, 0)).toBe(written + 1);
      expect(codeOf(() => reader.commit(first.position - 8))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => reader.commit(second.position + 8))).toBe('BAD_ARGUMENT');
      reader.commit(second.position);
      expect(check(target, 0)).toBe(0);
    });

    it('leaves what was not committed to the next reader', () => {
      const { ring, produce: program } = loadProducer(64 * 1024);
      produce(program, 10, 0);
      const target = new Uint8Array(1 << 16);
      const offsets = new Uint32Array(100);
      const before = new RingReader(ring, { onReady: () => {} });
      const half = before.drain(target, 0, offsets, 4);
      before.commit(half.position);
      before.drain(target, 0, offsets, 100);
      before.close();
      const after = later(new RingReader(ring, { onReady: () => {} }));
      expect(after.drain(target, 0, offsets, 100).records).toBe(6);
      expect(check(target, offsets[0] ?? 0)).toBe(4);
    });

    it('says when a record fits no empty range', () => {
      const { ring, produce: program } = loadProducer(64 * 1024);
      produce(program, 1, 240); // 249 bytes
      const reader = later(new RingReader(ring, { onReady: () => {} }));
      const offsets = new Uint32Array(10);
      const drained = reader.drain(new Uint8Array(200), 0, offsets, 10);
      expect(drained).toMatchObject({ records: 0, more: true, oversizedBytes: 256 });
      expect(reader.drain(new Uint8Array(256), 0, offsets, 10).records).toBe(1);
    });

    it('calls when there is something, once until it is drained, and not when there is nothing', async () => {
      const { ring, produce: program } = loadProducer(64 * 1024);
      let calls = 0;
      let wake = () => {};
      const reader = later(
        new RingReader(ring, {
          pollIntervalMs: 1,
          onReady: () => {
            calls++;
            wake();
          },
        }),
      );
      const called = () => new Promise<void>((resolve) => (wake = resolve));
      const target = new Uint8Array(1 << 16);
      const offsets = new Uint32Array(1000);
      // Nothing is in the ring: ten turns of the thread and no call.
      const start = reader.wakeUps();
      while (reader.wakeUps() < start + 10) await new Promise((resolve) => setImmediate(resolve));
      expect(calls).toBe(0);
      for (let round = 1; round <= 3; round++) {
        const ready = called();
        produce(program, 5, 0);
        await ready;
        const turns = reader.wakeUps();
        while (reader.wakeUps() < turns + 5) await new Promise((resolve) => setImmediate(resolve));
        expect(calls).toBe(round);
        expect(reader.drain(target, 0, offsets, 1000).records).toBe(5);
      }
    });

    it('refuses every method once closed, and closes while its thread waits', () => {
      const { ring } = loadProducer(64 * 1024);
      for (let round = 0; round < 20; round++) {
        const reader = new RingReader(ring, { onReady: () => {}, pollIntervalMs: 10_000 });
        reader.close();
        reader.close();
        const calls = [
          () => reader.drain(new Uint8Array(8), 0, new Uint32Array(1), 1),
          () => reader.commit(0),
          () => reader.pendingBytes(),
          () => reader.unreadBytes(),
          () => reader.wakeUps(),
          () => reader.ref(),
          () => reader.unref(),
        ];
        expect(calls.map(codeOf)).toEqual(calls.map(() => 'BAD_STATE'));
      }
    });

    it('refuses what is no ring, no function, and arguments that do not fit', () => {
      const { ring, counts } = loadProducer(64 * 1024);
      expect(codeOf(() => new RingReader(counts, { onReady: () => {} }))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => new RingReader(ring, { onReady: 1 as never }))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => new RingReader(ring, { onReady: () => {}, pollIntervalMs: 0 }))).toBe(
        'BAD_ARGUMENT',
      );
      const reader = later(new RingReader(ring, { onReady: () => {} }));
      expect(codeOf(() => reader.drain(new Uint8Array(16), 4, new Uint32Array(1), 1))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => reader.drain(new Uint8Array(16), 24, new Uint32Array(1), 1))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => reader.drain(new Uint8Array(16), 0, new Uint32Array(1), 2))).toBe('BAD_ARGUMENT');
    });

    it('ends with its worker, closed or not, also while records keep coming', async () => {
      const source = `
        const { parentPort, workerData } = require('node:worker_threads');
        import(workerData.addon).then(({ openObject, RingReader }) => {
          const object = openObject({ path: workerData.path, autoload: ['produce'] }).load();
          const program = object.program('produce');
          const reader = new RingReader(object.map('ring'), {
            pollIntervalMs: 1,
            onReady: () => {
              const drained = reader.drain(new Uint8Array(1 << 16), 0, new Uint32Array(1000), 1000);
              reader.commit(drained.position);
              program.testRun({ context: new Uint8Array(Uint32Array.of(50, 0, 0, 0).buffer) });
              parentPort.postMessage(drained.records);
            },
          });
          program.testRun({ context: new Uint8Array(Uint32Array.of(50, 0, 0, 0).buffer) });
        });`;
      for (let round = 0; round < 5; round++) {
        const worker = new Worker(source, {
          eval: true,
          workerData: { addon: new URL('../dist/index.js', import.meta.url).href, path: objectPath },
        });
        await new Promise((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
        });
        expect(await worker.terminate()).toBe(1);
      }
    });
  });

  describe('memory', () => {
    it('copies runs, and refuses one that leaves its memory', () => {
      const source = Uint8Array.from({ length: 32 }, (_, index) => index);
      const target = new Uint8Array(new SharedArrayBuffer(16));
      copyRanges(target, source, Uint32Array.of(30, 0, 2, 4, 8, 3), 2);
      expect([...target]).toEqual([30, 31, 0, 0, 0, 0, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0]);
      expect(codeOf(() => copyRanges(target, source, Uint32Array.of(30, 0, 3), 1))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => copyRanges(target, source, Uint32Array.of(0, 15, 2), 1))).toBe('BAD_ARGUMENT');
      expect(codeOf(() => copyRanges(target, source, Uint32Array.of(0, 4294967295, 2), 1))).toBe(
        'BAD_ARGUMENT',
      );
      expect(codeOf(() => copyRanges(target, source, Uint32Array.of(0, 0, 1), 2))).toBe('BAD_ARGUMENT');
    });
  });

  describe('kernel', () => {
    it('knows functions, hooks, clocks, CPUs and the boot', async () => {
      expect(kernelFunction('security_file_open')).toMatchObject({
        returns: 'int',
        parameters: [{ name: 'file', type: 'struct file *' }],
      });
      expect(kernelFunction('no_such_function')).toBeUndefined();
      // The entry of a call without arguments has another name in the types; that of one with arguments has not.
      expect(kernelFunction('__x64_sys_getppid')?.parameters.map(({ type }) => type)).toEqual([
        'const struct pt_regs *',
      ]);
      expect(kernelFunction('__x64_sys_no_such_call')).toBeUndefined();
      expect(lsmHook('file_open')?.btfId).toBeGreaterThan(0);
      expect(possibleCpus()).toBeGreaterThan(0);
      expect(bootId()).toHaveLength(16);
      const toUnix = clockOffsetNs('boottime', 'realtime');
      const now = BigInt(Date.now()) * 1_000_000n;
      const uptime = now - toUnix;
      expect(uptime > 0n && uptime < 10n ** 18n).toBe(true);
      await waitGracePeriod();
    });

    it('finds fields by the types of the kernel', () => {
      const task = { type: 'task_struct' };
      const comm = kernelField({ functionName: 'security_bprm_check', parameter: 0 }, 'mm.owner.comm');
      if (typeof comm === 'string') throw new Error(comm);
      expect(comm.steps.map(({ follows }) => follows)).toEqual([true, true, false]);
      expect(comm.type).toMatchObject({ kind: 'array', size: 16 });
      expect(comm.target).toMatchObject({ kind: 'integer', size: 1 });
      // Through a pointer to a pointer, an array, a struct without a name; a bit-field.
      expect(
        kernelField({ functionName: 'security_inode_copy_up', parameter: 1 }, 'user.uid.val'),
      ).toMatchObject({
        type: { kind: 'integer', size: 4, isSigned: false },
      });
      const limits = [0, 3].map((n) => kernelField(task, `signal.rlim[${n}].rlim_cur`));
      const [first, fourth] = limits.map((field) =>
        typeof field === 'string' ? 0 : (field.steps[1]?.offset ?? 0),
      );
      expect((fourth ?? 0) - (first ?? 0)).toBe(3 * 16);
      expect(kernelField(task, 'in_execve')).toMatchObject({ bits: 1 });
      // A value of a raw tracepoint, of which the kernel's caller has the first.
      const exec = { tracepoint: 'sched_process_exec', value: 2 };
      expect(kernelField(exec, 'argc')).toMatchObject({ type: { kind: 'integer', size: 4, isSigned: true } });
      expect(kernelField({ ...exec, value: 3 }, '')).toMatch(/sched_process_exec has 3 values/);
      expect(kernelField({ tracepoint: 'no_such', value: 0 }, '')).toMatch(/no raw tracepoint no_such/);
      // The start itself.
      expect(kernelField({ functionName: 'security_task_kill', parameter: 2 }, '')).toMatchObject({
        steps: [],
        type: { kind: 'integer', name: 'int', isSigned: true },
      });
    });

    it.each([
      ['task_struct', '', 'com', /task_struct, which has no member com: nearest of its \d+ members: comm/],
      ['task_struct', '', 'comm[16]', /comm has 16 elements, counted from 0/],
      ['task_struct', '', 'comm.x', /comm is char \[\], which has no members/],
      ['task_struct', '', 'pid[0]', /which has no elements/],
      ['task_struct', '', 'comm..x', /is no path/],
      ['task_struct', '', 'comm.', /is no path/],
      ['task_struct', '', 'comm[x]', /is no path/],
      ['task_struct', '', 'comm[99999999999999999999]', /is no path/],
      ['task_struct', '../vmlinux', 'comm', /no types of a module/],
      ['no_such_type', '', 'comm', /no struct, union or typedef no_such_type/],
    ])('says why there is no field %s %s %s', (type, module, path, why) => {
      expect(kernelField({ type, module }, path)).toMatch(why);
    });

    it('says what can be done here, each refusal with a sentence', () => {
      const found = probe();
      expect(found.abilities.tpBtf).toEqual({ ok: true, reason: '', errno: 0 });
      for (const [name, ability] of Object.entries(found.abilities)) {
        expect(ability.ok || ability.reason.includes(' '), name).toBe(true);
        expect(ability.ok).toBe(ability.errno === 0);
      }
    });
  });
});
