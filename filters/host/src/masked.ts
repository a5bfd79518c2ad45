// SPDX-License-Identifier: Apache-2.0
// Owns one field of which something is masked: which bytes, and taking them out. Each run of masked bytes becomes one
// `*`, however long it was, so that a mask does not tell how long a secret is; the rest of the field moves up, and what
// is left over at its end becomes `*` too, since nobody's span ends there any more.

const STAR = 0x2a;

/** Where a field is: its bytes in the batch, and the struct that has its span. */
export interface Field {
  readonly at: number;
  readonly length: number;
  /** Of a process entry, an exec record, or an argument of a hook. */
  readonly kind: 'entry' | 'exec' | 'argument';
  /** Address of that struct. */
  readonly owner: number;
  /** Address of the span in it. */
  readonly spanAt: number;
}

export class MaskedField {
  readonly field: Field;
  /** Its length once it is collapsed. */
  length: number;
  readonly #marks: Uint8Array;
  /** Where each byte came to lie, counted from the field's beginning. */
  readonly #positions: Uint32Array;

  /** With the pieces of a shorter field that begins at the same place, where there is one. */
  constructor(field: Field, shorter?: MaskedField) {
    this.field = field;
    this.length = field.length;
    this.#marks = new Uint8Array(field.length);
    this.#positions = new Uint32Array(field.length);
    if (shorter !== undefined) this.#marks.set(shorter.#marks);
  }

  /** Takes note of a piece of the field, by its place in the batch. */
  add(from: number, length: number): void {
    this.#marks.fill(1, from - this.field.at, from - this.field.at + length);
  }

  /** Overwrites what is masked. In a list, the NUL between two entries stays. Comes before any field is collapsed. */
  overwrite(bytes: Uint8Array): void {
    const { at, length, kind } = this.field;
    for (let index = 0; index < length; index++) {
      if (this.#marks[index] === 1 && (kind === 'argument' || bytes[at + index] !== 0))
        bytes[at + index] = STAR;
    }
  }

  /** Takes out what was overwritten, but for one star a run. */
  collapse(bytes: Uint8Array): void {
    const { at, length } = this.field;
    let to = 0;
    let within = false;
    for (let index = 0; index < length; index++) {
      const byte = bytes[at + index] as number;
      const masked = this.#marks[index] === 1 && byte === STAR;
      if (masked && within) {
        this.#positions[index] = to - 1;
        continue;
      }
      this.#positions[index] = to;
      bytes[at + to++] = byte;
      within = masked;
    }
    bytes.fill(STAR, at + to, at + length);
    this.length = to;
  }

  /** Where a text within the field came to lie; undefined where it is not within. */
  moved(at: number, length: number): { at: number; length: number } | undefined {
    const start = at - this.field.at;
    const end = start + length;
    if (length === 0 || start < 0 || end > this.field.length) return undefined;
    const from = this.#positions[start] as number;
    return { at: this.field.at + from, length: (this.#positions[end - 1] as number) + 1 - from };
  }
}
