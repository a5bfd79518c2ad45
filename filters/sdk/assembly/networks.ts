// SPDX-License-Identifier: Apache-2.0
// Owns lists of networks: made at load, from literals or from the configuration, and looked at for each event. Making
// one allocates; asking it does not.
import { IpAddress, networkBits, networkHigh, networkLow, parseNetwork } from './address';
import { LIST_ENTRIES_MAX } from './bytes';

/** A list of networks: `new NetworkList(['10.0.0.0/8', 'fd00::/8', '192.0.2.1'])`. Traps where one is none. */
@final
export class NetworkList {
  private entries: StaticArray<u64>;
  private bits: StaticArray<u8>;

  constructor(texts: string[]) {
    if (texts.length > LIST_ENTRIES_MAX) throw new Error('a list of more than 1024 networks');
    this.entries = new StaticArray<u64>(texts.length * 2);
    this.bits = new StaticArray<u8>(texts.length);
    for (let i = 0; i < texts.length; i++) {
      if (!parseNetwork(texts[i])) throw new Error('no network such as 10.0.0.0/8 or fd00::/8: ' + texts[i]);
      this.entries[i * 2] = networkHigh();
      this.entries[i * 2 + 1] = networkLow();
      this.bits[i] = <u8>networkBits();
    }
  }

  get length(): i32 {
    return this.bits.length;
  }

  /** Whether an address is in one of them. */
  has(address: IpAddress): bool {
    for (let i = 0; i < this.bits.length; i++) {
      if (
        address.matches(
          unchecked(this.entries[i * 2]),
          unchecked(this.entries[i * 2 + 1]),
          <i32>unchecked(this.bits[i]),
        )
      ) {
        return true;
      }
    }
    return false;
  }
}
