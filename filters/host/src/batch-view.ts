// SPDX-License-Identifier: Apache-2.0
// Owns how the worker reads a batch in its slot: the few header words, and a code and a state for each record.
// Hot: one pass over the records a batch, about 3 ns each.
import {
  BATCH_HEADER_BINDING_COUNT_AT,
  BATCH_HEADER_BINDINGS_AT_AT,
  BATCH_HEADER_NODE_LABELS_AT,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_POD_COUNT_AT,
  BATCH_HEADER_PODS_AT_AT,
  BATCH_HEADER_PROCESS_COUNT_AT,
  BATCH_HEADER_PROCESSES_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  BINDING_ENTRY_BYTES,
  BINDING_ENTRY_FUNCTION_NAME_AT,
  BINDING_ENTRY_POLICY_NAME_AT,
  EventKind,
  FilterMark,
  HOOK_RECORD_BINDING_INDEX_AT,
  limits,
  POD_ENTRY_BYTES,
  POD_ENTRY_LABELS_AT,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_ENVIRONMENT_AT,
  PROCESS_ENTRY_PARENT_INDEX_AT,
  PROCESS_ENTRY_POD_INDEX_AT,
  RECORD_HEADER_ANNOTATION_AT,
  RECORD_HEADER_FLAGS_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PARENT_INDEX_AT,
  RECORD_HEADER_PROCESS_INDEX_AT,
  RECORD_HEADER_SIZE_AT,
  RECORD_HEADER_TIME_NS_AT,
  RecordFlag,
} from '@weir/schema';

/** Bits of a record's state. */
export const State = {
  /** No filter may drop it, nor hold it back. */
  protected: 1,
  /** No filter sees it. */
  unseen: 2,
} as const;

/** Bytes of an event that its allowance of fuel is for; it has more for each byte beyond. */
const EVENT_BYTES = 1024;
/** What a record and a text of a process can have at most: more is a lie, and earns nothing. */
const RECORD_BYTES_MAX = 32 * 1024 + limits.whole_bytes;
const TEXT_BYTES_MAX = 8 * 1024;
/** Ancestors whose texts count, as in the SDK. */
const ANCESTORS_MAX = 64;
/** Texts of a process that events make long. */
const textSpans = [
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_ENVIRONMENT_AT,
];

/** Kinds are sparse; a code is small. */
export const KIND_CODES = 64;
const kindCodes = new Map<number, number>(Object.values(EventKind).map((kind, index) => [kind, index + 1]));

export function kindCode(kind: number): number {
  return kindCodes.get(kind) ?? 0;
}

// Direct for the kinds of events, which are small numbers; the rest by the map.
const smallCodes = Uint8Array.from({ length: 64 }, (_, kind) => kindCode(kind));

const protectedKinds: ReadonlySet<number> = new Set([
  EventKind.loss,
  EventKind.throttle,
  EventKind.tamper,
  EventKind.rateLimitInfo,
]);
const unseenKinds: ReadonlySet<number> = new Set([EventKind.alert, EventKind.none, EventKind.rateLimitInfo]);
const hookKinds: ReadonlySet<number> = new Set([
  EventKind.kprobe,
  EventKind.tracepoint,
  EventKind.loader,
  EventKind.uprobe,
  EventKind.lsm,
  EventKind.usdt,
]);
const isProtected = Uint8Array.from({ length: KIND_CODES });
const isUnseen = Uint8Array.from({ length: KIND_CODES });
const isHook = Uint8Array.from({ length: KIND_CODES });
for (const [kind, code] of kindCodes) {
  if (protectedKinds.has(kind)) isProtected[code] = 1;
  if (unseenKinds.has(kind)) isUnseen[code] = 1;
  if (hookKinds.has(kind)) isHook[code] = 1;
}
// A kind that this version does not know goes through unjudged.
isUnseen[0] = 1;
isProtected[0] = 1;

export function isHookCode(code: number): boolean {
  return isHook[code] === 1;
}

const text = new TextDecoder();
const noLabels: ReadonlySet<string> = new Set();

export class BatchView {
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  words: Uint32Array = new Uint32Array(0);
  byteLength = 0;
  recordCount = 0;
  /** Index of the first record offset in `words`. */
  offsetsAt = 0;
  readonly codes: Uint8Array;
  readonly states: Uint8Array;
  /** The same, four at a time. */
  readonly stateWords: Int32Array;
  /** Records that no filter sees. */
  unseen = 0;
  /** Records that no filter may drop. */
  protected = 0;
  /** Records on which a filter trapped. */
  errors = 0;
  #policies: (string | undefined)[] = [];
  #functions: (string | undefined)[] = [];
  #podLabels: (ReadonlySet<string> | undefined)[] = [];
  #nodeLabels: ReadonlySet<string> | undefined;
  /** Of each record, bytes beyond EVENT_BYTES; and of all together. Looked at once a batch, as it was handed over. */
  readonly #longBytes: Uint32Array;
  #longTotal = -1;
  #times: { readonly fromMs: number; readonly untilMs: number } | undefined;
  #textBytes = new Uint32Array(256);

  constructor(recordsMax: number) {
    this.#longBytes = new Uint32Array(recordsMax);
    this.codes = new Uint8Array(recordsMax);
    this.stateWords = new Int32Array((recordsMax + 3) >> 2);
    this.states = new Uint8Array(this.stateWords.buffer);
  }

  /** Looks at the batch in a slot. With `again`, takes back the marks that a run which was broken off may have left. */
  open(slot: SharedArrayBuffer, batchArea: number, byteLength: number, again: boolean): void {
    if (this.words.buffer !== slot) {
      this.bytes = new Uint8Array(slot);
      this.view = new DataView(slot);
      this.words = new Uint32Array(slot, 0, batchArea >> 2);
    }
    const words = this.words;
    this.byteLength = byteLength;
    this.recordCount = words[BATCH_HEADER_RECORD_COUNT_AT >> 2] as number;
    this.offsetsAt = (words[BATCH_HEADER_OFFSETS_AT_AT >> 2] as number) >> 2;
    this.errors = 0;
    this.#longTotal = -1;
    this.#times = undefined;
    this.#policies = [];
    this.#functions = [];
    this.#podLabels = [];
    this.#nodeLabels = undefined;
    const { codes, states, recordCount, offsetsAt } = this;
    let unseen = 0;
    let protectedCount = 0;
    for (let index = 0; index < recordCount; index++) {
      const at = (words[offsetsAt + index] as number) >> 2;
      // kind and flags share a word.
      const word = words[at + (RECORD_HEADER_KIND_AT >> 2)] as number;
      const kind = word & 0xffff;
      const code = kind < 64 ? (smallCodes[kind] as number) : kindCode(kind);
      codes[index] = code;
      let state = isProtected[code] as number;
      if (((word >>> 16) & RecordFlag.protected) !== 0) state |= State.protected;
      if (isUnseen[code] !== 0) {
        state |= State.unseen;
        unseen++;
      }
      protectedCount += state & State.protected;
      states[index] = state;
    }
    this.unseen = unseen;
    this.protected = protectedCount;
    if (again) this.#takeBack();
  }

  #takeBack(): void {
    for (let index = 0; index < this.recordCount; index++) {
      const at = this.recordAt(index);
      this.view.setUint32(at + RECORD_HEADER_ANNOTATION_AT, 0, true);
      const flags = this.view.getUint16(at + RECORD_HEADER_FLAGS_AT, true);
      this.view.setUint16(at + RECORD_HEADER_FLAGS_AT, flags & ~RecordFlag.filterError, true);
    }
  }

  /** The least time of a record, and the greatest. Looked at once a batch. */
  get times(): { readonly fromMs: number; readonly untilMs: number } {
    if (this.#times === undefined) {
      let fromMs = Number.POSITIVE_INFINITY;
      let untilMs = Number.NEGATIVE_INFINITY;
      for (let index = 0; index < this.recordCount; index++) {
        const timeMs = this.timeMs(index);
        fromMs = Math.min(fromMs, timeMs);
        untilMs = Math.max(untilMs, timeMs);
      }
      this.#times = { fromMs, untilMs };
    }
    return this.#times;
  }

  recordAt(index: number): number {
    return this.words[this.offsetsAt + index] as number;
  }

  timeMs(index: number): number {
    const at = (this.recordAt(index) + RECORD_HEADER_TIME_NS_AT) >> 2;
    return Math.floor(((this.words[at + 1] as number) * 2 ** 32 + (this.words[at] as number)) / 1e6);
  }

  /**
   * Bytes of a record beyond what an event's allowance is for, up to the next power of two. An event's bytes are those of
   * its record and of the texts of its process, its parent and their ancestors, which others may share: a filter reads
   * them each time.
   */
  longOf(index: number): number {
    if (this.#longTotal < 0) this.#measure();
    return this.#longTotal === 0 ? 0 : (this.#longBytes[index] as number);
  }

  /** The first record behind one that is not as long as it. */
  alikeUntil(index: number): number {
    const end = this.recordCount;
    if (this.#longTotal === 0) return end;
    const long = this.longOf(index);
    let at = index + 1;
    while (at < end && this.#longBytes[at] === long) at++;
    return at;
  }

  /** The same for all records from one to another that are to be judged. */
  longBytes(marks: Uint8Array, from: number, until: number): number {
    if (this.#longTotal < 0) this.#measure();
    if (this.#longTotal === 0) return 0;
    let sum = 0;
    for (let index = from; index < until; index++) {
      if (marks[index] === FilterMark.judge) sum += this.#longBytes[index] as number;
    }
    return sum;
  }

  #measure(): void {
    const { words, recordCount } = this;
    const count = this.#measureProcesses();
    let total = 0;
    for (let index = 0; index < recordCount; index++) {
      const at = this.recordAt(index);
      const process = words[(at + RECORD_HEADER_PROCESS_INDEX_AT) >> 2] as number;
      const bytes =
        Math.min(words[(at + RECORD_HEADER_SIZE_AT) >> 2] as number, RECORD_BYTES_MAX) +
        this.#lineBytes(process, count) +
        this.#lineBytes(this.#parentBeside(at, process, count), count);
      const long = bytes <= EVENT_BYTES ? 0 : 2 ** Math.ceil(Math.log2(bytes - EVENT_BYTES));
      this.#longBytes[index] = long;
      total += long;
    }
    this.#longTotal = total;
  }

  /** Notes how long the texts of each process are; returns how many processes there are. */
  #measureProcesses(): number {
    const { words } = this;
    const said = words[BATCH_HEADER_PROCESS_COUNT_AT >> 2] as number;
    const first = words[BATCH_HEADER_PROCESSES_AT_AT >> 2] as number;
    const room = Math.floor(Math.max(this.byteLength - first, 0) / PROCESS_ENTRY_BYTES);
    const count = Math.min(said, room);
    if (count > this.#textBytes.length) this.#textBytes = new Uint32Array(count * 2);
    for (let index = 0; index < count; index++) {
      const entry = first + index * PROCESS_ENTRY_BYTES;
      let bytes = 0;
      for (const span of textSpans)
        bytes += Math.min(words[(entry + span + 4) >> 2] as number, TEXT_BYTES_MAX);
      this.#textBytes[index] = bytes;
    }
    return count;
  }

  #parentOf(process: number): number {
    const first = this.words[BATCH_HEADER_PROCESSES_AT_AT >> 2] as number;
    return this.words[
      (first + (process - 1) * PROCESS_ENTRY_BYTES + PROCESS_ENTRY_PARENT_INDEX_AT) >> 2
    ] as number;
  }

  /** Bytes of the texts of a process and its ancestors. */
  #lineBytes(process: number, count: number): number {
    let bytes = 0;
    let index = process;
    for (let generation = 0; generation <= ANCESTORS_MAX && index > 0 && index <= count; generation++) {
      bytes += this.#textBytes[index - 1] as number;
      index = this.#parentOf(index);
    }
    return bytes;
  }

  /** The parent that a record names, where it is not its process's own. */
  #parentBeside(recordAt: number, process: number, count: number): number {
    const parent = this.words[(recordAt + RECORD_HEADER_PARENT_INDEX_AT) >> 2] as number;
    const known = process > 0 && process <= count && this.#parentOf(process) === parent;
    return known ? 0 : parent;
  }

  flagError(index: number): void {
    const at = this.recordAt(index) + RECORD_HEADER_FLAGS_AT;
    const flags = this.view.getUint16(at, true);
    if ((flags & RecordFlag.filterError) === 0) this.errors++;
    this.view.setUint16(at, flags | RecordFlag.filterError, true);
  }

  /** Name of the policy that a record comes from, undefined where it comes from none. */
  policyOf(index: number): string | undefined {
    return this.#ofBinding(index, BINDING_ENTRY_POLICY_NAME_AT, this.#policies);
  }

  /** Name of the function, hook, tracepoint or symbol that a record comes from, undefined where it comes from none. */
  functionOf(index: number): string | undefined {
    return this.#ofBinding(index, BINDING_ENTRY_FUNCTION_NAME_AT, this.#functions);
  }

  #ofBinding(index: number, field: number, known: (string | undefined)[]): string | undefined {
    if (isHook[this.codes[index] as number] === 0) return undefined;
    const binding = this.words[(this.recordAt(index) + HOOK_RECORD_BINDING_INDEX_AT) >> 2] as number;
    const count = this.words[BATCH_HEADER_BINDING_COUNT_AT >> 2] as number;
    if (binding === 0 || binding > count) return undefined;
    let name = known[binding];
    if (name === undefined) {
      const first = this.words[BATCH_HEADER_BINDINGS_AT_AT >> 2] as number;
      name = this.#text(first + (binding - 1) * BINDING_ENTRY_BYTES + field);
      known[binding] = name;
    }
    return name;
  }

  /** What a span says; empty where it does not lie within the batch. */
  #text(spanAt: number): string {
    if (spanAt + 8 > this.byteLength) return '';
    const offset = this.view.getUint32(spanAt, true);
    const length = this.view.getUint32(spanAt + 4, true);
    // A copy: TextDecoder does not read shared memory.
    return text.decode(this.bytes.slice(offset, Math.min(offset + length, this.byteLength)));
  }

  /** Labels of the pod that a record's process runs in, as `name=value`. */
  podLabelsOf(index: number): ReadonlySet<string> {
    const { words } = this;
    const process = words[(this.recordAt(index) + RECORD_HEADER_PROCESS_INDEX_AT) >> 2] as number;
    if (process === 0 || process > (words[BATCH_HEADER_PROCESS_COUNT_AT >> 2] as number)) return noLabels;
    const entry = (words[BATCH_HEADER_PROCESSES_AT_AT >> 2] as number) + (process - 1) * PROCESS_ENTRY_BYTES;
    const pod = words[(entry + PROCESS_ENTRY_POD_INDEX_AT) >> 2] ?? 0;
    if (pod === 0 || pod > (words[BATCH_HEADER_POD_COUNT_AT >> 2] as number)) return noLabels;
    let labels = this.#podLabels[pod];
    if (labels === undefined) {
      const at = (words[BATCH_HEADER_PODS_AT_AT >> 2] as number) + (pod - 1) * POD_ENTRY_BYTES;
      labels = labelsFrom(this.#text(at + POD_ENTRY_LABELS_AT));
      this.#podLabels[pod] = labels;
    }
    return labels;
  }

  nodeLabels(): ReadonlySet<string> {
    this.#nodeLabels ??= labelsFrom(this.#text(BATCH_HEADER_NODE_LABELS_AT));
    return this.#nodeLabels;
  }
}

/** Reads pairs of name and value, each followed by NUL. */
function labelsFrom(pairs: string): ReadonlySet<string> {
  const parts = pairs.split('\0');
  const labels = new Set<string>();
  for (let index = 0; index + 1 < parts.length; index += 2) labels.add(`${parts[index]}=${parts[index + 1]}`);
  return labels;
}
