// SPDX-License-Identifier: Apache-2.0
// Owns state between events, in memory that is taken once, at load. Time is that of events: the same events give
// the same answers on any machine. Each of them holds a fixed number of keys; where a key finds no place, it takes
// that of the one among its eight neighbours that is of least use.
//
// A state that is given a name is handed over to the next version of the filter, where that has one of the same name,
// kind and size; see handover.ts.
import { registerState } from './handover';

/** Places that are looked at for a key. */
const PROBES_MAX: u32 = 8;
/** Keys of one table: 1.5 MiB, which leaves room for a batch. */
const KEYS_MAX: u32 = 65536;
const ENTRY_BYTES: usize = 24;
const GOLDEN: u64 = 0x9e3779b97f4a7c15;

const KIND_COUNTERS: u32 = 1;
const KIND_MAP: u32 = 2;
const KIND_BLOOM: u32 = 3;

/** Makes one key of two: `mix(process.key, path.hash)`. */
export function mix(a: u64, b: u64): u64 {
  let key = (a ^ rotl<u64>(b, 29)) * GOLDEN;
  key ^= key >> 32;
  return key * 0xd6e8feb86659fd93;
}

function sizeFor(keys: u32): u32 {
  let size: u32 = 16;
  while (size < keys && size < KEYS_MAX) size <<= 1;
  return size;
}

/**
 * Counts by key within a window of time. Holds a fixed number of keys; where a key finds no place, it takes that of
 * the one among its neighbours that began longest ago.
 */
@final
export class Counters {
  private at: usize;
  private mask: u32;
  private windowNs: u64;

  /** Makes room for `keys` keys (rounded up to a power of two, at most 65,536; 24 bytes each). Make it once, in a global. */
  constructor(keys: u32, windowNs: u64, name: string = '') {
    const size = sizeFor(keys);
    this.mask = size - 1;
    this.windowNs = windowNs;
    this.at = heap.alloc(<usize>size * ENTRY_BYTES);
    memory.fill(this.at, 0, <usize>size * ENTRY_BYTES);
    registerState(name, KIND_COUNTERS, this.at, size * <u32>ENTRY_BYTES, windowNs);
  }

  /** Sets another window, as a configuration may; counts begin anew with each key's next window. */
  set window(windowNs: u64) {
    this.windowNs = windowNs;
  }

  get window(): u64 {
    return this.windowNs;
  }

  /** Adds to a key at a time; returns how many there are in the window that began with the key's first. */
  add(key: u64, timeNs: u64, by: u64 = 1): u64 {
    let slot = <u32>((key * GOLDEN) >> 40) & this.mask;
    let oldest: usize = 0;
    for (let i: u32 = 0; i < PROBES_MAX; i++) {
      const entry = this.at + <usize>slot * ENTRY_BYTES;
      if (load<u64>(entry, 16) == 0) return this.begin(entry, key, timeNs, by);
      if (load<u64>(entry) == key) {
        const begun = load<u64>(entry, 8);
        // Events of two processors may come a little out of order.
        if (timeNs > begun && timeNs - begun > this.windowNs) return this.begin(entry, key, timeNs, by);
        const count = load<u64>(entry, 16) + by;
        store<u64>(entry, count, 16);
        return count;
      }
      if (oldest == 0 || load<u64>(entry, 8) < load<u64>(oldest, 8)) oldest = entry;
      slot = (slot + 1) & this.mask;
    }
    return this.begin(oldest, key, timeNs, by);
  }

  /** How many there are of a key in its window at a time, without adding one. */
  count(key: u64, timeNs: u64): u64 {
    let slot = <u32>((key * GOLDEN) >> 40) & this.mask;
    for (let i: u32 = 0; i < PROBES_MAX; i++) {
      const entry = this.at + <usize>slot * ENTRY_BYTES;
      if (load<u64>(entry, 16) == 0) return 0;
      if (load<u64>(entry) == key) {
        const begun = load<u64>(entry, 8);
        return timeNs > begun && timeNs - begun > this.windowNs ? 0 : load<u64>(entry, 16);
      }
      slot = (slot + 1) & this.mask;
    }
    return 0;
  }

  private begin(entry: usize, key: u64, timeNs: u64, by: u64): u64 {
    store<u64>(entry, key);
    store<u64>(entry, timeNs, 8);
    store<u64>(entry, by, 16);
    return by;
  }
}

/**
 * Values by key. Holds a fixed number of keys; where a key finds no place, it takes that of the one among its
 * neighbours that was not used for longest.
 */
@final
export class LruMap {
  private at: usize;
  private mask: u32;

  /** Makes room for `keys` keys (rounded up to a power of two, at most 65,536; 24 bytes each). Make it once, in a global. */
  constructor(keys: u32, name: string = '') {
    const size = sizeFor(keys);
    this.mask = size - 1;
    // Before the entries, the count of uses: it is handed over with them.
    this.at = heap.alloc(8 + <usize>size * ENTRY_BYTES);
    memory.fill(this.at, 0, 8 + <usize>size * ENTRY_BYTES);
    registerState(name, KIND_MAP, this.at, 8 + size * <u32>ENTRY_BYTES, 0);
  }

  /** The entry of a key, 0 where it has none. */
  private find(key: u64): usize {
    let slot = <u32>((key * GOLDEN) >> 40) & this.mask;
    for (let i: u32 = 0; i < PROBES_MAX; i++) {
      const entry = this.at + 8 + <usize>slot * ENTRY_BYTES;
      if (load<u64>(entry) == key && load<u64>(entry, 16) != 0) return entry;
      slot = (slot + 1) & this.mask;
    }
    return 0;
  }

  private use(entry: usize): void {
    const uses = load<u64>(this.at) + 1;
    store<u64>(this.at, uses);
    store<u64>(entry, uses, 16);
  }

  has(key: u64): bool {
    return this.find(key) != 0;
  }

  /** The value of a key, `otherwise` where it has none. Counts as a use. */
  get(key: u64, otherwise: u64 = 0): u64 {
    const entry = this.find(key);
    if (entry == 0) return otherwise;
    this.use(entry);
    return load<u64>(entry, 8);
  }

  /** Sets the value of a key. Returns true where the key is new. */
  set(key: u64, value: u64): bool {
    let entry = this.find(key);
    const isNew = entry == 0;
    if (isNew) {
      let slot = <u32>((key * GOLDEN) >> 40) & this.mask;
      for (let i: u32 = 0; i < PROBES_MAX; i++) {
        const other = this.at + 8 + <usize>slot * ENTRY_BYTES;
        // A free place has never been used: it is the least used of all.
        if (entry == 0 || load<u64>(other, 16) < load<u64>(entry, 16)) entry = other;
        slot = (slot + 1) & this.mask;
      }
      store<u64>(entry, key);
    }
    store<u64>(entry, value, 8);
    this.use(entry);
    return isNew;
  }

  /** Forgets a key. Returns true where there was one. */
  delete(key: u64): bool {
    const entry = this.find(key);
    if (entry == 0) return false;
    store<u64>(entry, 0, 16);
    return true;
  }
}

/** Keys that were seen; the ones that were used last are kept. As LruMap, without values. */
@final
export class LruSet {
  private map: LruMap;

  constructor(keys: u32, name: string = '') {
    this.map = new LruMap(keys, name);
  }

  /** Adds a key. Returns true where it is new. */
  add(key: u64): bool {
    return this.map.set(key, 0);
  }

  has(key: u64): bool {
    return this.map.has(key);
  }

  delete(key: u64): bool {
    return this.map.delete(key);
  }
}

/**
 * Remembers very many keys in few bytes, and is wrong at times: it may take a key for one that it has seen (about 1
 * in 100 when full), never the other way round. It has two halves: a full or old one is forgotten as the next begins.
 *
 *   at       u64   when this half began
 *   at + 8   u32   keys in it
 *   at + 12  u32   which half it is, 0 or 1
 *   at + 16        bits of both
 */
@final
export class Bloom {
  private at: usize;
  private bitMask: u32;
  private entriesMax: u32;
  private windowNs: u64;

  /**
   * Makes room for `entries` keys a half (about 2.5 bytes for each; at most 262,144). A half lasts `windowNs` of
   * event time, where that is given; so a key is remembered for one to two windows. Make it once, in a global.
   */
  constructor(entries: u32, windowNs: u64 = 0, name: string = '') {
    const most = min<u32>(max<u32>(entries, 64), 262_144);
    let bits: u32 = 1024;
    while (bits < most * 10) bits <<= 1;
    this.bitMask = bits - 1;
    this.entriesMax = bits / 10;
    this.windowNs = windowNs;
    const bytes = 16 + (bits >> 2);
    this.at = heap.alloc(bytes);
    memory.fill(this.at, 0, bytes);
    registerState(name, KIND_BLOOM, this.at, bytes, windowNs);
  }

  private half(which: u32): usize {
    return this.at + 16 + <usize>((which & 1) * ((this.bitMask + 1) >> 3));
  }

  private test(half: usize, key: u64): bool {
    const first = <u32>key;
    const step = <u32>(key >> 32) | 1;
    for (let i: u32 = 0; i < 7; i++) {
      const bit = (first + i * step) & this.bitMask;
      if (((<u32>load<u8>(half + (bit >> 3)) >> (bit & 7)) & 1) == 0) return false;
    }
    return true;
  }

  /** Whether the key was (most probably) added before, within the last windows. */
  has(key: u64): bool {
    const mixed = mix(key, GOLDEN);
    return this.test(this.half(0), mixed) || this.test(this.half(1), mixed);
  }

  /** Adds a key at a time. Returns true where it is (certainly) new. */
  add(key: u64, timeNs: u64 = 0): bool {
    const mixed = mix(key, GOLDEN);
    const begun = load<u64>(this.at);
    const old = this.windowNs != 0 && timeNs > begun && timeNs - begun > this.windowNs;
    if (begun == 0) store<u64>(this.at, timeNs);
    else if (old || load<u32>(this.at, 8) >= this.entriesMax) this.turn(timeNs, begun);
    const which = load<u32>(this.at, 12);
    const half = this.half(which);
    if (this.test(half, mixed)) return false;
    const isNew = !this.test(this.half(which + 1), mixed);
    const first = <u32>mixed;
    const step = <u32>(mixed >> 32) | 1;
    for (let i: u32 = 0; i < 7; i++) {
      const bit = (first + i * step) & this.bitMask;
      const at = half + (bit >> 3);
      store<u8>(at, load<u8>(at) | <u8>((<u32>1) << (bit & 7)));
    }
    store<u32>(this.at, load<u32>(this.at, 8) + 1, 8);
    return isNew;
  }

  private turn(timeNs: u64, begun: u64): void {
    const bytes = (this.bitMask + 1) >> 3;
    const which = (load<u32>(this.at, 12) + 1) & 1;
    // After a pause longer than both windows, the half before is too old as well.
    if (this.windowNs != 0 && timeNs > begun && timeNs - begun > this.windowNs * 2) {
      memory.fill(this.half(which + 1), 0, bytes);
    }
    memory.fill(this.half(which), 0, bytes);
    store<u64>(this.at, timeNs);
    store<u32>(this.at, 0, 8);
    store<u32>(this.at, which, 12);
  }
}
