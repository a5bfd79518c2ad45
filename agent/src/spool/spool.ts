// SPDX-License-Identifier: Apache-2.0
// Owns the way of batches from the agent's memory to sealed segments on disk that wait for upload.
//
//   append → <n>.open → (full, or old enough) → sealed: <n>.segment → uploaded → removed
//
// What holds at any moment, whatever happens to the process or the machine:
// - a batch whose `append` has answered true is written: it survives a kill. It is synced at most a second later:
//   from then on it survives a power loss;
// - a frame is whole or it is not there (its check sum says); what is cut off at start is counted;
// - open file n becomes segment n, so a crash between any two steps of sealing is seen by the names alone;
// - a segment is removed only when it is acknowledged: delivery is at least once;
// - the spool never grows beyond `bytesMax`. When it is full, the newest is refused, not the oldest removed: a
//   flood of events must not push out the evidence of what came before it, and the chain stays whole. What is
//   refused is counted as lost at `spool_full`.
//
// Two things are serialised, each by itself: what touches the file that is appended to, and sealing.
import { type FileHandle, mkdir, open, readFile, rm, unlink } from 'node:fs/promises';
import { BATCH_HEADER_RECORD_COUNT_AT } from '@weir/schema';
import { frameParts, readSegment, readWholeFrames, sealSegment } from '@weir/segment';
import { type ChainState, writeChainState } from './chain-state.js';
import { SpoolError } from './error.js';
import { spoolPath, syncFolder, writeDurably } from './files.js';
import { eventsLostWith } from './lost.js';
import { type Recovery, recover } from './recovery.js';
import { ready, type SealedSegment } from './sealed.js';

export interface SpoolOptions {
  readonly folder: string;
  /** As the control plane enrolled it. A spool is of one agent: give each its own folder. */
  readonly agentId: string;
  /** All that the spool takes on disk. Default 1 GiB. */
  readonly bytesMax?: number;
  /** An open file is sealed when it has this many bytes. Default 4 MiB, or a quarter of `bytesMax`. */
  readonly segmentBytes?: number;
  /** An open file is sealed this long after its first batch. Default 5,000. */
  readonly segmentMs?: number;
  /** Appended bytes are synced this long after the first of them. Default 500, so that a second is kept. */
  readonly syncMs?: number;
  /** Told of each loss as it is counted. */
  readonly onLoss?: (stage: SpoolLossStage, records: number) => void;
  /** Told of errors of the file system outside `append`; sealing is tried again at the next turn. */
  readonly onError?: (error: unknown) => void;
  /** For tests: called between the steps of sealing; when it throws, the rest does not happen. */
  readonly onStep?: (step: SpoolStep) => void;
}

/** loss_stage: no room left; the file system refused; the control plane refused. */
export type SpoolLossStage = 'spool_full' | 'sink' | 'upload';
export type SpoolStep = 'segment-written' | 'segment-named' | 'chain-written' | 'open-removed';

export interface SpoolStats {
  readonly bytes: number;
  readonly bytesMax: number;
  /** Bytes that a power loss could still take. */
  readonly unsyncedBytes: number;
  readonly openFiles: number;
  readonly sealedSegments: number;
  readonly appendedBatches: number;
  readonly appendedRecords: number;
  readonly acknowledgedSegments: number;
  readonly acknowledgedRecords: number;
  readonly lostRecords: Readonly<Record<SpoolLossStage, number>>;
  /** Sequence of the segment that is sealed next. */
  readonly nextSequence: bigint;
}

interface OpenFile {
  readonly sequence: bigint;
  readonly path: string;
  /** Undefined for files that were there at the start: nothing is appended to them. */
  readonly handle: FileHandle | undefined;
  length: number;
  unsyncedBytes: number;
}

const noAccounting = new Uint8Array();
/** After sealing has failed (no room, say), it is tried again this much later. */
const sealRetryMs = 1000;

/**
 * The agent's spool.
 * @example
 * const spool = await Spool.open({ folder, agentId });
 * const stored = await spool.append(batch, accounting);
 */
export class Spool {
  /** What was found at the start. */
  readonly recovered: Recovery;
  readonly #folder: string;
  readonly #options: SpoolOptions;
  readonly #bytesMax: number;
  /** What appends may fill: one segment's room stays for sealing, which has it raw and compressed for a moment. */
  readonly #appendBytesMax: number;
  readonly #segmentBytes: number;
  readonly #segmentMs: number;
  readonly #syncMs: number;
  #chain: ChainState;
  #bytes: number;
  /** Bytes of appends that are under way. */
  #pendingBytes = 0;
  #active: OpenFile | undefined;
  #nextOpen: bigint;
  readonly #toSeal: OpenFile[] = [];
  readonly #dirty = new Set<OpenFile>();
  #folderDirty = false;
  #writing: Promise<unknown> = Promise.resolve();
  #sealing: Promise<void> | undefined;
  #advancing: Promise<void> = Promise.resolve();
  readonly #sealed: SealedSegment[] = [];
  #waiting: (() => void)[] = [];
  #syncTimer: NodeJS.Timeout | undefined;
  #segmentTimer: NodeJS.Timeout | undefined;
  #sealTimer: NodeJS.Timeout | undefined;
  #closed = false;
  #appendedBatches = 0;
  #appendedRecords = 0;
  #acknowledgedSegments = 0;
  #acknowledgedRecords = 0;
  readonly #lost: Record<SpoolLossStage, number> = { spool_full: 0, sink: 0, upload: 0 };

  private constructor(options: SpoolOptions, recovery: Recovery) {
    this.#folder = options.folder;
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? 1024 ** 3;
    // Of a small spool not all may go to the room that sealing needs.
    this.#segmentBytes = options.segmentBytes ?? Math.min(4 * 1024 ** 2, Math.floor(this.#bytesMax / 4));
    this.#appendBytesMax = Math.max(0, this.#bytesMax - this.#segmentBytes);
    this.#segmentMs = options.segmentMs ?? 5000;
    this.#syncMs = options.syncMs ?? 500;
    this.recovered = recovery;
    this.#chain = recovery.chain;
    this.#bytes = 0;
    this.#nextOpen = recovery.chain.next;
    for (const segment of recovery.segments) {
      this.#sealed.push(segment);
      this.#bytes += segment.byteLength;
    }
    for (const file of recovery.openFiles) {
      this.#toSeal.push({ ...file, handle: undefined, unsyncedBytes: 0 });
      this.#bytes += file.length;
      this.#nextOpen = file.sequence + 1n;
    }
  }

  /**
   * Opens the spool in a folder, made if it is not there: cuts torn tails, goes on with the chain, offers again
   * what was not acknowledged.
   * @throws {SpoolError} damaged, wrong-agent
   */
  static async open(options: SpoolOptions): Promise<Spool> {
    await mkdir(options.folder, { recursive: true, mode: 0o700 });
    const spool = new Spool(options, await recover(options.folder, options.agentId));
    spool.#seal();
    return spool;
  }

  /**
   * Appends a batch, with the agent's accounting beside it (what each CPU has produced up to it; opaque here, the
   * last one is given back at the next start). Takes the bytes as they are: they must not change until it answers.
   * One `writev`, no sync; nothing is made per event.
   * @returns true when the batch is written; false when it was refused, and counted as lost.
   * @throws {SpoolError} closed
   * @throws {SegmentError} too-large
   */
  append(batch: Uint8Array, accounting: Uint8Array = noAccounting): Promise<boolean> {
    if (this.#closed) return Promise.reject(new SpoolError('closed', 'the spool is closed'));
    const parts = frameParts(batch, accounting);
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const records = new DataView(batch.buffer, batch.byteOffset).getUint32(
      BATCH_HEADER_RECORD_COUNT_AT,
      true,
    );
    if (this.#bytes + this.#pendingBytes + bytes > this.#appendBytesMax) {
      this.#lose('spool_full', records);
      return Promise.resolve(false);
    }
    this.#pendingBytes += bytes;
    return this.#serially(() => this.#write(parts, bytes, records)).finally(() => {
      this.#pendingBytes -= bytes;
    });
  }

  async #write(parts: Uint8Array[], bytes: number, records: number): Promise<boolean> {
    let file: OpenFile;
    try {
      file = this.#active ?? (await this.#begin());
      await writeAll(file, parts);
    } catch (error) {
      return await this.#writeFailed(error, records);
    }
    file.length += bytes;
    this.#bytes += bytes;
    this.#appendedBatches++;
    this.#appendedRecords += records;
    file.unsyncedBytes += bytes;
    this.#soil(file);
    if (file.length >= this.#segmentBytes) this.#rotate();
    return true;
  }

  /** Takes back what was written of a frame, so that the file ends with a whole one. */
  async #writeFailed(error: unknown, records: number): Promise<boolean> {
    const code = (error as NodeJS.ErrnoException).code;
    this.#lose(code === 'ENOSPC' || code === 'EDQUOT' ? 'spool_full' : 'sink', records);
    this.#options.onError?.(error);
    const file = this.#active;
    try {
      await file?.handle?.truncate(file.length);
    } catch {
      // A torn frame in the middle would hide what follows: nothing more goes into this file.
      this.#rotate();
    }
    return false;
  }

  async #begin(): Promise<OpenFile> {
    const path = spoolPath(this.#folder, this.#nextOpen, 'open');
    const handle = await open(path, 'ax', 0o600);
    const file: OpenFile = { sequence: this.#nextOpen, path, handle, length: 0, unsyncedBytes: 0 };
    this.#nextOpen += 1n;
    this.#active = file;
    this.#folderDirty = true;
    if (Number.isFinite(this.#segmentMs)) {
      this.#segmentTimer = setTimeout(() => this.#background(this.rotate()), this.#segmentMs).unref();
    }
    return file;
  }

  #soil(file: OpenFile): void {
    this.#dirty.add(file);
    if (this.#syncTimer === undefined && Number.isFinite(this.#syncMs)) {
      this.#syncTimer = setTimeout(() => this.#background(this.sync()), this.#syncMs).unref();
    }
  }

  /** Syncs all that was appended. The timer does it by itself. */
  async sync(): Promise<void> {
    clearTimeout(this.#syncTimer);
    this.#syncTimer = undefined;
    const files = [...this.#dirty];
    this.#dirty.clear();
    const folderDirty = this.#folderDirty;
    this.#folderDirty = false;
    for (const file of files) {
      const bytes = file.unsyncedBytes;
      // A file that was sealed in the meantime is closed: its segment has been synced.
      if (!this.#isSealed(file)) await file.handle?.datasync();
      // What was appended meanwhile stays to be synced: append has armed the timer for it.
      file.unsyncedBytes -= bytes;
    }
    if (folderDirty) await syncFolder(this.#folder);
  }

  #isSealed(file: OpenFile): boolean {
    return file.sequence < this.#chain.next;
  }

  /** Ends the open file, if it has a batch, and begins to seal it. The timer and the size do it by themselves. */
  rotate(): Promise<void> {
    return this.#serially(() => {
      this.#rotate();
      return Promise.resolve();
    });
  }

  #rotate(): void {
    const file = this.#active;
    if (file === undefined || file.length === 0) return;
    clearTimeout(this.#segmentTimer);
    this.#active = undefined;
    this.#toSeal.push(file);
    this.#seal();
  }

  #seal(): void {
    if (this.#sealing !== undefined || this.#abandoned) return;
    clearTimeout(this.#sealTimer);
    this.#sealing = this.#sealAll()
      .catch((error: unknown) => {
        this.#options.onError?.(error);
        if (!this.#closed) this.#sealTimer = setTimeout(() => this.#seal(), sealRetryMs).unref();
      })
      .finally(() => {
        this.#sealing = undefined;
      });
  }

  async #sealAll(): Promise<void> {
    for (let file = this.#toSeal[0]; file !== undefined && !this.#abandoned; file = this.#toSeal[0]) {
      // A power loss can take the name of a file and spare the next one: its place in the chain stays, empty.
      while (this.#chain.next < file.sequence) await this.#sealOne(undefined);
      // After an error the file may have been sealed already, and only its removal have failed.
      if (!this.#isSealed(file)) await this.#sealOne(file);
      await this.#removeOpen(file);
      this.#toSeal.shift();
    }
  }

  async #sealOne(file: OpenFile | undefined): Promise<void> {
    const step = this.#options.onStep ?? (() => {});
    const { agentId, chainId, next: sequence, previous } = this.#chain;
    const bytes = file === undefined ? noAccounting : await readFile(file.path);
    const { frames, byteLength } = readWholeFrames(bytes);
    const raw = bytes.subarray(0, byteLength);
    const sealed = await sealSegment({ agentId, chainId, sequence, previous, raw, frames });
    const path = spoolPath(this.#folder, sequence, 'segment');
    await writeDurably(this.#folder, path, sealed.bytes, () => step('segment-written'));
    step('segment-named');
    const accounting = frames.findLast((frame) => frame.accounting.length > 0)?.accounting;
    await this.#advance({
      next: sequence + 1n,
      previous: sealed.digest,
      ...(accounting === undefined ? {} : { accounting }),
    });
    this.#bytes += sealed.bytes.length;
    const link = { agentId, chainId, sequence, previous, digest: sealed.digest };
    const recordCount = frames.reduce((sum, frame) => sum + frame.recordCount, 0);
    this.#sealed.push(ready({ ...link, recordCount, path }, sealed.bytes.length));
    this.#wake();
    step('chain-written');
  }

  /** Sealing and giving up both change the chain's state: one after the other. */
  #advance(change: Partial<ChainState>): Promise<void> {
    const result = this.#advancing.then(async () => {
      const chain = { ...this.#chain, ...change };
      await writeChainState(this.#folder, chain);
      this.#chain = chain;
    });
    this.#advancing = result.catch(() => {});
    return result;
  }

  async #removeOpen(file: OpenFile): Promise<void> {
    // `force`: it may be gone already, where an error came after the removal.
    await rm(file.path, { force: true });
    await file.handle?.close();
    this.#dirty.delete(file);
    this.#bytes -= file.length;
    file.length = 0;
    file.unsyncedBytes = 0;
    this.#options.onStep?.('open-removed');
  }

  /** The oldest segment that is not acknowledged. */
  oldestSealed(): SealedSegment | undefined {
    return this.#sealed[0];
  }

  /** Waits for a segment to upload; undefined when the spool is closed or the signal aborts. */
  async nextSealed(signal: AbortSignal): Promise<SealedSegment | undefined> {
    while (this.#sealed.length === 0 && !this.#closed && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          signal.removeEventListener('abort', done);
          resolve();
        };
        signal.addEventListener('abort', done, { once: true });
        this.#waiting.push(done);
      });
    }
    return signal.aborted ? undefined : this.#sealed[0];
  }

  /** Removes the oldest segment: it was stored elsewhere, or refused for good (its records are counted as lost). */
  async acknowledge(segment: SealedSegment, outcome: 'stored' | 'duplicate' | 'refused'): Promise<void> {
    if (this.#sealed[0] !== segment) {
      throw new SpoolError('damaged', `segment ${segment.sequence} is not the oldest one`);
    }
    // The loss first: a kill after the removal would leave nobody who knows of it.
    if (outcome === 'refused') await this.#giveUp(segment);
    await unlink(segment.path);
    this.#sealed.shift();
    this.#bytes -= segment.byteLength;
    if (outcome === 'refused') this.#lose('upload', segment.recordCount);
    else {
      this.#acknowledgedSegments++;
      this.#acknowledgedRecords += segment.recordCount;
    }
  }

  async #giveUp(segment: SealedSegment): Promise<void> {
    const before = this.#chain.givenUp;
    if (before !== undefined && before.through >= segment.sequence) return;
    let events = segment.recordCount;
    try {
      events = eventsLostWith(readSegment(await segment.read()).batches.map(({ bytes }) => bytes));
    } catch (error) {
      // It may be refused because nobody can read it; its header's count is all that there is.
      this.#options.onError?.(error);
    }
    await this.#advance({
      givenUp: { through: segment.sequence, events: (before?.events ?? 0) + events },
    });
  }

  /** Events that were lost with all segments that were ever given up. */
  get eventsGivenUp(): number {
    return this.#chain.givenUp?.events ?? 0;
  }

  stats(): SpoolStats {
    return {
      bytes: this.#bytes,
      bytesMax: this.#bytesMax,
      unsyncedBytes: [...this.#toSeal, this.#active].reduce(
        (sum, file) => sum + (file?.unsyncedBytes ?? 0),
        0,
      ),
      openFiles: this.#toSeal.length + (this.#active === undefined ? 0 : 1),
      sealedSegments: this.#sealed.length,
      appendedBatches: this.#appendedBatches,
      appendedRecords: this.#appendedRecords,
      acknowledgedSegments: this.#acknowledgedSegments,
      acknowledgedRecords: this.#acknowledgedRecords,
      lostRecords: { ...this.#lost },
      nextSequence: this.#chain.next,
    };
  }

  /** Waits until all that has been rotated is sealed, or sealing has failed. */
  async settled(): Promise<void> {
    await this.#serially(() => Promise.resolve());
    await this.#sealing;
  }

  /** Seals what is open and closes. Segments that are not uploaded stay. Idempotent. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      await this.rotate();
      // A failed turn is tried once more; what cannot be sealed now is sealed at the next start.
      this.#seal();
      await this.#sealing;
      await this.sync();
      await this.#release();
    }
    this.#wake();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #abandoned = false;

  /** For tests: stops as a killed process does, with nothing sealed or synced on the way. */
  async abandon(): Promise<void> {
    this.#abandoned = true;
    this.#closed = true;
    await this.#serially(() => Promise.resolve());
    await this.#sealing;
    await this.#release();
    this.#wake();
  }

  async #release(): Promise<void> {
    clearTimeout(this.#syncTimer);
    clearTimeout(this.#segmentTimer);
    clearTimeout(this.#sealTimer);
    for (const file of [...this.#toSeal, this.#active]) await file?.handle?.close();
    this.#active = undefined;
  }

  #lose(stage: SpoolLossStage, records: number): void {
    this.#lost[stage] += records;
    this.#options.onLoss?.(stage, records);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#writing.then(work);
    this.#writing = result.catch(() => {});
    return result;
  }

  #background(work: Promise<void>): void {
    work.catch((error: unknown) => this.#options.onError?.(error));
  }
}

/** Writes all parts; the kernel may take fewer bytes than it is given. */
async function writeAll(file: OpenFile, parts: Uint8Array[]): Promise<void> {
  let rest = parts;
  while (rest.length > 0) {
    const written = await file.handle?.writev(rest);
    let left = written?.bytesWritten ?? 0;
    if (left === 0) throw new SpoolError('io', `${file.path}: nothing was written`);
    while (rest[0] !== undefined && left >= rest[0].length) {
      left -= rest[0].length;
      rest = rest.slice(1);
    }
    if (left > 0 && rest[0] !== undefined) rest = [rest[0].subarray(left), ...rest.slice(1)];
  }
}
