// SPDX-License-Identifier: Apache-2.0
// Owns what is known of bindings (a policy on a hook), laid out once as a batch wants it.
import { BINDING_ENTRY_BYTES, makeBindingEntry, type Span, writeBindingEntry } from '@weir/schema';
import { textToBytes } from '@weir/segment';

export interface Binding {
  readonly bindingId: number;
  /** event_kind of its records. */
  readonly eventKind: number;
  readonly policyName: string;
  readonly policyNamespace?: string;
  readonly functionName: string;
  readonly subsystem?: string;
  readonly provider?: string;
  readonly message?: string;
  readonly tags?: readonly string[];
  readonly argumentLabels?: readonly string[];
}

/** Ids up to this are found without a hash. */
const DIRECT_MAX = 65_536;
/** Bindings that are remembered: a policy that was removed can still have records in the ring. */
export const BINDINGS_MAX = 16_384;

/** An entry and its strings, padded to a multiple of 8; spans count from the start of the strings. */
export interface LaidBinding {
  readonly entry: Uint32Array;
  readonly strings: Uint8Array;
}

function lay(binding: Binding): LaidBinding {
  const parts: Uint8Array[] = [];
  let end = 0;
  const span = (bytes: Uint8Array): Span => {
    if (bytes.length === 0) return { offset: 0, length: 0 };
    parts.push(bytes);
    const offset = end;
    end += bytes.length;
    return { offset, length: bytes.length };
  };
  const text = (value: string | undefined) => span(textToBytes(value ?? ''));
  const list = (values: readonly string[] | undefined) =>
    span(textToBytes((values ?? []).map((value) => `${value}\0`).join('')));
  const bytes = new ArrayBuffer(BINDING_ENTRY_BYTES);
  writeBindingEntry(
    new DataView(bytes),
    0,
    makeBindingEntry({
      bindingId: binding.bindingId,
      eventKind: binding.eventKind,
      policyName: text(binding.policyName),
      policyNamespace: text(binding.policyNamespace),
      functionName: text(binding.functionName),
      subsystem: text(binding.subsystem),
      provider: text(binding.provider),
      message: text(binding.message),
      tags: list(binding.tags),
      argumentLabels: list(binding.argumentLabels),
    }),
  );
  const strings = new Uint8Array(Math.ceil(end / 8) * 8);
  let at = 0;
  for (const part of parts) {
    strings.set(part, at);
    at += part.length;
  }
  return { entry: new Uint32Array(bytes), strings };
}

export class Bindings {
  /** Asked for a binding that is not known yet. */
  readonly #resolve: ((id: number) => Binding | undefined) | undefined;
  /** Number of a binding by its id, 0 where it is not known; the join looks here first. */
  readonly direct = new Uint32Array(DIRECT_MAX);
  /** Bytes of the strings of each binding, by its number. */
  readonly stringBytes = new Uint32Array(BINDINGS_MAX + 1);
  readonly #far = new Map<number, number>();
  readonly #ids: number[] = [];
  /** By number, from 1 on. */
  readonly laid: (LaidBinding | undefined)[] = [undefined];

  constructor(resolve?: (id: number) => Binding | undefined) {
    this.#resolve = resolve;
  }

  /** Adds a binding, or says anew what one is. The oldest is forgotten where there are too many. */
  set(binding: Binding): void {
    const known = this.#known(binding.bindingId);
    if (known !== 0) {
      this.#lay(known, binding);
      return;
    }
    if (this.#ids.length >= BINDINGS_MAX) {
      const oldest = this.#ids.shift() as number;
      const number = this.#known(oldest);
      this.#forget(oldest);
      this.laid[number] = undefined;
      this.stringBytes[number] = 0;
    }
    const number = this.laid.length < BINDINGS_MAX + 1 ? this.laid.length : this.laid.indexOf(undefined, 1);
    this.#lay(number, binding);
    this.#ids.push(binding.bindingId);
    if (binding.bindingId < DIRECT_MAX) this.direct[binding.bindingId] = number;
    else this.#far.set(binding.bindingId, number);
  }

  #lay(number: number, binding: Binding): void {
    const laid = lay(binding);
    this.laid[number] = laid;
    this.stringBytes[number] = laid.strings.length;
  }

  #forget(id: number): void {
    if (id < DIRECT_MAX) this.direct[id] = 0;
    else this.#far.delete(id);
  }

  #known(id: number): number {
    return id < DIRECT_MAX ? (this.direct[id] as number) : (this.#far.get(id) ?? 0);
  }

  /** Number of a binding; 0 where it is not known. Hot. */
  numberOf(id: number): number {
    const number = this.#known(id);
    if (number !== 0 || this.#resolve === undefined) return number;
    const binding = this.#resolve(id);
    if (binding === undefined) return 0;
    this.set(binding);
    return this.#known(id);
  }
}
