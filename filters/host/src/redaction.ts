// SPDX-License-Identifier: Apache-2.0
// Owns masking what a filter wants masked: in place, in the batch, before the next filter, a sink or the spool sees it.
// A filter names pieces of the batch; each must lie within one field that its manifest declares, or it lies. On an
// event on which it fails, all declared fields are masked. Hot only for filters that redact. The batch holds what the
// kernel saw: every offset is looked at before it is used.
import {
  ARGUMENT_BYTES,
  ARGUMENT_FLAGS_AT,
  ARGUMENT_PAYLOAD_AT,
  ARGUMENT_TYPE_AT,
  ArgumentFlag,
  ArgumentType,
  BATCH_HEADER_PROCESS_COUNT_AT,
  BATCH_HEADER_PROCESSES_AT_AT,
  EventKind,
  EXEC_RECORD_ARGUMENTS_AT,
  EXEC_RECORD_CWD_AT,
  EXEC_RECORD_ENVIRONMENT_AT,
  HOOK_RECORD_ARGUMENT_COUNT_AT,
  HOOK_RECORD_BYTES,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_ENVIRONMENT_AT,
  PROCESS_ENTRY_PARENT_INDEX_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PARENT_INDEX_AT,
  RECORD_HEADER_PROCESS_INDEX_AT,
} from '@weir/schema';
import { type BatchView, isHookCode } from './batch-view.js';

const STAR = 0x2a;
/** Ancestors that are looked at, as in the SDK. */
const ANCESTORS_MAX = 64;
/** Pieces that are kept of one batch; of an event beyond them, all is masked. */
const PIECES_MAX = 65_536;
/** As an offset of a piece: the whole of what is declared. */
const WHOLE = 0xffffffff;
const PIECE_WORDS = 3;

/** A field of a process: where its span is in the entry, and in an exec record. */
const processFields: Record<string, readonly [entryAt: number, recordAt: number]> = {
  'process.arguments': [PROCESS_ENTRY_ARGUMENTS_AT, EXEC_RECORD_ARGUMENTS_AT],
  'process.environment': [PROCESS_ENTRY_ENVIRONMENT_AT, EXEC_RECORD_ENVIRONMENT_AT],
  'process.cwd': [PROCESS_ENTRY_CWD_AT, EXEC_RECORD_CWD_AT],
};

/** Types of arguments whose payload is text or bytes; of the others, a mask would make another value. */
function isMaskable(type: number): boolean {
  return (
    (type >= ArgumentType.string && type <= ArgumentType.dataLoc) ||
    type === ArgumentType.sockaddrUn ||
    type === ArgumentType.netDevice
  );
}

export class Redactor {
  readonly #process: (readonly [entryAt: number, recordAt: number])[];
  readonly #hook: boolean;
  readonly #declared: string;
  #pieces = new Uint32Array(256 * PIECE_WORDS);
  #count = 0;
  /** Records that are masked as a whole, for want of room for their pieces. */
  readonly #overflow = new Set<number>();

  constructor(fields: readonly string[]) {
    this.#process = fields.flatMap((field) => {
      const spans = processFields[field];
      return spans === undefined ? [] : [spans];
    });
    this.#hook = fields.includes('arguments');
    this.#declared = fields.join(', ');
  }

  begin(): void {
    this.#count = 0;
    this.#overflow.clear();
  }

  /** Takes note of a piece of the batch. Returns what is wrong with it, if anything is. */
  add(batch: BatchView, record: number, at: number, length: number): string | undefined {
    if (!this.#mask(batch, record, at, length, false)) {
      return `${length} bytes at ${at} of the batch are in no field of record ${record} that its manifest redacts (${this.#declared})`;
    }
    this.#push(record, at, length);
    return undefined;
  }

  /** Takes note that all declared fields of a record are to be masked. */
  addWhole(record: number): void {
    this.#push(record, WHOLE, 0);
  }

  #push(record: number, at: number, length: number): void {
    if (this.#count >= PIECES_MAX) {
      this.#overflow.add(record);
      return;
    }
    const to = this.#count++ * PIECE_WORDS;
    if (to + PIECE_WORDS > this.#pieces.length) {
      const larger = new Uint32Array(this.#pieces.length * 2);
      larger.set(this.#pieces);
      this.#pieces = larger;
    }
    this.#pieces[to] = record;
    this.#pieces[to + 1] = at;
    this.#pieces[to + 2] = length;
  }

  /** Masks all that was noted. */
  apply(batch: BatchView): void {
    for (let index = 0; index < this.#count; index++) {
      const from = index * PIECE_WORDS;
      const record = this.#pieces[from] as number;
      const at = this.#pieces[from + 1] as number;
      if (at === WHOLE) this.maskWhole(batch, record);
      else this.#mask(batch, record, at, this.#pieces[from + 2] as number, true);
    }
    for (const record of this.#overflow) this.maskWhole(batch, record);
    this.#overflow.clear();
    this.#count = 0;
  }

  /** Masks all declared fields of a record: of its process, its ancestors, its own. */
  maskWhole(batch: BatchView, record: number): void {
    this.#eachField(batch, record, (at, length, argument) => {
      fill(batch, at, length, argument === 0);
      if (argument !== 0) markRedacted(batch, argument);
      return false;
    });
  }

  /** Finds the field that a piece lies in, and masks the piece. Returns false where there is none. */
  #mask(batch: BatchView, record: number, from: number, length: number, write: boolean): boolean {
    return this.#eachField(batch, record, (at, bytes, argument, twin) => {
      if (from < at || from + length > at + bytes) return false;
      if (!write) return true;
      fill(batch, from, length, argument === 0);
      if (argument !== 0) markRedacted(batch, argument);
      if (twin !== undefined) {
        // The record of an exec has its own copy. Where that was cut elsewhere, no place in it can be trusted.
        if (twin.length === bytes) fill(batch, twin.at + (from - at), length, true);
        else fill(batch, twin.at, twin.length, true);
      }
      return true;
    });
  }

  /** Visits the declared fields of a record until one is the right one. */
  #eachField(
    batch: BatchView,
    record: number,
    visit: (
      at: number,
      length: number,
      argument: number,
      twin?: { at: number; length: number } | undefined,
    ) => boolean,
  ): boolean {
    const { view } = batch;
    const recordAt = batch.recordAt(record);
    const isExec = view.getUint16(recordAt + RECORD_HEADER_KIND_AT, true) === EventKind.exec;
    for (const [entryField, recordField] of this.#process) {
      const own = isExec ? span(batch, recordAt + recordField, recordAt) : undefined;
      for (const header of [RECORD_HEADER_PROCESS_INDEX_AT, RECORD_HEADER_PARENT_INDEX_AT]) {
        let index = view.getUint32(recordAt + header, true);
        const first = header === RECORD_HEADER_PROCESS_INDEX_AT;
        for (let generation = 0; generation <= ANCESTORS_MAX; generation++) {
          const entry = processAt(batch, index);
          if (entry < 0) break;
          const field = span(batch, entry + entryField, 0);
          if (
            field !== undefined &&
            visit(field.at, field.length, 0, first && generation === 0 ? own : undefined)
          ) {
            return true;
          }
          index = view.getUint32(entry + PROCESS_ENTRY_PARENT_INDEX_AT, true);
        }
      }
      if (own !== undefined && visit(own.at, own.length, 0)) return true;
    }
    if (!this.#hook || !isHookCode(batch.codes[record] as number)) return false;
    const count = view.getUint16(recordAt + HOOK_RECORD_ARGUMENT_COUNT_AT, true);
    for (let index = 0; index < count; index++) {
      const argument = recordAt + HOOK_RECORD_BYTES + index * ARGUMENT_BYTES;
      if (argument + ARGUMENT_BYTES > batch.byteLength) return false;
      if (!isMaskable(view.getUint8(argument + ARGUMENT_TYPE_AT))) continue;
      const payload = span(batch, argument + ARGUMENT_PAYLOAD_AT, recordAt);
      if (payload !== undefined && visit(payload.at, payload.length, argument)) return true;
    }
    return false;
  }
}

/** Where a process entry is, -1 where there is none. */
function processAt(batch: BatchView, index: number): number {
  const { view } = batch;
  if (index === 0 || index > view.getUint32(BATCH_HEADER_PROCESS_COUNT_AT, true)) return -1;
  const at = view.getUint32(BATCH_HEADER_PROCESSES_AT_AT, true) + (index - 1) * PROCESS_ENTRY_BYTES;
  return at + PROCESS_ENTRY_BYTES <= batch.byteLength ? at : -1;
}

/** What a span says, if it lies within the batch. */
function span(batch: BatchView, at: number, base: number): { at: number; length: number } | undefined {
  if (at + 8 > batch.byteLength) return undefined;
  const start = base + batch.view.getUint32(at, true);
  const length = batch.view.getUint32(at + 4, true);
  return length > 0 && start + length <= batch.byteLength ? { at: start, length } : undefined;
}

/** Masks bytes; of lists, the NUL between two entries stays. */
function fill(batch: BatchView, at: number, length: number, isList: boolean): void {
  const { bytes } = batch;
  if (!isList) {
    bytes.fill(STAR, at, at + length);
    return;
  }
  for (let index = at; index < at + length; index++) if (bytes[index] !== 0) bytes[index] = STAR;
}

function markRedacted(batch: BatchView, argument: number): void {
  const flags = batch.view.getUint16(argument + ARGUMENT_FLAGS_AT, true);
  batch.view.setUint16(argument + ARGUMENT_FLAGS_AT, flags | ArgumentFlag.redacted, true);
}
