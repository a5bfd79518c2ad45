// SPDX-License-Identifier: Apache-2.0
// Owns state between events, in memory that is taken once, at start. Time is that of events: the same events give
// the same answers on any machine.

const PROBES_MAX: u32 = 8;

/**
 * Counts by key within a window of time. Holds a fixed number of keys; where a key finds no place, it takes that of
 * the one among its neighbours that began longest ago.
 */
@final
export class Counters {
  private at: usize;
  private mask: u32;
  private windowNs: u64;

  /** Makes room for `keys` keys (rounded up to a power of two, 24 bytes each). Make it once, in a global. */
  constructor(keys: u32, windowNs: u64) {
    let size: u32 = 16;
    while (size < keys && size < 65536) size <<= 1;
    this.mask = size - 1;
    this.windowNs = windowNs;
    this.at = heap.alloc(<usize>size * 24);
    memory.fill(this.at, 0, <usize>size * 24);
  }

  /** Adds one to a key at a time; returns how many there were in the window that began with the key's first. */
  add(key: u64, timeNs: u64): u64 {
    let slot = <u32>((key * 0x9e3779b97f4a7c15) >> 40) & this.mask;
    let oldest: usize = 0;
    for (let i: u32 = 0; i < PROBES_MAX; i++) {
      const entry = this.at + <usize>slot * 24;
      if (load<u64>(entry, 16) == 0) return this.begin(entry, key, timeNs);
      if (load<u64>(entry) == key) {
        const begun = load<u64>(entry, 8);
        // Events of two processors may come a little out of order.
        if (timeNs > begun && timeNs - begun > this.windowNs) return this.begin(entry, key, timeNs);
        const count = load<u64>(entry, 16) + 1;
        store<u64>(entry, count, 16);
        return count;
      }
      if (oldest == 0 || load<u64>(entry, 8) < load<u64>(oldest, 8)) oldest = entry;
      slot = (slot + 1) & this.mask;
    }
    return this.begin(oldest, key, timeNs);
  }

  private begin(entry: usize, key: u64, timeNs: u64): u64 {
    store<u64>(entry, key);
    store<u64>(entry, timeNs, 8);
    store<u64>(entry, 1, 16);
    return 1;
  }
}
