// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { ElfError, ElfFile, type FileReader } from './elf.js';
import type { UserPlace } from './places.js';
import { note, section, segment, symbol, writeElf } from './testing/elf.js';
import { locateUserPlace } from './user-locations.js';

function readerOf(bytes: Uint8Array): FileReader {
  return { bytes: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

const code = segment({ flags: 5, offset: 0x1000, address: 0x401000n, bytes: 0x1000 });
const data = segment({ flags: 6, offset: 0x2000, address: 0x602000n, bytes: 0x800 });

/** A program with functions, a name that is the end of another, and markers. */
function program(more: { readonly base?: bigint; readonly notes?: Uint8Array } = {}): Uint8Array {
  return writeElf(
    [code, data],
    [
      section('.strtab', {
        type: 3,
        body: Buffer.from('\0main\0user_add\0only_here\0twice\0data\0chosen\0'),
      }),
      section('.symtab', {
        type: 2,
        link: '.strtab',
        body: Buffer.concat([
          symbol({ name: 0, type: 0, section: 0, value: 0n }),
          symbol({ name: 1, type: 2, section: 1, value: 0x401100n }),
          symbol({ name: 6, type: 2, section: 1, value: 0x401200n }),
          // "add": the end of "user_add"
          symbol({ name: 11, type: 2, section: 1, value: 0x401300n }),
          symbol({ name: 15, type: 2, section: 0, value: 0n }),
          symbol({ name: 25, type: 2, section: 1, value: 0x401500n }),
          symbol({ name: 25, type: 2, section: 1, value: 0x401400n }),
          symbol({ name: 25, type: 2, section: 1, value: 0x401400n }),
          symbol({ name: 31, type: 1, section: 2, value: 0x602010n }),
          symbol({ name: 36, type: 10, section: 1, value: 0x401600n }),
        ]),
      }),
      section('.stapsdt.base', { type: 1, address: more.base ?? 0x401f00n, body: new Uint8Array(1) }),
      section('.note.stapsdt', {
        type: 7,
        body:
          more.notes ??
          Buffer.concat([
            note('weir', 'add', '-4@%edi 8@-8(%rbp)', { at: 0x401110n, base: 0x401f00n, counter: 0x602020n }),
            note('weir', 'add', '-4@%esi 8@$3', { at: 0x401120n, base: 0x401f00n, counter: 0n }),
            note('other', 'add', '', { at: 0x401130n, base: 0x401f00n, counter: 0n }),
            note('weir', 'nowhere', '', { at: 0x999999n, base: 0x401f00n, counter: 0n }),
          ]),
      }),
    ],
  );
}

const open = (bytes: Uint8Array) => new ElfFile(readerOf(bytes));

describe('ElfFile', () => {
  it.each([
    ['main', [0x1100]],
    ['user_add', [0x1200]],
    ['add', [0x1300]],
    ['twice', [0x1400, 0x1500]],
  ])('finds %s', (name, offsets) => {
    expect(open(program()).functions(name)).toEqual(offsets);
  });

  it.each([
    ['mai', /^has no function mai$/],
    ['', /^has no function /],
    ['only_here', /another library/],
    ['data', /it is no function/],
    ['chosen', /chosen among several/],
  ])('does not find %j, and says why', (name, message) => {
    expect(() => open(program()).functions(name)).toThrowError(message);
  });

  it('turns addresses into offsets, where the file has code for them', () => {
    const elf = open(program());
    expect([0x401000n, 0x401fffn].map((address) => elf.offsetOf(address))).toEqual([0x1000, 0x1fff]);
    expect([0n, 0x400fffn, 0x402000n, 0x602000n, 2n ** 64n - 1n].map((a) => elf.offsetOf(a))).toEqual(
      Array(5).fill(undefined),
    );
    expect([0xfff, 0x1000, 0x1fff, 0x2000].map((offset) => elf.isCode(offset))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect([0x1fff, 0x2000, 0x27fe, 0x27ff].map((offset) => elf.isCounter(offset))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it('reads markers, moved as far as the linker has moved the code', () => {
    expect(open(program()).markers()).toEqual([
      {
        provider: 'weir',
        name: 'add',
        offset: 0x1110,
        counterOffset: 0x2020,
        arguments: '-4@%edi 8@-8(%rbp)',
      },
      { provider: 'weir', name: 'add', offset: 0x1120, counterOffset: 0, arguments: '-4@%esi 8@$3' },
      { provider: 'other', name: 'add', offset: 0x1130, counterOffset: 0, arguments: '' },
    ]);
    const moved = open(program({ base: 0x401f10n })).markers();
    expect(moved.map(({ offset }) => offset)).toEqual([0x1120, 0x1130, 0x1140]);
  });

  it.each([
    ['nothing', new Uint8Array(0), /is no program/],
    ['text', Buffer.from(`#!/bin/sh\n${'#'.repeat(100)}`), /is no program/],
    ['another machine', edited((view) => view.setUint16(18, 183, true)), /64-bit x86/],
    ['32 bits', edited((view) => view.setUint8(4, 1)), /64-bit x86/],
    ['segments beyond the end', edited((view) => view.setBigUint64(32, 2n ** 63n, true)), /damaged/],
    ['sections beyond the end', edited((view) => view.setBigUint64(40, 2n ** 64n - 1n, true)), /damaged/],
    ['segments of another size', edited((view) => view.setUint16(54, 1, true)), /damaged/],
    ['a cut file', program().subarray(0, 0x900), /damaged/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => open(bytes)).toThrowError(message);
    expect(() => open(bytes)).toThrowError(ElfError);
  });

  it('refuses markers that lie about their lengths', () => {
    const lying = note('weir', 'add', '', { at: 0x401110n, base: 0n, counter: 0n });
    new DataView(lying.buffer, lying.byteOffset).setUint32(4, 0xffff_fff0, true);
    expect(() => open(program({ notes: lying })).markers()).toThrowError(/damaged/);
  });

  it('ends, with an answer or an ElfError, whatever bytes are changed', () => {
    const whole = program();
    let seed = 20_261_124;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = whole.slice(0, random(4) === 0 ? random(whole.length) : whole.length);
      for (let n = random(6); n >= 0 && bytes.length > 0; n--) {
        // Where the numbers are: the header, and what follows the segments.
        const at =
          random(2) === 0 ? random(64 + 2 * 56) : 0x2800 + random(Math.max(1, bytes.length - 0x2800));
        if (at < bytes.length) bytes[at] = [0, 0x7f, 0xff, random(256)][random(4)] as number;
      }
      try {
        const elf = open(bytes);
        for (const name of ['main', 'add']) elf.functions(name);
        elf.markers();
      } catch (error) {
        if (!(error instanceof ElfError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
    expect(refused).toBeLessThan(3000);
  });
});

function edited(edit: (view: DataView) => void): Uint8Array {
  const bytes = program();
  edit(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  return bytes;
}

describe('locateUserPlace', () => {
  const at = (place: object, digest = () => '') =>
    locateUserPlace(
      { kind: 'function', path: '/x', counterOffset: 0n, digests: [], ...place } as UserPlace,
      readerOf(program()),
      digest,
    );

  it('finds a function by symbol, offset and address, with its arguments in registers', () => {
    for (const place of [{ symbol: 'main' }, { offset: 0x1100n }, { address: 0x401100n }]) {
      const [only, ...others] = at(place);
      expect(others).toEqual([]);
      expect(only).toMatchObject({ offset: 0x1100, counterOffset: 0 });
      expect(only?.arguments).toHaveLength(6);
    }
    expect(at({ symbol: 'main', counterOffset: 0x2020n })[0]?.counterOffset).toBe(0x2020);
    expect(at({ symbol: 'main+0x10' })[0]?.offset).toBe(0x1110);
    expect(at({ symbol: 'main+3' })[0]?.offset).toBe(0x1103);
  });

  it('finds every place of a marker, each with its own arguments', () => {
    const places = at({ kind: 'marker', provider: 'weir', name: 'add' });
    expect(places.map(({ offset, counterOffset }) => [offset, counterOffset])).toEqual([
      [0x1110, 0x2020],
      [0x1120, 0],
    ]);
    expect(places.map((place) => place.arguments[0])).toMatchObject([{ register: 112 }, { register: 104 }]);
  });

  it.each([
    [/no function none/, 'missing', { symbol: 'none' }],
    [/no code at the offset 0x10/, 'missing', { offset: 0x10n }],
    [/no code at main\+0xfffff/, 'missing', { symbol: 'main+0xfffff' }],
    [/no function none$/, 'missing', { symbol: 'none+4' }],
    [/no code at the address 0x10/, 'missing', { address: 0x10n }],
    [/of the counter/, 'unreadable', { symbol: 'main', counterOffset: 0x1100n }],
    [/digest ff/, 'digest', { symbol: 'main', digests: ['00'] }],
    [/has the markers weir:add, other:add/, 'missing', { kind: 'marker', provider: 'weir', name: 'none' }],
  ])('says what is wrong: %s', (message, code, place) => {
    const act = () => at(place, () => 'ff');
    expect(act).toThrowError(message);
    try {
      act();
    } catch (error) {
      expect((error as ElfError).code).toBe(code);
    }
  });

  it('takes a file of one of the digests', () => {
    expect(at({ symbol: 'main', digests: ['00', 'ff'] }, () => 'ff')).toHaveLength(1);
  });
});
