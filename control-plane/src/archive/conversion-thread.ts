// SPDX-License-Identifier: Apache-2.0
// Owns the thread in which segments are checked and turned into Parquet, so that the server goes on answering.
import { Worker } from 'node:worker_threads';
import type { SegmentHeader } from '@weir/segment';
import { compiled } from './compiled.js';
import type { Conversion, MergedFile, Origin } from './convert.js';
import { ArchiveError, type ArchiveErrorCode } from './error.js';

export type ConversionRequest =
  | { readonly id: number; readonly task: 'verify'; readonly bytes: Uint8Array }
  | {
      readonly id: number;
      readonly task: 'convert';
      readonly bytes: Uint8Array;
      readonly origin: Origin;
      readonly folder: string;
    }
  | {
      readonly id: number;
      readonly task: 'merge';
      readonly paths: readonly string[];
      readonly dedupe: boolean;
      readonly path: string;
    };

export type ConversionAnswer =
  | { readonly id: number; readonly value: unknown }
  | {
      readonly id: number;
      readonly error: { readonly code: ArchiveErrorCode | undefined; readonly message: string };
    };

/** Requests that wait, at most: uploads beyond are told to come again. */
const waitingMax = 64;

type Task<R> = R extends unknown ? Omit<R, 'id'> : never;

export class ConversionThread {
  #worker: Worker | undefined;
  #nextId = 0;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #closed = false;

  /** Checks all of a segment. @throws {ArchiveError} invalid-segment, busy */
  verify(bytes: Uint8Array): Promise<SegmentHeader> {
    return this.#ask({ task: 'verify', bytes }) as Promise<SegmentHeader>;
  }

  /** Checks it again, and writes its files. @throws {ArchiveError} invalid-segment, busy */
  convert(bytes: Uint8Array, origin: Origin, folder: string): Promise<Conversion> {
    return this.#ask({ task: 'convert', bytes, origin, folder }) as Promise<Conversion>;
  }

  /** Merges Parquet files of one partition. @throws {ArchiveError} busy */
  merge(paths: readonly string[], dedupe: boolean, path: string): Promise<MergedFile> {
    return this.#ask({ task: 'merge', paths, dedupe, path }) as Promise<MergedFile>;
  }

  #ask(task: Task<ConversionRequest>): Promise<unknown> {
    if (this.#closed) return Promise.reject(new ArchiveError('closed', 'the archive is closed'));
    if (this.#waiting.size >= waitingMax) {
      return Promise.reject(new ArchiveError('busy', 'as many segments as may are waiting'));
    }
    const worker = this.#start();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ ...task, id });
    });
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(compiled(import.meta.url, 'conversion-worker.js'));
    // The server may end while the thread is idle.
    worker.unref();
    worker.on('message', (answer: ConversionAnswer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ('error' in answer) {
        const { code, message } = answer.error;
        waiting?.reject(code === undefined ? new Error(message) : new ArchiveError(code, message));
      } else {
        waiting?.resolve(answer.value);
      }
    });
    const ended = (error: Error): void => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    worker.on('error', ended);
    worker.on('exit', (code) => ended(new Error(`the conversion thread ended with ${code}`)));
    this.#worker = worker;
    return worker;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker?.terminate();
  }
}
