// SPDX-License-Identifier: Apache-2.0
// Owns the small language in which binary layouts are written down. A layout is a list of fields with their
// types; offsets follow from natural alignment, and a gap that alignment would leave is refused, so that every
// byte of a struct has a name and C, TypeScript and AssemblyScript cannot disagree about padding.

/** A scalar type of a field, in the words of C's stdint. All numbers are little-endian. */
export type Scalar = 'u8' | 'u16' | 'u32' | 'u64' | 'i32' | 'i64';

/** Width of each scalar in bytes. */
export const scalarBytes: Record<Scalar, number> = { u8: 1, u16: 2, u32: 4, u64: 8, i32: 4, i64: 8 };

/**
 * The type of a field: a scalar, an array of scalars or of structs, or a `span`: two u32, the offset in bytes of a run of
 * bytes and its length. A span of length 0 has offset 0. What the offset counts from is said by the struct.
 */
export type FieldType =
  | Scalar
  | 'span'
  | { readonly array: Scalar; readonly count: number }
  | { readonly struct: Layout; readonly count: number };

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly doc: string;
}

export interface PlacedField extends Field {
  readonly offset: number;
  readonly bytes: number;
}

export interface Layout {
  readonly name: string;
  readonly doc: string;
  readonly fields: readonly PlacedField[];
  /** Size in bytes, always a multiple of 8. */
  readonly byteLength: number;
}

export interface Enumeration {
  readonly name: string;
  readonly doc: string;
  readonly values: readonly { readonly name: string; readonly value: number; readonly doc: string }[];
}

export function field(name: string, type: FieldType, doc: string): Field {
  return { name, type, doc };
}

function bytesOf(type: FieldType): { bytes: number; align: number } {
  if (type === 'span') return { bytes: 8, align: 4 };
  if (typeof type === 'string') return { bytes: scalarBytes[type], align: scalarBytes[type] };
  if ('struct' in type) return { bytes: type.struct.byteLength * type.count, align: 8 };
  return { bytes: scalarBytes[type.array] * type.count, align: scalarBytes[type.array] };
}

/**
 * Places fields one after the other.
 * @throws {Error} where a field would not fall on its natural alignment, or the size is no multiple of 8.
 */
export function layout(name: string, doc: string, fields: readonly Field[]): Layout {
  let offset = 0;
  const placed: PlacedField[] = [];
  const seen = new Set<string>();
  for (const entry of fields) {
    const { bytes, align } = bytesOf(entry.type);
    if (offset % align !== 0) {
      throw new Error(
        `${name}.${entry.name} would fall on offset ${offset}: put a field that fills the gap before it`,
      );
    }
    if (seen.has(entry.name)) throw new Error(`${name}.${entry.name} is defined twice`);
    seen.add(entry.name);
    placed.push({ ...entry, offset, bytes });
    offset += bytes;
  }
  if (offset % 8 !== 0) throw new Error(`${name} has ${offset} bytes: fill it up to a multiple of 8`);
  return { name, doc, fields: placed, byteLength: offset };
}

export function enumeration(
  name: string,
  doc: string,
  values: Record<string, readonly [number, string]>,
): Enumeration {
  return {
    name,
    doc,
    values: Object.entries(values).map(([key, [value, text]]) => ({ name: key, value, doc: text })),
  };
}
