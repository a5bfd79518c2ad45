// SPDX-License-Identifier: Apache-2.0
// Owns comparing an event's bytes with a literal. A literal is UTF-16 in static memory; bytes are what the kernel
// saw, most often ASCII. So four code units are packed into four bytes and compared at once; only a literal that is
// not ASCII is encoded, code point by code point. Nothing is allocated. Addresses are trusted: only Bytes calls this.

/** Bits that four code units have only where one of them is not ASCII. */
export const ASCII_4: u64 = 0xff80_ff80_ff80_ff80;

/** Packs four ASCII code units into the four bytes that UTF-8 has for them. */
export function pack4(units: u64): u32 {
  const pairs = (units | (units >> 8)) & 0x0000_ffff_0000_ffff;
  return <u32>(pairs | (pairs >> 16));
}

/** Bytes that the literal has in UTF-8. */
export function textBytes(text: string): i32 {
  const units = text.length;
  const at = changetype<usize>(text);
  let i = 0;
  while (i + 4 <= units && (load<u64>(at + ((<usize>i) << 1)) & ASCII_4) == 0) i += 4;
  let bytes = i;
  while (i < units) {
    const unit = <u32>load<u16>(at + ((<usize>i) << 1));
    i++;
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (isPair(unit, at, i, units)) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes;
}

function isPair(unit: u32, at: usize, next: i32, units: i32): bool {
  return (
    (unit & 0xfc00) == 0xd800 && next < units && (load<u16>(at + ((<usize>next) << 1)) & 0xfc00) == 0xdc00
  );
}

/** The code point at a unit, and in the high half how many units it takes. */
export function codePoint(text: string, index: i32): u64 {
  const at = changetype<usize>(text);
  const unit = <u32>load<u16>(at + ((<usize>index) << 1));
  if (!isPair(unit, at, index + 1, text.length)) return ((<u64>1) << 32) | unit;
  const low = <u32>load<u16>(at + ((<usize>(index + 1)) << 1));
  return ((<u64>2) << 32) | (0x10000 + (((unit & 0x3ff) << 10) | (low & 0x3ff)));
}

/** Bytes of a code point in UTF-8, the first in the lowest byte; how many, in the high half. */
export function encode(point: u32): u64 {
  if (point < 0x80) return ((<u64>1) << 32) | point;
  if (point < 0x800) return ((<u64>2) << 32) | (0xc0 | (point >> 6)) | ((0x80 | (point & 0x3f)) << 8);
  if (point < 0x10000) {
    return (
      ((<u64>3) << 32) |
      (0xe0 | (point >> 12)) |
      ((0x80 | ((point >> 6) & 0x3f)) << 8) |
      ((0x80 | (point & 0x3f)) << 16)
    );
  }
  return (
    ((<u64>4) << 32) |
    <u64>(
      (0xf0 |
        (point >> 18) |
        ((0x80 | ((point >> 12) & 0x3f)) << 8) |
        ((0x80 | ((point >> 6) & 0x3f)) << 16) |
        ((0x80 | (point & 0x3f)) << 24))
    )
  );
}

/** Bytes of a code point that match at an address, 0 where they do not or go beyond the end. */
export function matchPoint(at: usize, end: usize, point: u32): u32 {
  const encoded = encode(point);
  const count = <u32>(encoded >> 32);
  if (at + count > end) return 0;
  let rest = <u32>encoded;
  for (let i: u32 = 0; i < count; i++) {
    if (<u32>load<u8>(at + i) != (rest & 0xff)) return 0;
    rest >>= 8;
  }
  return count;
}

/** Whether the bytes from `at` on begin with the literal; nothing at or beyond `end` is read. */
export function beginsWith(at: usize, end: usize, text: string): bool {
  const units = text.length;
  // UTF-8 takes at least as many bytes as UTF-16 takes units.
  if (<usize>units > end - at) return false;
  const from = changetype<usize>(text);
  let i = 0;
  while (i + 4 <= units) {
    const four = load<u64>(from + ((<usize>i) << 1));
    if ((four & ASCII_4) != 0) break;
    if (load<u32>(at + i) != pack4(four)) return false;
    i += 4;
  }
  if (i == units) return true;
  // Up to three are left: the last four, once more, cost less than one after the other.
  if (i + 4 > units && units >= 4) {
    const four = load<u64>(from + ((<usize>(units - 4)) << 1));
    if ((four & ASCII_4) == 0) return load<u32>(at + <usize>(units - 4)) == pack4(four);
  }
  let to = at + i;
  while (i < units) {
    const unit = <u32>load<u16>(from + ((<usize>i) << 1));
    if (unit < 0x80) {
      if (to >= end || <u32>load<u8>(to) != unit) return false;
      to++;
      i++;
      continue;
    }
    const point = codePoint(text, i);
    const matched = matchPoint(to, end, <u32>point);
    if (matched == 0) return false;
    to += matched;
    i += <i32>(point >> 32);
  }
  return true;
}

/** A byte or code unit with A to Z turned into a to z; all else as it is. */
function fold(unit: u32): u32 {
  return unit - 0x41 < 26 ? unit | 0x20 : unit;
}

/** The same as beginsWith, but A to Z are the same as a to z. Beyond ASCII, case counts. */
export function beginsWithFolded(at: usize, end: usize, text: string): bool {
  const units = text.length;
  if (<usize>units > end - at) return false;
  const from = changetype<usize>(text);
  let to = at;
  let i = 0;
  while (i < units) {
    const unit = <u32>load<u16>(from + ((<usize>i) << 1));
    if (unit < 0x80) {
      if (to >= end || fold(<u32>load<u8>(to)) != fold(unit)) return false;
      to++;
      i++;
      continue;
    }
    const point = codePoint(text, i);
    const matched = matchPoint(to, end, <u32>point);
    if (matched == 0) return false;
    to += matched;
    i += <i32>(point >> 32);
  }
  return true;
}

/** Where a byte is first, from an address on; `end` where it is not. Sixteen bytes at a time. */
export function findByte(from: usize, end: usize, byte: u8): usize {
  let at = from;
  const wanted = i8x16.splat(byte);
  while (at + 16 <= end) {
    const mask = i8x16.bitmask(i8x16.eq(v128.load(at), wanted));
    if (mask != 0) return at + ctz(mask);
    at += 16;
  }
  while (at < end && load<u8>(at) != byte) at++;
  return min(at, end);
}

/**
 * Where a text is first, from an address on; 0 where it is not. Looks for its first and its last byte, sixteen places
 * at a time, and only where both are compares the whole: a search must stay cheap in what an attacker can make long.
 */
export function findText(from: usize, end: usize, text: string, folded: bool): usize {
  const bytes = <usize>textBytes(text);
  if (bytes == 0) return from <= end ? from : 0;
  let at = from;
  const isAscii = bytes == <usize>text.length;
  const first = isAscii ? <u32>load<u16>(changetype<usize>(text)) : 0;
  if (isAscii) {
    const last = <u32>load<u16>(changetype<usize>(text) + ((bytes - 1) << 1));
    const first1 = i8x16.splat(<i8>(folded ? fold(first) : first));
    const first2 = i8x16.splat(<i8>(folded ? unfold(first) : first));
    const last1 = i8x16.splat(<i8>(folded ? fold(last) : last));
    const last2 = i8x16.splat(<i8>(folded ? unfold(last) : last));
    while (true) {
      if (at + bytes + 15 > end) {
        // What is left is less than sixteen places: the last sixteen, some of them once more, cost less than one by one.
        if (at + bytes > end || from + bytes + 15 > end) break;
        at = end - bytes - 15;
      }
      const begins = v128.load(at);
      let mask = i8x16.bitmask(v128.or(i8x16.eq(begins, first1), i8x16.eq(begins, first2)));
      if (mask != 0) {
        const ends = v128.load(at + bytes - 1);
        mask &= i8x16.bitmask(v128.or(i8x16.eq(ends, last1), i8x16.eq(ends, last2)));
      }
      while (mask != 0) {
        const place = at + ctz(mask);
        if (folded ? beginsWithFolded(place, end, text) : beginsWith(place, end, text)) return place;
        mask &= mask - 1;
      }
      at += 16;
    }
  }
  while (at + bytes <= end) {
    const byte = <u32>load<u8>(at);
    if (!isAscii || byte == first || (folded && fold(byte) == fold(first))) {
      if (folded ? beginsWithFolded(at, end, text) : beginsWith(at, end, text)) return at;
    }
    at++;
  }
  return 0;
}

/** a to z turned into A to Z; all else as it is. */
function unfold(unit: u32): u32 {
  return unit - 0x61 < 26 ? unit & 0xdf : unit;
}

/** Writes a number in decimal; returns how many bytes, 0 where there is no room. */
export function writeNumber(value: i64, to: usize, most: u32): u32 {
  const negative = value < 0;
  let rest: u64 = negative ? -value : value;
  let bytes: u32 = negative ? 2 : 1;
  for (let left = rest / 10; left > 0; left /= 10) bytes++;
  if (bytes > most) return 0;
  if (negative) store<u8>(to, 0x2d);
  let at = to + bytes;
  do {
    at--;
    store<u8>(at, <u8>(0x30 + (rest % 10)));
    rest /= 10;
  } while (rest != 0);
  return bytes;
}

/** Writes the literal as UTF-8, cut at a code point to at most `most` bytes; returns how many. */
export function writeText(text: string, to: usize, most: u32): u32 {
  const units = text.length;
  let written: u32 = 0;
  let i = 0;
  while (i < units) {
    const point = codePoint(text, i);
    const encoded = encode(<u32>point);
    const count = <u32>(encoded >> 32);
    if (written + count > most) break;
    let rest = <u32>encoded;
    for (let n: u32 = 0; n < count; n++) {
      store<u8>(to + written + n, <u8>rest);
      rest >>= 8;
    }
    written += count;
    i += <i32>(point >> 32);
  }
  return written;
}
