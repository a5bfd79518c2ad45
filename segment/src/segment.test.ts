// SPDX-License-Identifier: Apache-2.0
// A segment holds what it was made of; a lie, a bomb or a change is refused; a chain with a piece out shows it.
import { createHash } from 'node:crypto';
import { brotliCompressSync, constants } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { chainPosition, verifyChain } from './chain.js';
import { SegmentError } from './error.js';
import { describeBatch, random } from './fixtures.js';
import { frameParts, readWholeFrames } from './frame.js';
import { CHAIN_START, readSegment, readSegmentHeader, sealSegment } from './segment.js';

const chainId = 'ab'.repeat(16);

async function seal(sequence: bigint, previous = CHAIN_START, batches = 2): Promise<Uint8Array> {
  const parts = Array.from({ length: batches }, (_, i) => {
    const batch = describeBatch({ seed: Number(sequence) * 100 + i, records: 30 });
    return Buffer.concat(frameParts(batch, Uint8Array.from([i, 1, 2])));
  });
  const raw = Buffer.concat(parts);
  const { frames } = readWholeFrames(raw);
  return (await sealSegment({ agentId: 'agent-1', chainId, sequence, previous, raw, frames })).bytes;
}

function compress(bytes: Uint8Array): Uint8Array {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
}

/** The same bytes with a digest that fits them again: what a hostile agent can do. */
function resign(bytes: Uint8Array): Uint8Array {
  const end = bytes.length - 32;
  bytes.set(createHash('sha256').update(bytes.subarray(0, end)).digest(), end);
  return bytes;
}

function withBody(bytes: Uint8Array, body: Uint8Array, rawBytes: number): Uint8Array {
  const changed = new Uint8Array(192 + body.length + 32);
  changed.set(bytes.subarray(0, 192));
  changed.set(body, 192);
  const view = new DataView(changed.buffer);
  view.setBigUint64(48, BigInt(rawBytes), true);
  view.setBigUint64(56, BigInt(body.length), true);
  return resign(changed);
}

let sealed: Uint8Array;
beforeAll(async () => {
  sealed = await seal(3n, '12'.repeat(32));
});

describe('a segment', () => {
  test('holds batches, accounting and its place in the chain', () => {
    const { header, batches, accounting } = readSegment(sealed);
    expect(header).toMatchObject({ agentId: 'agent-1', chainId, sequence: 3n, previous: '12'.repeat(32) });
    expect(header.recordCount).toBe(60n);
    expect(header.firstTimeNs).toBeLessThan(header.lastTimeNs);
    expect(batches.map((batch) => batch.bytes)).toEqual([
      Buffer.from(describeBatch({ seed: 300, records: 30 })),
      Buffer.from(describeBatch({ seed: 301, records: 30 })),
    ]);
    expect(accounting.map((bytes) => [...bytes])).toEqual([
      [0, 1, 2],
      [1, 1, 2],
    ]);
  });

  test('may be empty', async () => {
    const { header, batches } = readSegment(await seal(0n, CHAIN_START, 0));
    expect([header.recordCount, header.rawBytes, batches.length]).toEqual([0n, 0, 0]);
  });

  test('is refused when any one byte is changed', () => {
    for (let at = 0; at < sealed.length; at += 7) {
      const changed = sealed.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      expect(() => readSegment(changed), `byte ${at}`).toThrow(SegmentError);
    }
  });

  test('is refused when cut', () => {
    for (let length = 0; length < sealed.length; length += 13) {
      expect(() => readSegment(sealed.subarray(0, length))).toThrow(SegmentError);
    }
  });

  test.each<[string, string, (bytes: Uint8Array) => Uint8Array]>([
    ['more raw bytes than the body has', 'header.raw_bytes', (b) => lie(b, 48, 60_000n)],
    ['fewer raw bytes than the body has', 'header.raw_bytes', (b) => lie(b, 48, 10n)],
    ['more raw bytes than are taken', 'header.raw_bytes', (b) => lie(b, 48, 1n << 40n)],
    ['a wrong count of records', 'header.record_count', (b) => lie(b, 32, 61n)],
    ['a wrong count of frames', 'header.frame_count', (b) => lie(b, 40, 1n)],
    ['a wrong first time', 'header.first_time', (b) => lie(b, 16, 5n)],
    ['a wrong last time', 'header.last_time', (b) => lie(b, 24, 5n)],
    ['a wrong boot id', 'header.boot_id', (b) => lie(b, 64, 5n)],
    ['no agent id', 'header.agent_id', (b) => resign(b.fill(0, 128, 192))],
    ['a body that is no stream', 'body', (b) => withBody(b, new Uint8Array(9).fill(0xff), 100)],
    ['a bomb', 'header.raw_bytes', (b) => withBody(b, compress(new Uint8Array(1 << 26)), 1000)],
    [
      'a bomb as large as is taken',
      'frames[0]',
      (b) => withBody(b, compress(new Uint8Array(1 << 26)), 1 << 26),
    ],
    [
      'bytes after the stream',
      'body',
      (b) => withBody(b, Buffer.concat([compress(new Uint8Array(8)), Buffer.from('x')]), 8),
    ],
  ])('is refused with %s, though its digest fits', (_name, where, change) => {
    try {
      readSegment(change(sealed.slice()));
    } catch (error) {
      expect(error).toBeInstanceOf(SegmentError);
      expect(error).toMatchObject({ where });
      return;
    }
    expect.unreachable('was let through');
  });

  function lie(bytes: Uint8Array, at: number, value: bigint): Uint8Array {
    const view = new DataView(bytes.buffer);
    if (at === 40) view.setUint32(at, Number(value), true);
    else view.setBigUint64(at, value, true);
    return resign(bytes);
  }

  test('fuzz: bodies changed before they are compressed are refused by name or read', () => {
    const seed = Number(process.env.WEIR_SEED ?? Date.now() % 2 ** 31);
    const next = random(seed);
    const batch = describeBatch({ seed, records: 20 });
    const rounds = Number(process.env.WEIR_FUZZ_ROUNDS ?? 600);
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const raw = Buffer.concat(frameParts(batch, new Uint8Array(5)));
      for (let change = next(3); change >= 0; change--) raw[next(raw.length)] = next(256);
      const bytes = sealed.slice();
      try {
        readSegment(withBody(bytes, compress(raw), raw.length));
      } catch (error) {
        if (!(error instanceof SegmentError))
          throw new Error(`seed ${seed}, round ${round}`, { cause: error });
        refused++;
      }
    }
    // The header of another segment never fits: the canary is that each is refused.
    expect(refused, `seed ${seed}`).toBe(rounds);
  });
});

describe('frames', () => {
  test('a file that is cut anywhere reads as the frames before the cut', () => {
    const parts = [1, 2, 3].map((seed) =>
      Buffer.concat(frameParts(describeBatch({ seed, records: 3 }), Uint8Array.from([seed]))),
    );
    const ends = [0, ...parts.map((_, i) => Buffer.concat(parts.slice(0, i + 1)).length)];
    const all = Buffer.concat(parts);
    for (let length = 0; length <= all.length; length++) {
      const { frames, byteLength } = readWholeFrames(all.subarray(0, length));
      const whole = ends.filter((end) => end <= length).length - 1;
      expect(frames.length).toBe(whole);
      expect(byteLength).toBe(ends[whole]);
    }
  });
});

describe('a chain', () => {
  async function chain(length: number): Promise<ReturnType<typeof readSegmentHeader>[]> {
    const links: ReturnType<typeof readSegmentHeader>[] = [];
    for (let i = 0; i < length; i++) {
      links.push(readSegmentHeader(await seal(BigInt(i), links.at(-1)?.digest ?? CHAIN_START, 1)));
    }
    return links;
  }

  test('is whole as it was made', async () => {
    expect(verifyChain(await chain(5))).toEqual([]);
  });

  test.each<[string, (links: ReturnType<typeof readSegmentHeader>[]) => unknown, object[]]>([
    ['the first removed', (l) => l.shift(), [{ sequence: 1n, position: 'gap', missing: [0n, 0n] }]],
    ['one removed', (l) => l.splice(2, 1), [{ sequence: 3n, position: 'gap', missing: [2n, 2n] }]],
    ['two removed', (l) => l.splice(1, 2), [{ sequence: 3n, position: 'gap', missing: [1n, 2n] }]],
    [
      'two swapped',
      (l) => l.splice(1, 2, ...l.slice(1, 3).reverse()),
      [{ position: 'gap' }, { position: 'fork' }, { position: 'gap' }],
    ],
    [
      'one changed',
      (l) => l.splice(2, 1, ...l.slice(2, 3).map((link) => ({ ...link, digest: 'ee'.repeat(32) }))),
      [{ sequence: 3n, position: 'fork' }],
    ],
  ])('shows %s', async (_name, change, breaks) => {
    const links = await chain(5);
    change(links);
    expect(verifyChain(links)).toMatchObject(breaks);
    expect(verifyChain(links)).toHaveLength(breaks.length);
  });

  test('tells a duplicate from a fork', async () => {
    const [first, second] = await chain(2);
    if (first === undefined || second === undefined) return expect.unreachable();
    expect(chainPosition(second, first)).toBe('next');
    expect(chainPosition(second, second)).toBe('duplicate');
    expect(chainPosition({ ...second, digest: 'ee'.repeat(32) }, second)).toBe('fork');
  });
});
