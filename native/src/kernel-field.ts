// SPDX-License-Identifier: Apache-2.0
// Owns the shape of what the types of the running kernel tell of a field.

export interface KernelType {
  readonly kind: 'integer' | 'boolean' | 'enumeration' | 'pointer' | 'array' | 'struct' | 'union' | 'other';
  /** As C spells it. */
  readonly name: string;
  /** Of structs and unions the name without typedefs; empty where they have none. */
  readonly tag: string;
  readonly size: number;
  readonly isSigned: boolean;
}

/** A field, and the way to it from the address of the object that the walk begins at. */
export interface KernelField {
  /** What to add to the address, and whether what lies there is the next address. None: the start itself. */
  readonly steps: readonly { readonly offset: number; readonly follows: boolean }[];
  readonly type: KernelType;
  /** Of a pointer what it points to, of an array one element. */
  readonly target?: KernelType;
  /** Of a bit-field its place in the bytes at its address; `bits` is 0 elsewhere. */
  readonly bitOffset: number;
  readonly bits: number;
}
