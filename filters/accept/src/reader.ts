// SPDX-License-Identifier: Apache-2.0
// Owns reading of WebAssembly's primitive encodings from untrusted bytes. Every read is bounded.
import type { RefusalCode } from './types.js';

/** Ends the parse of a module; becomes its refusal. Never leaves this package. */
export class Refusal extends Error {
  constructor(
    readonly code: RefusalCode,
    readonly reason: string,
  ) {
    super(reason);
  }
}

export function malformed(at: number, what: string): Refusal {
  return new Refusal('malformed', `byte ${at}: ${what}`);
}

const text = new TextDecoder('utf-8', { fatal: true });

/** Reads from `at` to `end` of `bytes`. */
export class Reader {
  constructor(
    readonly bytes: Uint8Array,
    public at = 0,
    readonly end = bytes.length,
  ) {}

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(what: string): number {
    if (this.at >= this.end) throw malformed(this.at, `ends within ${what}`);
    return this.bytes[this.at++] as number;
  }

  skip(count: number, what: string): void {
    if (count > this.end - this.at) throw malformed(this.at, `ends within ${what}`);
    this.at += count;
  }

  /** An unsigned LEB128 of at most 32 bits. */
  u32(what: string): number {
    const start = this.at;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte(what);
      if (shift === 28 && (byte & 0xf0) !== 0) throw malformed(start, `${what} does not fit in 32 bits`);
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw malformed(start, `${what} takes more than 5 bytes`);
  }

  /** Passes over a signed LEB128 of at most `bits` bits, whose value is of no interest. */
  signed(bits: 32 | 33 | 64, what: string): void {
    const start = this.at;
    for (let count = 0; count < Math.ceil(bits / 7); count++) {
      if ((this.byte(what) & 0x80) === 0) return;
    }
    throw malformed(start, `${what} takes more bytes than ${bits} bits need`);
  }

  /** A part of `length` bytes, read on its own. */
  part(length: number, what: string): Reader {
    const start = this.at;
    this.skip(length, what);
    return new Reader(this.bytes, start, start + length);
  }

  name(what: string): string {
    const length = this.u32(`length of ${what}`);
    const start = this.at;
    this.skip(length, what);
    try {
      return text.decode(this.bytes.subarray(start, start + length));
    } catch {
      throw malformed(start, `${what} is not UTF-8`);
    }
  }
}
