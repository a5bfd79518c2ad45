// SPDX-License-Identifier: Apache-2.0
// Owns lists of texts and of networks: made at load, from literals or from the configuration, and looked at for each
// event. Making one allocates; asking it does not.
import { IpAddress, networkBits, networkHigh, networkLow, parseNetwork } from './address';
import { Bytes } from './bytes';

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
