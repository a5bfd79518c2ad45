// SPDX-License-Identifier: Apache-2.0
// Owns the bytes that process entries point to: binary, arguments, cwd, cgroup name. A process that forks shares
// them with its parent, so they are counted. One arena, cut into pieces of a few sizes; nothing is allocated after
// the start, and the arena never grows.
// Hot: a piece taken and given back for each exec, about 20 ns, and the copy of its words.

/** Sizes of pieces, in bytes. The largest holds what an exec record can carry (4 KiB each of three, and a name). */
const sizes = [
  64, 128, 192, 256, 320, 384, 448, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 13312,
] as const;
export const PIECE_BYTES_MAX = sizes[sizes.length - 1] as number;

const classOf = new Uint8Array(PIECE_BYTES_MAX / 64 + 1);
for (let units = 1, index = 0; units < classOf.length; units++) {
  while ((sizes[index] as number) < units * 64) index++;
  classOf[units] = index;
}

/** Runs of bytes by number, from 1 on; 0 is no bytes. */
export class Strings {
  /** The arena. Words, since pieces begin on multiples of 64. */
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
  /** Where the piece begins, in words. */
  readonly start: Uint32Array;
  readonly lengthWords: Uint32Array;
  readonly #class: Uint8Array;
  readonly #references: Uint32Array;
  /** Number of the batch in which it was last laid out, and where. */
  readonly stamp: Uint32Array;
  readonly placed: Uint32Array;
  readonly #freeNumbers: Uint32Array;
  #freeNumberCount: number;
  readonly #free: number[][] = sizes.map(() => []);
  #unusedFrom = 0;
  /** Bytes of pieces in use. */
  usedBytes = 0;
  /** Requests that found no room. */
  refused = 0;

  constructor(numbersMax: number, bytesMax: number) {
    const buffer = new ArrayBuffer(Math.ceil(bytesMax / 64) * 64);
    this.words = new Uint32Array(buffer);
    this.bytes = new Uint8Array(buffer);
    this.start = new Uint32Array(numbersMax + 1);
    this.lengthWords = new Uint32Array(numbersMax + 1);
    this.#class = new Uint8Array(numbersMax + 1);
    this.#references = new Uint32Array(numbersMax + 1);
    this.stamp = new Uint32Array(numbersMax + 1);
    this.placed = new Uint32Array(numbersMax + 1);
    this.#freeNumbers = new Uint32Array(numbersMax);
    for (let index = 0; index < numbersMax; index++) this.#freeNumbers[index] = numbersMax - index;
    this.#freeNumberCount = numbersMax;
  }

  /** Takes room for some bytes, counted once. 0 where there is none. */
  take(byteLength: number): number {
    if (byteLength === 0) return 0;
    if (byteLength > PIECE_BYTES_MAX || this.#freeNumberCount === 0) {
      this.refused++;
      return 0;
    }
    const wanted = classOf[(byteLength + 63) >> 6] as number;
    let index = wanted;
    let at = -1;
    const fresh = this.#unusedFrom;
    if ((this.#free[index] as number[]).length > 0) {
      at = (this.#free[index] as number[]).pop() as number;
    } else if (fresh + (sizes[wanted] as number) <= this.bytes.length) {
      at = fresh;
      this.#unusedFrom = fresh + (sizes[wanted] as number);
    } else {
      // A larger piece serves too.
      while (++index < sizes.length) {
        const free = this.#free[index] as number[];
        if (free.length > 0) {
          at = free.pop() as number;
          break;
        }
      }
    }
    if (at < 0) {
      this.refused++;
      return 0;
    }
    const number = this.#freeNumbers[--this.#freeNumberCount] as number;
    this.start[number] = at >> 2;
    this.lengthWords[number] = (byteLength + 3) >> 2;
    this.#class[number] = index;
    this.#references[number] = 1;
    this.stamp[number] = 0;
    this.usedBytes += sizes[index] as number;
    return number;
  }

  share(number: number): number {
    if (number !== 0) this.#references[number] = (this.#references[number] as number) + 1;
    return number;
  }

  /** Takes a reference back; the last one frees the room. */
  release(number: number): void {
    if (number === 0) return;
    const left = (this.#references[number] as number) - 1;
    this.#references[number] = left;
    if (left > 0) return;
    const index = this.#class[number] as number;
    (this.#free[index] as number[]).push((this.start[number] as number) << 2);
    this.#freeNumbers[this.#freeNumberCount++] = number;
    this.usedBytes -= sizes[index] as number;
  }

  /** Copies words of a record into a piece. */
  copyIn(number: number, from: Uint32Array, at: number): void {
    const to = this.start[number] as number;
    const count = this.lengthWords[number] as number;
    const words = this.words;
    for (let index = 0; index < count; index++) words[to + index] = from[at + index] as number;
  }
}
