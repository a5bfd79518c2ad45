// SPDX-License-Identifier: Apache-2.0
// Owns internet addresses and networks. An IPv4 address is handled as the IPv6 address ::ffff:a.b.c.d, so that a
// socket of either family that carries it is matched the same. Nothing here allocates.
import { Bytes } from './bytes';
import { takeView } from './memory';
import { formatAt, takeFormatted } from './scratch';
import { writeNumber } from './text';

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const MAPPED: u64 = 0xffff_0000_0000;
/** The longest: eight groups of four digits, seven colons. */
const TEXT_BYTES_MAX: u32 = 39;

let parsedHigh: u64 = 0;
let parsedLow: u64 = 0;
let parsedBits: i32 = 0;
/** Where the parser is in its text. */
let at: i32 = 0;

export function networkHigh(): u64 {
  return parsedHigh;
}
export function networkLow(): u64 {
  return parsedLow;
}
export function networkBits(): i32 {
  return parsedBits;
}

function unit(text: string): u32 {
  return at < text.length ? <u32>load<u16>(changetype<usize>(text) + ((<usize>at) << 1)) : 0;
}

/** A number in decimal of at most three digits, -1 where there is none. */
function parseDecimal(text: string): i32 {
  let value = 0;
  let digits = 0;
  while (digits < 4) {
    const digit = unit(text) - 0x30;
    if (digit > 9) break;
    value = value * 10 + digit;
    digits++;
    at++;
  }
  return digits == 0 || digits > 3 ? -1 : value;
}

/** Four numbers with dots, -1 where there are none. */
function parseIPv4(text: string): i64 {
  let value: i64 = 0;
  for (let i = 0; i < 4; i++) {
    if (i > 0) {
      if (unit(text) != 0x2e) return -1;
      at++;
    }
    const part = parseDecimal(text);
    if (part < 0 || part > 255) return -1;
    value = (value << 8) | part;
  }
  return value;
}

function hexDigit(unit: u32): u32 {
  if (unit - 0x30 < 10) return unit - 0x30;
  if ((unit | 0x20) - 0x61 < 6) return (unit | 0x20) - 0x61 + 10;
  return 16;
}

/** Puts 16 bits at a group, 0 to 7. */
function putGroup(group: i32, value: u64): void {
  if (group < 4) parsedHigh |= value << (<u64>(48 - group * 16));
  else parsedLow |= value << (<u64>(48 - (group - 4) * 16));
}

/** Moves the groups from `from` up to `count` to the end; zeros are left between. */
function spread(from: i32, count: i32): void {
  const high = parsedHigh;
  const low = parsedLow;
  parsedHigh = 0;
  parsedLow = 0;
  for (let group = 0; group < count; group++) {
    const value = (group < 4 ? high >> <u64>(48 - group * 16) : low >> <u64>(48 - (group - 4) * 16)) & 0xffff;
    putGroup(group < from ? group : group + 8 - count, value);
  }
}

function parseIPv6(text: string): bool {
  let count = 0;
  let gap = -1;
  if (unit(text) == 0x3a) {
    at++;
    if (unit(text) != 0x3a) return false;
    at++;
    gap = 0;
  }
  while (count < 8) {
    const start = at;
    let value: u32 = 0;
    while (at - start < 4 && hexDigit(unit(text)) < 16) {
      value = (value << 4) | hexDigit(unit(text));
      at++;
    }
    if (at == start) break;
    if (unit(text) == 0x2e && count <= 6) {
      at = start;
      const tail = parseIPv4(text);
      if (tail < 0) return false;
      putGroup(count, <u64>tail >> 16);
      putGroup(count + 1, <u64>tail & 0xffff);
      count += 2;
      break;
    }
    putGroup(count++, value);
    if (unit(text) != 0x3a) break;
    at++;
    if (unit(text) == 0x3a) {
      if (gap >= 0) return false;
      gap = count;
      at++;
    } else if (hexDigit(unit(text)) == 16) return false;
  }
  if (gap < 0) return count == 8;
  if (count == 8) return false;
  spread(gap, count);
  return true;
}

/** Reads an address, or one with a slash and a count of bits. Returns false where the text is neither. */
export function parseNetwork(text: string): bool {
  at = 0;
  parsedHigh = 0;
  parsedLow = 0;
  let isIPv6 = false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) == 0x3a) isIPv6 = true;
  if (isIPv6) {
    if (!parseIPv6(text)) return false;
  } else {
    const value = parseIPv4(text);
    if (value < 0) return false;
    parsedLow = MAPPED | <u64>value;
  }
  parsedBits = 128;
  if (at == text.length) return true;
  if (unit(text) != 0x2f) return false;
  at++;
  const bits = parseDecimal(text);
  if (bits < 0 || bits > (isIPv6 ? 128 : 32) || at != text.length) return false;
  parsedBits = isIPv6 ? bits : bits + 96;
  return true;
}

/** Makes the view of 16 bytes at an address. */
export function addressOf(bytes: usize, family: u32): IpAddress {
  return changetype<IpAddress>(takeView(bytes, family));
}

/** An internet address of a socket. Where there is none (other families), it is in no network. */
@unmanaged
@final
export class IpAddress {
  private bytes: u32;
  /** 2 for IPv4, 10 for IPv6. */
  family: u32;

  get isIPv4(): bool {
    return this.family == AF_INET;
  }

  get isIPv6(): bool {
    return this.family == AF_INET6;
  }

  get isKnown(): bool {
    return this.isIPv4 || this.isIPv6;
  }

  /** The first 64 bits; of an IPv4 address, those of ::ffff:a.b.c.d. */
  get high(): u64 {
    return this.isIPv6 ? bswap(load<u64>(this.bytes)) : 0;
  }

  get low(): u64 {
    if (this.isIPv6) return bswap(load<u64>(this.bytes, 8));
    return this.isIPv4 ? MAPPED | <u64>bswap(load<u32>(this.bytes)) : 0;
  }

  /** The IPv4 address as a number, first byte highest; 0 where it is none. */
  get ipv4(): u32 {
    return this.high == 0 && this.low >> 32 == 0xffff ? <u32>this.low : 0;
  }

  /** For keys of state. */
  get hash(): u64 {
    return (this.high ^ rotl<u64>(this.low, 31)) * 0x9e3779b97f4a7c15;
  }

  /** Whether its first `bits` bits are those. */
  matches(high: u64, low: u64, bits: i32): bool {
    if (!this.isKnown) return false;
    if (bits < 64) return bits <= 0 || (this.high ^ high) >> <u64>(64 - bits) == 0;
    if (this.high != high) return false;
    return bits == 64 || (this.low ^ low) >> <u64>(128 - bits) == 0;
  }

  /** Whether it is in a network: `isWithin('10.0.0.0/8')`, `isWithin('fd00::/8')`. Traps where the text is none. */
  isWithin(network: string): bool {
    if (!parseNetwork(network)) throw new Error('isWithin needs a network such as 10.0.0.0/8 or fd00::/8');
    return this.matches(parsedHigh, parsedLow, parsedBits);
  }

  get isLoopback(): bool {
    return this.isWithin('127.0.0.0/8') || this.isWithin('::1');
  }

  /** Whether it is the address that means any, or none. */
  get isUnspecified(): bool {
    return this.isKnown && this.high == 0 && (this.low == 0 || this.low == MAPPED);
  }

  /** Whether it is not of the internet: private, carrier's, loopback, link-local, unique local. */
  get isPrivate(): bool {
    if (this.isLoopback || this.isUnspecified) return true;
    if (this.ipv4 != 0) {
      return (
        this.isWithin('10.0.0.0/8') ||
        this.isWithin('172.16.0.0/12') ||
        this.isWithin('192.168.0.0/16') ||
        this.isWithin('169.254.0.0/16') ||
        this.isWithin('100.64.0.0/10')
      );
    }
    return this.isWithin('fe80::/10') || this.isWithin('fc00::/7');
  }

  /** As text, for a label: `10.0.0.1`, `2001:db8::1`; empty where there is none. */
  get text(): Bytes {
    const start = formatAt(TEXT_BYTES_MAX);
    let to = start;
    if (this.isIPv4) {
      for (let i: usize = 0; i < 4; i++) {
        if (i > 0) store<u8>(to++, 0x2e);
        to += writeNumber(load<u8>(<usize>this.bytes + i), to, 3);
      }
    } else if (this.isIPv6) to = this.writeIPv6(to);
    return takeFormatted(start, <u32>(to - start));
  }

  private group(index: i32): u32 {
    return <u32>bswap(load<u16>(<usize>this.bytes + ((<usize>index) << 1)));
  }

  /** As RFC 5952 has it: the first of the longest runs of two or more zero groups is left out. */
  private writeIPv6(start: usize): usize {
    let gap = -1;
    let gapLength = 1;
    for (let i = 0; i < 8; i++) {
      let length = 0;
      while (i + length < 8 && this.group(i + length) == 0) length++;
      if (length > gapLength) {
        gap = i;
        gapLength = length;
      }
    }
    let to = start;
    for (let i = 0; i < 8; i++) {
      if (i == gap) {
        store<u8>(to++, 0x3a);
        if (i + gapLength == 8) store<u8>(to++, 0x3a);
        i += gapLength - 1;
        continue;
      }
      if (i > 0) store<u8>(to++, 0x3a);
      const value = this.group(i);
      for (let shift = 12; shift >= 0; shift -= 4) {
        if (value >> shift == 0 && shift > 0) continue;
        const digit = (value >> shift) & 15;
        store<u8>(to++, <u8>(digit < 10 ? 0x30 + digit : 0x57 + digit));
      }
    }
    return to;
  }
}
