// SPDX-License-Identifier: Apache-2.0
// Owns the shape of terms: what a selector or a scope asks of one argument, or of one attribute of the process. How
// they become look-ups is in dimensions.ts.
import type { Network } from './addresses.js';
import type { HostNamespace, Lineage, WorkloadCondition } from './plan-types.js';

/** What a selector (or scope) asks of one argument (or attribute of the process). */
export type Term =
  | TextTerm
  | SubstringTerm
  | IntegerTerm
  | RangeTerm
  | BitsTerm
  | AddressTerm
  | SetTerm
  | WorkloadTerm;

export interface TextTerm {
  readonly kind: 'forward' | 'reverse';
  readonly argument: number;
  /** argument_part; the whole argument by default. */
  readonly part?: number;
  readonly negated: boolean;
  /** Values are ORed. Of `forward`: exact or a prefix; of `reverse`: a suffix. */
  readonly exact: boolean;
  readonly values: readonly Uint8Array[];
  readonly path: string;
}

/** A text that has at least one of the values in it. */
export interface SubstringTerm {
  readonly kind: 'substring' | 'substring-fold';
  readonly argument: number;
  readonly negated: false;
  /** Of `substring-fold` with the letters a to z in place of A to Z. */
  readonly values: readonly Uint8Array[];
  readonly path: string;
}

export interface IntegerTerm {
  readonly kind: 'integer';
  readonly argument: number;
  /** argument_part; the whole argument by default. */
  readonly part?: number;
  /** Of a part that compares two arguments: the other, which is read before. */
  readonly other?: number;
  readonly negated: boolean;
  readonly values: readonly (bigint | HostNamespace)[];
  readonly path: string;
}

/** A number that lies in one of the ranges, both ends included. */
export interface RangeTerm {
  readonly kind: 'range';
  readonly argument: number;
  readonly part?: number;
  readonly negated: boolean;
  /** Of order keys (`orderKey`); one whose end is below its beginning is empty. */
  readonly values: readonly (readonly [from: bigint, to: bigint])[];
  readonly path: string;
}

/** A number that has at least one of the bits; negated, none. */
export interface BitsTerm {
  readonly kind: 'bits';
  readonly argument: number;
  readonly negated: boolean;
  readonly values: readonly bigint[];
  readonly path: string;
}

/** A socket whose address is in one of the networks. */
export interface AddressTerm {
  readonly kind: 'address';
  readonly argument: number;
  readonly part: number;
  readonly negated: boolean;
  readonly values: readonly Network[];
  readonly path: string;
}

/** A set of numbers that has at least one of the values; negated, none. */
export interface SetTerm {
  readonly kind: 'set';
  readonly argument: number;
  readonly negated: boolean;
  readonly values: readonly (number | Lineage)[];
  readonly path: string;
}

/** A workload that all of the conditions mean. */
export interface WorkloadTerm {
  readonly kind: 'workload';
  readonly argument: number;
  readonly negated: false;
  readonly values: readonly WorkloadCondition[];
  readonly path: string;
}
