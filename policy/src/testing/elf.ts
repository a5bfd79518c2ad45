// SPDX-License-Identifier: Apache-2.0
// Owns the making of small programs (ELF) for tests: segments that are zeros, and sections with what is given.

export interface TestSegment {
  readonly flags: number;
  readonly offset: number;
  readonly address: bigint;
  readonly bytes: number;
}

export interface TestSection {
  readonly name: string;
  readonly type: number;
  readonly address?: bigint;
  readonly link?: string;
  readonly body: Uint8Array;
}

export function segment(given: TestSegment): TestSegment {
  return given;
}

export function section(name: string, given: Omit<TestSection, 'name'>): TestSection {
  return { name, ...given };
}

export function symbol(given: {
  readonly name: number;
  readonly type: number;
  readonly section: number;
  readonly value: bigint;
}): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, given.name, true);
  view.setUint8(4, given.type);
  view.setUint16(6, given.section, true);
  view.setBigUint64(8, given.value, true);
  return bytes;
}

/** A note of a marker, as sys/sdt.h writes it. */
export function note(
  provider: string,
  name: string,
  args: string,
  where: { readonly at: bigint; readonly base: bigint; readonly counter: bigint },
): Uint8Array {
  const texts = Buffer.from(`${provider}\0${name}\0${args}\0`, 'latin1');
  const bytes = new Uint8Array(12 + 8 + Math.ceil((24 + texts.length) / 4) * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 8, true);
  view.setUint32(4, 24 + texts.length, true);
  view.setUint32(8, 3, true);
  bytes.set(Buffer.from('stapsdt\0'), 12);
  view.setBigUint64(20, where.at, true);
  view.setBigUint64(28, where.base, true);
  view.setBigUint64(36, where.counter, true);
  bytes.set(texts, 44);
  return bytes;
}

/** A file with these segments, all of which are in it, and these sections behind them. */
export function writeElf(segments: readonly TestSegment[], sections: readonly TestSection[]): Uint8Array {
  const all: TestSection[] = [
    { name: '', type: 0, body: new Uint8Array(0) },
    ...sections,
    { name: '.shstrtab', type: 3, body: new Uint8Array(0) },
  ];
  const names = all.map(({ name }) => name);
  const table = Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');
  const bodies = all.map(({ name, body }) => (name === '.shstrtab' ? table : body));
  let end = Math.max(64 + 56 * segments.length, ...segments.map(({ offset, bytes }) => offset + bytes));
  const offsets = bodies.map((body) => {
    const at = end;
    end += Math.ceil(body.length / 8) * 8;
    return at;
  });
  const bytes = new Uint8Array(end + 64 * all.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(32, 64n, true);
  view.setBigUint64(40, BigInt(end), true);
  view.setUint16(54, 56, true);
  view.setUint16(56, segments.length, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, all.length, true);
  view.setUint16(62, all.length - 1, true);
  segments.forEach(({ flags, offset, address, bytes: size }, index) => {
    const at = 64 + 56 * index;
    view.setUint32(at, 1, true);
    view.setUint32(at + 4, flags, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 16, address, true);
    view.setBigUint64(at + 32, BigInt(size), true);
    view.setBigUint64(at + 40, BigInt(size), true);
  });
  all.forEach(({ name, type, address, link }, index) => {
    const at = end + 64 * index;
    const body = bodies[index] ?? new Uint8Array(0);
    bytes.set(body, offsets[index] ?? 0);
    view.setUint32(at, names.slice(0, index).join('\0').length + (index === 0 ? 0 : 1), true);
    view.setUint32(at + 4, type, true);
    view.setBigUint64(at + 16, address ?? 0n, true);
    view.setBigUint64(at + 24, BigInt(offsets[index] ?? 0), true);
    view.setBigUint64(at + 32, BigInt(body.length), true);
    view.setUint32(at + 40, link === undefined ? 0 : names.indexOf(link), true);
    if (names.indexOf(name) !== index) throw new Error(`two sections are called ${name}`);
  });
  return bytes;
}
