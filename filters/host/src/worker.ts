// SPDX-License-Identifier: Apache-2.0
// Owns the worker: takes batches from the ring of submissions, has each filter take its turn in order, and lays out
// the result. A new configuration takes effect between two batches.

import { readlinkSync } from 'node:fs';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { BATCH_HEADER_BYTE_LENGTH_AT } from '@weir/schema';
import { BatchView } from './batch-view.js';
import { align8 } from './instance.js';
import { Notes } from './notes.js';
import { ownProcessorNs, ProcessorShare } from './processor.js';
import { FilterRunner, type RunnerContext } from './runner.js';
import { makeScratch } from './scratch.js';
import {
  type ConfigMessage,
  Control,
  Phase,
  Result,
  slotBytes,
  type WorkerData,
  type WorkerMessage,
} from './shared.js';
import { Judgement } from './types.js';

const port = parentPort as MessagePort;
const { bounds, control: controlBuffer, counters, slots } = workerData as WorkerData;
const control = new Int32Array(controlBuffer);
const layout = slotBytes(bounds);
const results = Control.ring + bounds.slots;
const batch = new BatchView(bounds.recordsMax);
const notes = new Notes(bounds.recordsMax, bounds.annotationBytesMax, bounds.batchBytesMax);
const scratch = makeScratch(bounds.recordsMax);
const { judgements, judgementWords } = scratch;

const processor = new ProcessorShare(ownProcessorNs);
const nowNs = () => Number(process.hrtime.bigint());

const context: RunnerContext = {
  bounds,
  counters: new Float64Array(counters),
  post: (message) => port.postMessage(message),
  enter(phase, row) {
    Atomics.store(control, Control.row, row);
    Atomics.add(control, Control.calls, 1);
    Atomics.store(control, Control.phase, phase);
  },
  leave() {
    Atomics.store(control, Control.phase, Phase.host);
  },
  nowNs,
  processorNs: (tookNs, now) => processor.of(tookNs, now),
};

/** Time of events between two looks at the filters' states. */
const CHECKPOINT_MS = 1000;

let runners: FilterRunner[] = [];
let setNumber = 0;
let configured = 0;
/** Time of events at which the filters' states were last told. */
let checkpointMs = Number.NEGATIVE_INFINITY;

function post(message: WorkerMessage): void {
  port.postMessage(message);
}

function configure(message: ConfigMessage): void {
  const current = new Map(runners.map((runner) => [runner.entry.id, runner]));
  const byName = new Map(runners.map((runner) => [runner.entry.name, runner]));
  const next: FilterRunner[] = [];
  for (const entry of message.entries) {
    const running = current.get(entry.id);
    if (running !== undefined && running.entry.row === entry.row) {
      next.push(running);
      continue;
    }
    const runner = new FilterRunner(entry, scratch, context);
    next.push(runner);
    if (runner.quarantined) continue;
    try {
      runner.load();
      const before = byName.get(entry.name);
      if (before !== undefined) runner.takeOver(before);
      else if (entry.state !== undefined) runner.resume(entry.state);
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'unknown';
      if (!message.tolerant) {
        // Those before stay, of which some may have been asked for their state.
        for (const one of runners) one.recover();
        post({ type: 'applied', number: message.number, error: { row: entry.row, reason } });
        return;
      }
      runner.quarantine('load', reason);
    }
  }
  runners = next;
  setNumber = message.number;
  post({ type: 'applied', number: message.number });
}

function judge(slotIndex: number): void {
  const at = results + slotIndex * Result.words;
  const slot = slots[slotIndex] as SharedArrayBuffer;
  const inputBytes = control[at + Result.inputBytes] as number;
  batch.open(slot, bounds.batchBytesMax, inputBytes, control[at + Result.again] === 1);
  const { recordCount } = batch;
  judgements.fill(Judgement.keep, 0, (recordCount + 3) & ~3);
  notes.begin(batch.bytes, align8(inputBytes), layout.verdicts, recordCount);
  let live = recordCount;
  for (const [index, runner] of runners.entries()) {
    if (live === 0) break;
    notes.turn(runners.length, runners.length - 1 - index);
    live -= runner.judge(batch, judgements, live, notes);
  }
  const end = notes.layOut(batch.view, batch.words, batch.offsetsAt, judgements);
  const byteLength = end < 0 ? inputBytes : align8(end);
  let dropped = 0;
  let heldBack = 0;
  if (live < recordCount) {
    // Four at once. Beyond the last record all is 0.
    for (let word = 0; word << 2 < recordCount; word++) {
      const four = judgementWords[word] as number;
      dropped += Math.imul(four & 0x01010101, 0x01010101) >>> 24;
      heldBack += Math.imul((four >> 1) & 0x01010101, 0x01010101) >>> 24;
    }
  }
  batch.bytes.set(judgements.subarray(0, recordCount), layout.verdicts);
  batch.view.setUint32(BATCH_HEADER_BYTE_LENGTH_AT, byteLength, true);
  control[at + Result.byteLength] = byteLength;
  control[at + Result.recordCount] = recordCount;
  control[at + Result.kept] = recordCount - dropped - heldBack;
  control[at + Result.dropped] = dropped;
  control[at + Result.heldBack] = heldBack;
  control[at + Result.errors] = batch.errors;
  control[at + Result.annotationsLost] = notes.lost;
  control[at + Result.alertCount] = notes.alertCount;
  control[at + Result.alertsAt] = notes.alertsAt;
  control[at + Result.filterSet] = setNumber;
}

/** Tells the filters' states, once in so much time of events: what is lost with a worker is no older. */
function checkpoint(): void {
  if (batch.recordCount === 0) return;
  const nowMs = batch.timeMs(batch.recordCount - 1);
  if (Math.abs(nowMs - checkpointMs) < CHECKPOINT_MS) return;
  checkpointMs = nowMs;
  for (const runner of runners) runner.checkpoint(nowMs);
}

try {
  // "PID/task/TID": the one way for a thread to learn its number without native code.
  const id = readlinkSync('/proc/thread-self').split('/').at(-1);
  if (id !== undefined) post({ type: 'thread', id });
} catch {
  // No /proc: the watchdog goes by the clock.
}

for (;;) {
  const wake = Atomics.load(control, Control.wake);
  if (Atomics.load(control, Control.configured) !== configured) {
    const received = receiveMessageOnPort(port) as { message: ConfigMessage } | undefined;
    if (received !== undefined) {
      configured++;
      configure(received.message);
      continue;
    }
  }
  const completed = Atomics.load(control, Control.completed);
  if (Atomics.load(control, Control.submitted) === completed) {
    Atomics.wait(control, Control.wake, wake);
    continue;
  }
  processor.begin(nowNs());
  judge(control[Control.ring + ((completed >>> 0) % bounds.slots)] as number);
  post({ type: 'done', completed: (Atomics.add(control, Control.completed, 1) + 1) | 0 });
  checkpoint();
  processor.end(nowNs());
}
