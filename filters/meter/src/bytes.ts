// SPDX-License-Identifier: Apache-2.0
// Owns reading and writing of WebAssembly's primitive encodings. Every read is bounded and strict: a number that
// does not fit is malformed, not cut off.
import { MeterError } from './error.js';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Reads from `at` to `end` of `bytes`. */
export class Reader {
  constructor(
    readonly bytes: Uint8Array,
    public at: number,
    readonly end: number,
  ) {}

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(what: string): number {
    if (this.at >= this.end) throw new MeterError('malformed', this.at, `ends within ${what}`);
    return this.bytes[this.at++] as number;
  }

  skip(count: number, what: string): void {
    if (count > this.end - this.at) throw new MeterError('malformed', this.at, `ends within ${what}`);
    this.at += count;
  }

  /** An unsigned LEB128 of at most 32 bits. */
  u32(what: string): number {
    const start = this.at;
    const first = this.byte(what);
    if (first < 0x80) return first;
    let value = first & 0x7f;
    for (let shift = 7; shift < 35; shift += 7) {
      const byte = this.byte(what);
      if (shift === 28 && byte > 0x0f) {
        throw new MeterError('malformed', start, `${what} does not fit in 32 bits`);
      }
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new MeterError('malformed', start, `${what} takes more than 5 bytes`);
  }

  /** A signed LEB128 of at most `bits` bits; its value where that is exact as a number, else of no interest. */
  signed(bits: 32 | 33 | 64, what: string): number {
    const start = this.at;
    const most = Math.ceil(bits / 7);
    let value = 0;
    for (let count = 1; count <= most; count++) {
      const byte = this.byte(what);
      value += (byte & 0x7f) * 2 ** ((count - 1) * 7);
      if (byte >= 0x80) continue;
      if (count === most) {
        // What lies beyond the last bit must repeat it.
        const used = bits - (most - 1) * 7;
        const rest = (byte & 0x7f) >> (used - 1);
        if (rest !== 0 && rest !== 0x7f >> (used - 1)) {
          throw new MeterError('malformed', start, `${what} does not fit in ${bits} bits`);
        }
      }
      return (byte & 0x40) !== 0 ? value - 2 ** (count * 7) : value;
    }
    throw new MeterError('malformed', start, `${what} takes more than ${most} bytes`);
  }

  /** A part of `length` bytes, read on its own. */
  part(length: number, what: string): Reader {
    const start = this.at;
    this.skip(length, what);
    return new Reader(this.bytes, start, start + length);
  }

  name(what: string): string {
    const length = this.u32(`the length of ${what}`);
    const start = this.at;
    this.skip(length, what);
    try {
      return utf8.decode(this.bytes.subarray(start, start + length));
    } catch {
      throw new MeterError('malformed', start, `${what} is not UTF-8`);
    }
  }
}

/** Bytes that grow as they are written. */
export class Writer {
  #bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  #room(count: number): void {
    const wanted = this.length + count;
    if (wanted <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(wanted, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }

  byte(value: number): this {
    this.#room(1);
    this.#bytes[this.length++] = value;
    return this;
  }

  raw(bytes: ArrayLike<number>): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  u32(value: number): this {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    return this.byte(rest);
  }

  /** A signed LEB128. */
  signed(value: bigint | number): this {
    let rest = BigInt(value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) return this.byte(low);
      this.byte(low | 0x80);
    }
  }

  name(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u32(bytes.length).raw(bytes);
  }

  /** What was written, valid until the next write. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}
