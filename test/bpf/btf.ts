// SPDX-License-Identifier: Apache-2.0
// Reads the structs of a compiled eBPF object from its BTF section: names, sizes, members with their offsets. Only
// what the comparison of layouts needs, and only 64-bit little-endian objects.

import { sections, text } from './elf.js';

export interface BtfStruct {
  readonly name: string;
  readonly bytes: number;
  readonly members: readonly { readonly name: string; readonly offset: number }[];
}

/** Bytes that follow the twelve of a type, by its kind: fixed ones, and those of each of its `vlen` entries. */
const tails: Readonly<Record<number, readonly [fixed: number, each: number]>> = {
  1: [4, 0], // int
  2: [0, 0], // pointer
  3: [12, 0], // array
  4: [0, 12], // struct
  5: [0, 12], // union
  6: [0, 8], // enum
  7: [0, 0], // forward
  8: [0, 0], // typedef
  9: [0, 0], // volatile
  10: [0, 0], // const
  11: [0, 0], // restrict
  12: [0, 0], // function
  13: [0, 8], // prototype
  14: [4, 0], // variable
  15: [0, 12], // section
  16: [0, 0], // float
  17: [4, 0], // declaration tag
  18: [0, 0], // type tag
  19: [0, 12], // enum64
};

export function readStructs(object: Buffer): BtfStruct[] {
  const btf = sections(object).find(({ name }) => name === '.BTF')?.bytes;
  if (btf === undefined) throw new Error('there is no section .BTF');
  if (btf.readUInt16LE(0) !== 0xeb9f) throw new Error('the section .BTF has no BTF');
  const headerBytes = btf.readUInt32LE(4);
  const types = btf.subarray(headerBytes + btf.readUInt32LE(8)).subarray(0, btf.readUInt32LE(12));
  const strings = btf.subarray(headerBytes + btf.readUInt32LE(16)).subarray(0, btf.readUInt32LE(20));
  const structs: BtfStruct[] = [];
  for (let at = 0; at < types.length; ) {
    const info = types.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 31;
    const count = info & 0xffff;
    const isBitfieldKind = info >>> 31 === 1;
    const tail = tails[kind];
    if (tail === undefined) throw new Error(`BTF kind ${kind} is unknown`);
    if (kind === 4) {
      const members = Array.from({ length: count }, (_, index) => {
        const member = at + 12 + index * 12;
        const bits = types.readUInt32LE(member + 8);
        return {
          name: text(strings, types.readUInt32LE(member)),
          offset: (isBitfieldKind ? bits & 0xffffff : bits) / 8,
        };
      });
      structs.push({
        name: text(strings, types.readUInt32LE(at)),
        bytes: types.readUInt32LE(at + 8),
        members,
      });
    }
    at += 12 + tail[0] + tail[1] * count;
  }
  return structs;
}
