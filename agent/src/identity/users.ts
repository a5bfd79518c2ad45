// SPDX-License-Identifier: Apache-2.0
// Owns the names of users on the node. A user id inside a container means another user: nobody asks for those.
import { readFileSync } from 'node:fs';

/** Users beyond these have no name: the file is the administrator's, the bound is against a broken one. */
const USERS_MAX = 65_536;

export class Users {
  readonly #names = new Map<number, Uint8Array>();

  constructor(names: Iterable<readonly [number, Uint8Array]> = []) {
    for (const [uid, name] of names) this.#names.set(uid, name);
  }

  /** All of them: ids, where each name ends, and the names one after the other. */
  packed(): { ids: Uint32Array; ends: Uint32Array; names: Uint8Array } {
    const ids = Uint32Array.from(this.#names.keys());
    const ends = new Uint32Array(ids.length);
    const names = Buffer.concat([...this.#names.values()]);
    let end = 0;
    let index = 0;
    for (const name of this.#names.values()) {
      end += name.length;
      ends[index++] = end;
    }
    return { ids, ends, names: Uint8Array.from(names) };
  }

  /** Reads an `/etc/passwd`; no file, no names. */
  static read(path = '/etc/passwd'): Users {
    let text: string;
    try {
      text = readFileSync(path, 'latin1');
    } catch {
      return new Users();
    }
    const names = new Map<number, Uint8Array>();
    for (const line of text.split('\n')) {
      const [name, , uid] = line.split(':');
      if (name === undefined || uid === undefined || !/^\d+$/.test(uid) || names.size >= USERS_MAX) continue;
      // The first name of a number is its name, as getpwuid has it.
      if (!names.has(Number(uid))) names.set(Number(uid), Uint8Array.from(Buffer.from(name, 'latin1')));
    }
    return new Users(names);
  }
}
