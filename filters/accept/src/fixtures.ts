// SPDX-License-Identifier: Apache-2.0
// Owns writing small modules byte by byte, for tests: valid ones, and such as no tool would make.

export type Bytes = readonly number[];

export function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const byte = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest === 0 ? byte : byte | 0x80);
  } while (rest !== 0);
  return bytes;
}

export function name(text: string): number[] {
  const bytes = [...new TextEncoder().encode(text)];
  return [...leb(bytes.length), ...bytes];
}

export function vector(items: readonly Bytes[]): number[] {
  return [...leb(items.length), ...items.flat()];
}

export function section(id: number, content: Bytes): number[] {
  return [id, ...leb(content.length), ...content];
}

export function custom(label: string, content: Bytes): number[] {
  return section(0, [...name(label), ...content]);
}

export const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
export const i32 = 0x7f;
export const end = 0x0b;

export function functionType(parameters: Bytes, results: Bytes): number[] {
  return [0x60, ...leb(parameters.length), ...parameters, ...leb(results.length), ...results];
}

export function body(instructions: Bytes, locals: Bytes = [0]): number[] {
  const content = [...locals, ...instructions, end];
  return [...leb(content.length), ...content];
}

export function exported(label: string, kind: number, index: number): number[] {
  return [...name(label), kind, ...leb(index)];
}

export const manifest = { abi: 1, name: 'tiny', version: '1.0.0' };

/** The sections of a module that is accepted. Types: 0 () -> i32, 1 (i32) -> i32, 2 (i32, i32, i32) -> (), 3 () -> (). */
export interface Parts {
  types: Bytes[];
  imports: Bytes[];
  functions: Bytes[];
  tables: Bytes[];
  memories: Bytes[];
  globals: Bytes[];
  exports: Bytes[];
  start: Bytes | undefined;
  elements: Bytes[];
  codes: Bytes[];
  data: Bytes[];
  manifest: unknown;
  before: Bytes;
  after: Bytes;
}

export function parts(): Parts {
  return {
    types: [
      functionType([], [i32]),
      functionType([i32], [i32]),
      functionType([i32, i32, i32], []),
      functionType([], []),
      functionType([i32, i32], [i32]),
    ],
    imports: [[...name('weir'), ...name('log'), 0, 2]],
    functions: [[0], [1], [1]],
    tables: [],
    memories: [[1, 1, 64]],
    globals: [],
    exports: [
      exported('memory', 2, 0),
      exported('weir_abi_version', 0, 1),
      exported('weir_reserve', 0, 2),
      exported('weir_filter', 0, 3),
    ],
    start: undefined,
    elements: [],
    codes: [body([0x41, 1]), body([0x41, 8]), body([0x41, 0])],
    data: [],
    manifest,
    before: [],
    after: [],
  };
}

export function assemble(from: Parts): Uint8Array {
  const some = (id: number, items: readonly Bytes[]) =>
    items.length === 0 ? [] : section(id, vector(items));
  return Uint8Array.from([
    ...magic,
    ...from.before,
    ...some(1, from.types),
    ...some(2, from.imports),
    ...some(3, from.functions),
    ...some(4, from.tables),
    ...some(5, from.memories),
    ...some(6, from.globals),
    ...some(7, from.exports),
    ...(from.start === undefined ? [] : section(8, from.start)),
    ...some(9, from.elements),
    ...some(10, from.codes),
    ...some(11, from.data),
    ...(from.manifest === undefined
      ? []
      : custom('weir.manifest', [...new TextEncoder().encode(JSON.stringify(from.manifest))])),
    ...from.after,
  ]);
}
