// SPDX-License-Identifier: Apache-2.0
// Owns the watch over sockets that are freed, without which an owner would be that of whatever socket gets the same
// address next: the program that forgets them, and the map of owners, which is empty whenever the watch begins.
import { type BpfLink, type BpfMap, type BpfObject, kernelFunction, openObject } from '@weir/native';
import { explainRefusal, PolicyLoadError } from './errors.js';

/** The kernel calls it last before the memory of a socket is freed. */
const freedAt = 'security_sk_free';

export class SocketOwners {
  readonly #objectPath: string;
  readonly #owners: BpfMap;
  #object: BpfObject | undefined;
  #link: BpfLink | undefined;
  #programId = 0;

  /** @param objectPath path of `socket.bpf.o` */
  constructor(objectPath: string, owners: BpfMap) {
    this.#objectPath = objectPath;
    this.#owners = owners;
  }

  /** Watches from now on. @throws {PolicyLoadError} where this kernel does not let it */
  watch(): void {
    if (this.#link !== undefined) return;
    if (kernelFunction(freedAt) === undefined)
      throw new PolicyLoadError(
        'no-function',
        `TrackSock: this kernel has no function ${freedAt}, by which it is known when a socket is gone`,
      );
    try {
      const object = openObject({
        path: this.#objectPath,
        reuseMaps: { socket_owners: this.#owners },
      });
      this.#object = object.load();
      const program = object.program('forget_socket');
      this.#link = program.attach();
      this.#programId = program.id;
      program.close();
    } catch (error) {
      this.close();
      throw explainRefusal('attach', 'fentry', freedAt, error);
    }
    const keys: Uint8Array[] = [];
    this.#owners.forEachKey((key) => {
      keys.push(key.slice());
    });
    for (const key of keys) this.#owners.delete(key);
  }

  /** Whether what is to be watched is watched still. */
  isAttached(): boolean {
    return this.#link === undefined || this.#link.programId() === this.#programId;
  }

  close(): void {
    this.#link?.close();
    this.#link = undefined;
    this.#object?.close();
    this.#object = undefined;
  }
}
