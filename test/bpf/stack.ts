// SPDX-License-Identifier: Apache-2.0
// How much stack the functions of a compiled eBPF object use, and what their calls add up to. The kernel has 512 bytes
// for a program with all that it calls; a function that is handed to bpf_loop counts as one that is called.

import { sections, text } from './elf.js';

/** Of a program with all that it calls. */
export const stackBytesMax = 512;
/** To what the kernel rounds each function's part. */
const roundBytes = 32;

const instructionBytes = 8;
const framePointer = 10;
const class32 = { ldx: 1, st: 2, stx: 3, jump: 5, alu64: 7 } as const;
const call = 0x85;
const loadAddress = 0x18;
const ofThisProgram = 1;
/** add and mov of 64 bits, from a constant and from a register. */
const [addConstant, moveRegister] = [0x07, 0xbf];
const functionSymbol = 2;
const sectionSymbol = 3;

interface BpfFunction {
  readonly name: string;
  readonly section: number;
  readonly at: number;
  readonly size: number;
}

export interface Chain {
  readonly functions: readonly string[];
  readonly bytes: number;
}

/** The deepest byte below the frame pointer that instructions reach or take the address of. */
function ownBytes(code: Buffer): number {
  let deepest = 0;
  let copied = -1;
  for (let at = 0; at < code.length; at += instructionBytes) {
    const operation = code.readUInt8(at);
    const [destination, source] = [code.readUInt8(at + 1) & 15, code.readUInt8(at + 1) >> 4];
    const kind = operation & 7;
    const base = kind === class32.ldx ? source : destination;
    if (operation === addConstant && destination === copied)
      deepest = Math.max(deepest, -code.readInt32LE(at + 4));
    else if (base === framePointer && (kind === class32.ldx || kind === class32.st || kind === class32.stx))
      deepest = Math.max(deepest, -code.readInt16LE(at + 2));
    copied = operation === moveRegister && source === framePointer ? destination : -1;
    if (operation === loadAddress) at += instructionBytes;
  }
  return deepest;
}

/** Of each program (a function that no other calls) the chain of calls that takes most stack, the deepest first. */
export function stackChains(object: Buffer): Chain[] {
  const all = sections(object);
  const bytesOf = (name: string) => all.find((section) => section.name === name)?.bytes ?? Buffer.alloc(0);
  const [table, strings] = [bytesOf('.symtab'), bytesOf('.strtab')];
  const symbols = Array.from({ length: table.length / 24 }, (_, n) => {
    const at = 24 * n;
    return {
      name: text(strings, table.readUInt32LE(at)),
      type: table.readUInt8(at + 4) & 15,
      section: table.readUInt16LE(at + 6),
      at: Number(table.readBigUInt64LE(at + 8)),
      size: Number(table.readBigUInt64LE(at + 16)),
    };
  });
  const functions: BpfFunction[] = symbols.filter(({ type }) => type === functionSymbol);
  const functionAt = (section: number, at: number) =>
    functions.find((one) => one.section === section && one.at <= at && at < one.at + one.size);
  const callees = new Map<BpfFunction, Set<BpfFunction>>(functions.map((one) => [one, new Set()]));
  const link = (from: BpfFunction | undefined, to: BpfFunction | undefined) => {
    if (from !== undefined && to !== undefined) callees.get(from)?.add(to);
  };

  const relocated = new Set<string>();
  for (const { name, bytes, info: section } of all) {
    const code = all[section]?.bytes;
    if (!name.startsWith('.rel') || /^\.rel\.(BTF|debug)/.test(name) || code === undefined) continue;
    for (let entry = 0; entry < bytes.length; entry += 16) {
      const at = Number(bytes.readBigUInt64LE(entry));
      const symbol = symbols[bytes.readUInt32LE(entry + 12)];
      if (symbol === undefined) continue;
      relocated.add(`${section} ${at}`);
      const value = code.readInt32LE(at + 4);
      const ofSection = code.readUInt8(at) === call ? (value + 1) * instructionBytes : value;
      link(
        functionAt(section, at),
        functionAt(symbol.section, symbol.type === sectionSymbol ? ofSection : symbol.at),
      );
    }
  }
  for (const one of functions) {
    const code = all[one.section]?.bytes ?? Buffer.alloc(0);
    for (let at = one.at; at < one.at + one.size; at += instructionBytes) {
      const isCall = code.readUInt8(at) === call && code.readUInt8(at + 1) >> 4 === ofThisProgram;
      if (isCall && !relocated.has(`${one.section} ${at}`))
        link(one, functionAt(one.section, at + instructionBytes * (1 + code.readInt32LE(at + 4))));
    }
  }

  const known = new Map<BpfFunction, Chain>();
  const deepest = (one: BpfFunction): Chain => {
    const found = known.get(one);
    if (found !== undefined) return found;
    const code = all[one.section]?.bytes.subarray(one.at, one.at + one.size) ?? Buffer.alloc(0);
    const own = Math.ceil(Math.max(ownBytes(code), 1) / roundBytes) * roundBytes;
    let below: Chain = { functions: [], bytes: 0 };
    for (const callee of callees.get(one) ?? []) {
      const chain = deepest(callee);
      if (chain.bytes > below.bytes) below = chain;
    }
    const chain = {
      functions: [`${one.name} ${ownBytes(code)}`, ...below.functions],
      bytes: own + below.bytes,
    };
    known.set(one, chain);
    return chain;
  };
  const called = new Set([...callees.values()].flatMap((ofOne) => [...ofOne]));
  return functions
    .filter((one) => !called.has(one))
    .map(deepest)
    .sort((a, b) => b.bytes - a.bytes);
}
