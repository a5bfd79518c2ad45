// SPDX-License-Identifier: Apache-2.0
// Owns Bytes: a view of some bytes of an event; and TextList, texts that bytes are compared with, made at load, as making
// a list allocates. Paths, arguments and names are bytes, not text: they may hold any value, and are compared as they
// are. Literals are compared as their UTF-8.
import { takeView } from './memory';
import {
  ASCII_4,
  beginsWith,
  beginsWithFolded,
  codePoint,
  findByte,
  findText,
  matchPoint,
  pack4,
  textBytes,
} from './text';

const SLASH: u8 = 0x2f;
const DOT: u8 = 0x2e;

/** Makes a view of bytes that begin `offset` after `base`. A span of length 0 has no place. */
export function viewOf(base: usize, offset: u32, length: u32): Bytes {
  return changetype<Bytes>(takeView(base + offset, length));
}

/**
 * Some bytes of an event. Valid until the filter returns; it is a view, so keeping one in a global keeps nothing.
 * No method allocates.
 */
@unmanaged
@final
export class Bytes {
  /** Address of the first byte. */
  address: u32;
  /** How many bytes. */
  length: i32;

  get isEmpty(): bool {
    return this.length == 0;
  }

  get end(): usize {
    return <usize>this.address + this.length;
  }

  /** The byte at an index, 0 beyond the end. */
  at(index: i32): u8 {
    return <u32>index < <u32>this.length ? load<u8>(<usize>this.address + index) : 0;
  }

  equals(text: string): bool {
    if (this.beginsOtherwise(text)) return false;
    return beginsWith(this.address, this.end, text) && textBytes(text) == this.length;
  }

  startsWith(text: string): bool {
    if (this.beginsOtherwise(text)) return false;
    return beginsWith(this.address, this.end, text);
  }

  /** Whether the first four bytes tell that the text is not what it begins with: most often they do, without a call. */
  private beginsOtherwise(text: string): bool {
    if (text.length < 4 || this.length < 4) return false;
    const four = load<u64>(changetype<usize>(text));
    return (four & ASCII_4) == 0 && load<u32>(this.address) != pack4(four);
  }

  endsWith(text: string): bool {
    const units = text.length;
    if (units == 0) return true;
    // UTF-8 takes at least as many bytes as UTF-16 takes units.
    if (units > this.length) return false;
    const last = load<u16>(changetype<usize>(text) + ((<usize>(units - 1)) << 1));
    if (last < 0x80 && <u16>load<u8>(this.end - 1) != last) return false;
    const bytes = textBytes(text);
    return bytes <= this.length && beginsWith(this.end - bytes, this.end, text);
  }

  /** As `equals`, with A to Z the same as a to z. So for the three that follow. */
  equalsIgnoreCase(text: string): bool {
    return textBytes(text) == this.length && beginsWithFolded(this.address, this.end, text);
  }

  startsWithIgnoreCase(text: string): bool {
    return beginsWithFolded(this.address, this.end, text);
  }

  endsWithIgnoreCase(text: string): bool {
    const bytes = textBytes(text);
    return bytes <= this.length && beginsWithFolded(this.end - bytes, this.end, text);
  }

  containsIgnoreCase(text: string): bool {
    return this.indexOfIgnoreCase(text) >= 0;
  }

  /** As `indexOf`, with A to Z the same as a to z. */
  indexOfIgnoreCase(text: string, from: i32 = 0): i32 {
    const at = findText(<usize>this.address + max(from, 0), this.end, text, true);
    return at == 0 ? -1 : <i32>(at - this.address);
  }

  /** Whether it is one of the texts of a list. */
  isOneOf(list: TextList): bool {
    return list.has(this);
  }

  contains(text: string): bool {
    return this.indexOf(text) >= 0;
  }

  /** Where a text begins first, from an index on; -1 where it is not. */
  indexOf(text: string, from: i32 = 0): i32 {
    const at = findText(<usize>this.address + max(from, 0), this.end, text, false);
    return at == 0 ? -1 : <i32>(at - this.address);
  }

  /** Where a byte is first, from an index on; -1 where it is not. */
  indexOfByte(byte: u8, from: i32 = 0): i32 {
    if (from >= this.length) return -1;
    const at = findByte(<usize>this.address + max(from, 0), this.end, byte);
    return at == this.end ? -1 : <i32>(at - this.address);
  }

  /** Where a byte is last; -1 where it is not. */
  lastIndexOfByte(byte: u8): i32 {
    for (let i = this.length - 1; i >= 0; i--) {
      if (load<u8>(<usize>this.address + i) == byte) return i;
    }
    return -1;
  }

  /** Whether other bytes are the same. */
  same(other: Bytes): bool {
    return this.length == other.length && memory.compare(this.address, other.address, this.length) == 0;
  }

  /** The bytes from `from` up to but without `to`; both are brought within the bounds. */
  slice(from: i32, to: i32 = i32.MAX_VALUE): Bytes {
    const start = min(max(from, 0), this.length);
    const stop = max(start, min(to, this.length));
    return viewOf(this.address, start, stop - start);
  }

  /** Of a path, what follows the last slash. */
  get name(): Bytes {
    return this.slice(this.lastIndexOfByte(SLASH) + 1);
  }

  /** Of a path, what precedes the last slash. */
  get directory(): Bytes {
    return this.slice(0, this.lastIndexOfByte(SLASH));
  }

  /** Of a path, what follows the last dot of its name; empty where there is none, and for `.profile`. */
  get extension(): Bytes {
    const name = this.name;
    const dot = name.lastIndexOfByte(DOT);
    return dot > 0 ? name.slice(dot + 1) : name.slice(0, 0);
  }

  /** Of a path, how many parts it has: `/usr/bin/ls` has 3, `/` has 0. */
  get depth(): i32 {
    let parts = 0;
    for (let i = 0; i < this.length; i++) {
      if (this.at(i) != SLASH && (i == 0 || this.at(i - 1) == SLASH)) parts++;
    }
    return parts;
  }

  /** Of a path, the part at an index, from 0 on: `usr` of `/usr/bin/ls`; empty beyond the last. */
  part(index: i32): Bytes {
    let parts = 0;
    for (let i = 0; i < this.length; i++) {
      if (this.at(i) == SLASH || (i > 0 && this.at(i - 1) != SLASH)) continue;
      if (parts++ != index) continue;
      const end = this.indexOfByte(SLASH, i);
      return this.slice(i, end < 0 ? this.length : end);
    }
    return this.slice(0, 0);
  }

  /** The whole as a number in decimal, -1 where it is none or above 999,999,999,999,999,999. */
  get number(): i64 {
    if (this.length == 0 || this.length > 18) return -1;
    let value: i64 = 0;
    for (let i = 0; i < this.length; i++) {
      const digit = <u32>this.at(i) - 0x30;
      if (digit > 9) return -1;
      value = value * 10 + digit;
    }
    return value;
  }

  /** Whether it is this path, or lies below it. `/etc` holds `/etc` and `/etc/passwd`, not `/etcetera`. */
  isWithin(directory: string): bool {
    if (!this.startsWith(directory)) return false;
    const bytes = textBytes(directory);
    return bytes == this.length || this.at(bytes) == SLASH || (bytes > 0 && this.at(bytes - 1) == SLASH);
  }

  /**
   * Whether the whole matches a pattern: `*` is any run of bytes without a slash, `**` any run, `?` one byte that is
   * no slash. Takes at most about length x length steps where `*` follows `**`, else length x pattern.
   */
  glob(pattern: string): bool {
    const units = pattern.length;
    const end = this.end;
    let at: usize = this.address;
    let p: i32 = 0;
    // Where to take up again: after the last `*` and the last `**`.
    let starPattern: i32 = -1;
    let starAt: usize = 0;
    let deepPattern: i32 = -1;
    let deepAt: usize = 0;
    while (true) {
      if (p < units) {
        const unit = load<u16>(changetype<usize>(pattern) + ((<usize>p) << 1));
        // Most of a pattern is ASCII, and what it is compared with differs at once or goes on for long.
        if (unit < 0x80 && unit != 0x2a && unit != 0x3f) {
          if (at < end && <u16>load<u8>(at) == unit) {
            at++;
            p++;
            continue;
          }
        } else if (unit == 0x2a) {
          if (p + 1 < units && load<u16>(changetype<usize>(pattern) + ((<usize>(p + 1)) << 1)) == 0x2a) {
            p += 2;
            deepPattern = p;
            deepAt = at;
            starPattern = -1;
          } else {
            p++;
            starPattern = p;
            starAt = at;
          }
          continue;
        } else if (unit == 0x3f) {
          if (at < end && load<u8>(at) != SLASH) {
            at++;
            p++;
            continue;
          }
        } else {
          const point = codePoint(pattern, p);
          const matched = matchPoint(at, end, <u32>point);
          if (matched > 0) {
            at += matched;
            p += <i32>(point >> 32);
            continue;
          }
        }
      } else if (at == end) return true;
      if (starPattern >= 0 && starAt < end && load<u8>(starAt) != SLASH) {
        starAt++;
        at = starAt;
        p = starPattern;
      } else if (deepPattern >= 0 && deepAt < end) {
        deepAt++;
        at = deepAt;
        p = deepPattern;
        starPattern = -1;
      } else return false;
    }
  }

  /** A hash (FNV-1a, 64 bits): for keys of state, not for secrets. */
  get hash(): u64 {
    let hash: u64 = 0xcbf29ce484222325;
    for (let i = 0; i < this.length; i++) {
      hash = (hash ^ <u64>load<u8>(<usize>this.address + i)) * 0x100000001b3;
    }
    return hash;
  }
}

/** Entries of a list: enough for what a person writes; a list is walked from its begin. */
export const LIST_ENTRIES_MAX: i32 = 1024;

/** A list of texts. Make it once, in a global: `const shells = new TextList(['sh', 'bash'])`. */
@final
export class TextList {
  constructor(private texts: string[]) {
    if (texts.length > LIST_ENTRIES_MAX) throw new Error('a list of more than 1024 texts');
  }

  get length(): i32 {
    return this.texts.length;
  }

  at(index: i32): string {
    return this.texts[index];
  }

  /** Whether one of them is exactly these bytes. */
  has(bytes: Bytes): bool {
    for (let i = 0; i < this.texts.length; i++) if (bytes.equals(unchecked(this.texts[i]))) return true;
    return false;
  }

  /** Whether the bytes begin with one of them. */
  startsOf(bytes: Bytes): bool {
    for (let i = 0; i < this.texts.length; i++) if (bytes.startsWith(unchecked(this.texts[i]))) return true;
    return false;
  }

  /** Whether one of them is in the bytes, whatever the case of ASCII letters. */
  isIn(bytes: Bytes): bool {
    for (let i = 0; i < this.texts.length; i++) {
      if (bytes.containsIgnoreCase(unchecked(this.texts[i]))) return true;
    }
    return false;
  }

  /** Whether the bytes, a path, are or lie below one of them. */
  isAbove(path: Bytes): bool {
    for (let i = 0; i < this.texts.length; i++) if (path.isWithin(unchecked(this.texts[i]))) return true;
    return false;
  }

  /** Whether the bytes match one of them as a pattern; see Bytes.glob. */
  matches(bytes: Bytes): bool {
    for (let i = 0; i < this.texts.length; i++) if (bytes.glob(unchecked(this.texts[i]))) return true;
    return false;
  }
}
