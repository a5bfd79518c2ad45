// SPDX-License-Identifier: Apache-2.0
// Owns one live reader of events. A reader that is slow loses events, which are counted and told to it; it never
// holds anybody up.
import type { Writable } from 'node:stream';
import { EventKind, eventKindNames, HOOK_RECORD_BINDING_INDEX_AT, RECORD_HEADER_KIND_AT } from '@weir/schema';
import { BatchDecoder, type BatchReader } from '@weir/segment';
import { compactEvent } from '../export/compact.js';
import { JsonEncoder, type JsonOptions } from '../export/json.js';
import type { EventsQuery } from './types.js';

/** Bytes that may wait for a reader. */
export const WAITING_BYTES_MAX = 4 * 1024 * 1024;

const kindNumbers = new Map(Object.entries(eventKindNames).map(([number, name]) => [name, Number(number)]));
const firstHook = EventKind.kprobe;

export class Subscriber {
  readonly #stream: Writable;
  readonly #query: EventsQuery;
  readonly #json: JsonEncoder;
  readonly #kinds: ReadonlySet<number> | undefined;
  #left: number;
  #droppedSince = 0;
  dropped = 0;
  done = false;

  /** @throws {RangeError} for a kind that there is not */
  constructor(stream: Writable, query: EventsQuery, options: JsonOptions) {
    this.#stream = stream;
    this.#query = query;
    this.#json = new JsonEncoder(options);
    this.#left = query.limit ?? Number.POSITIVE_INFINITY;
    if (query.kinds !== undefined && query.kinds.length > 0) {
      this.#kinds = new Set(
        query.kinds.map((name) => {
          const number = kindNumbers.get(name);
          if (number === undefined) throw new RangeError(`kinds: there is no kind ${name}`);
          return number;
        }),
      );
    }
  }

  #wanted(decoder: BatchDecoder, index: number): boolean {
    const { batch } = decoder;
    const at = batch.recordAt(index);
    const kind = batch.view.getUint16(at + RECORD_HEADER_KIND_AT, true);
    if (this.#kinds === undefined) {
      // A clone says little to who reads along: what follows, an exec or an exit, names the process and its parent.
      if (kind === EventKind.clone && this.#query.format === 'compact') return false;
    } else if (!this.#kinds.has(kind)) return false;
    const { policy } = this.#query;
    if (policy === undefined) return true;
    if (kind < firstHook || kind >= EventKind.rateLimitInfo || kind === EventKind.throttle) return false;
    const binding = batch.view.getUint32(at + HOOK_RECORD_BINDING_INDEX_AT, true);
    return binding !== 0 && decoder.binding(binding - 1).policyName === policy;
  }

  /** Writes the events of a batch. */
  show(batch: BatchReader): void {
    if (this.done) return;
    const decoder = new BatchDecoder(batch);
    const count = batch.header.recordCount;
    if (this.#stream.writableLength > WAITING_BYTES_MAX) {
      for (let index = 0; index < count; index++) if (this.#wanted(decoder, index)) this.#droppedSince++;
      return;
    }
    const lines: string[] = [];
    if (this.#droppedSince > 0) {
      this.dropped += this.#droppedSince;
      lines.push(this.#droppedLine(this.#droppedSince));
      this.#droppedSince = 0;
    }
    for (let index = 0; index < count && this.#left > 0; index++) {
      if (!this.#wanted(decoder, index)) continue;
      lines.push(
        this.#query.format === 'compact'
          ? compactEvent(decoder, index, { colour: this.#query.colour === true })
          : this.#json.event(decoder, index),
      );
      this.#left--;
    }
    if (lines.length > 0) this.#stream.write(`${lines.join('\n')}\n`);
    if (this.#left <= 0) {
      this.done = true;
      this.#stream.end();
    }
  }

  #droppedLine(count: number): string {
    return this.#query.format === 'compact'
      ? `-- ${count} events not shown: this reader is too slow --`
      : JSON.stringify({ rate_limit_info: { number_of_dropped_process_events: String(count) } });
  }
}
