// SPDX-License-Identifier: Apache-2.0
// Owns what the worker's filters write while they take their turns, a byte a record, and reading it four at a time.

/** What filters write while they take their turns, one after the other: all share it. A byte a record, or four a word. */
export interface Scratch {
  /** What has been decided so far; see Judgement. */
  readonly judgements: Uint8Array;
  readonly judgementWords: Int32Array;
  /** A FilterMark for each record, of the filter whose turn it is. */
  readonly marks: Uint8Array;
  readonly markWords: Int32Array;
}

export function makeScratch(recordsMax: number): Scratch {
  const words = (recordsMax + 3) >> 2;
  const judgementWords = new Int32Array(words);
  const markWords = new Int32Array(words);
  return {
    judgements: new Uint8Array(judgementWords.buffer),
    judgementWords,
    marks: new Uint8Array(markWords.buffer),
    markWords,
  };
}

/** A bit for each byte of a word. */
export const EACH_BYTE = 0x01010101;

/** The bytes of a word, whose first is record `first`, that belong to the records `from` to `until`. */
export function within(first: number, from: number, until: number): number {
  let mask = -1;
  if (first < from) mask <<= (from - first) * 8;
  if (first + 4 > until) mask &= -1 >>> ((first + 4 - until) * 8);
  return mask;
}
