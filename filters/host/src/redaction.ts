// SPDX-License-Identifier: Apache-2.0
// Owns masking what a filter wants masked: in place, in the batch, before the next filter, a sink or the spool sees it.
// A filter names pieces of the batch; each must lie within one field that its manifest declares, or it lies. On an
// event on which it fails, all declared fields are masked. Hot only for filters that redact. The batch holds what the
// kernel saw: every offset is looked at before it is used.
import {
  ARGUMENT_BYTES,
  ARGUMENT_FLAGS_AT,
  ARGUMENT_ORIGINAL_LENGTH_AT,
  ARGUMENT_PAYLOAD_AT,
  ARGUMENT_TYPE_AT,
  ArgumentFlag,
  ArgumentType,
  BATCH_HEADER_BYTES,
  BATCH_HEADER_PROCESS_COUNT_AT,
  BATCH_HEADER_PROCESSES_AT_AT,
  EventKind,
  EXEC_RECORD_ARGUMENTS_AT,
  EXEC_RECORD_ARGUMENTS_ORIGINAL_AT,
  EXEC_RECORD_CWD_AT,
  EXEC_RECORD_ENVIRONMENT_AT,
  EXEC_RECORD_EXEC_FLAGS_AT,
  ExecFlag,
  HOOK_RECORD_ARGUMENT_COUNT_AT,
  HOOK_RECORD_BYTES,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_CONTAINER_ID_AT,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_ENVIRONMENT_AT,
  PROCESS_ENTRY_EXEC_FLAGS_AT,
  PROCESS_ENTRY_PARENT_INDEX_AT,
  PROCESS_ENTRY_USER_NAME_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PARENT_INDEX_AT,
  RECORD_HEADER_PROCESS_INDEX_AT,
} from '@weir/schema';
import { type BatchView, isHookCode } from './batch-view.js';
import { type Field, MaskedField } from './masked.js';
import type { Notes } from './notes.js';

/** Ancestors that are looked at, as in the SDK. */
const ANCESTORS_MAX = 64;
/** Pieces that are kept of one batch; of an event beyond them, all is masked. */
const PIECES_MAX = 65_536;
/** As an offset of a piece: the whole of what is declared. */
const WHOLE = 0xffffffff;
const PIECE_WORDS = 3;
/** Fuel of a piece; for each field that it may lie in; and a shift for the bytes of the one that it lies in. */
const PIECE_FUEL = 100;
const FIELD_FUEL = 16;
const BYTES_FUEL_SHIFT = 1;

/** A field of a process: where its span is in the entry, and in an exec record. */
const processFields: Record<string, readonly [entryAt: number, recordAt: number]> = {
  'process.arguments': [PROCESS_ENTRY_ARGUMENTS_AT, EXEC_RECORD_ARGUMENTS_AT],
  'process.environment': [PROCESS_ENTRY_ENVIRONMENT_AT, EXEC_RECORD_ENVIRONMENT_AT],
  'process.cwd': [PROCESS_ENTRY_CWD_AT, EXEC_RECORD_CWD_AT],
};

/** All texts of an entry. */
const entrySpans = [
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_CONTAINER_ID_AT,
  PROCESS_ENTRY_USER_NAME_AT,
  PROCESS_ENTRY_ENVIRONMENT_AT,
];

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
  /** Fuel of the piece that was added last. */
  cost = 0;
  #pieces = new Uint32Array(256 * PIECE_WORDS);
  #count = 0;
  /** Records that are masked as a whole, for want of room for their pieces. */
  readonly #overflow = new Set<number>();
  /** Fields of which something is masked, by where they begin. */
  readonly #fields = new Map<number, MaskedField>();
  /** By field: processes of which it is masked as a whole, and its ancestors' from so many generations on. */
  readonly #wholes: Map<number, number>[];

  constructor(fields: readonly string[]) {
    this.#process = fields.flatMap((field) => {
      const spans = processFields[field];
      return spans === undefined ? [] : [spans];
    });
    this.#wholes = this.#process.map(() => new Map());
    this.#hook = fields.includes('arguments');
    this.#declared = fields.join(', ');
  }

  begin(): void {
    this.#count = 0;
    this.#overflow.clear();
    this.#forget();
  }

  #forget(): void {
    this.#fields.clear();
    for (const known of this.#wholes) known.clear();
  }

  /**
   * Takes note of a piece of the batch. Returns what is wrong with it, if anything is. `cost` is what it comes to in fuel:
   * finding the field, now and as it is masked, and going through that then.
   */
  add(batch: BatchView, record: number, at: number, length: number): string | undefined {
    this.cost = PIECE_FUEL;
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

  /** Masks all that was noted; what filters said before in the words of the batch moves along. */
  apply(batch: BatchView, notes: Notes): void {
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
    if (this.#fields.size === 0) return;
    // All of it first: of fields that overlap, none may move what another masks.
    for (const masked of this.#fields.values()) masked.overwrite(batch.bytes);
    for (const masked of this.#fields.values()) {
      masked.collapse(batch.bytes);
      shorten(batch, masked);
    }
    this.#shortenEntries(batch);
    notes.move([...this.#fields.values()].sort((a, b) => a.field.at - b.field.at));
    this.#forget();
  }

  /**
   * Takes all declared fields of a record as masked: of its process, its ancestors, its own. Nobody pays for this, and records
   * share their processes: of each, that is done once.
   */
  maskWhole(batch: BatchView, record: number): void {
    this.#eachField(
      batch,
      record,
      (field) => {
        this.#take(field, field.at, field.length);
        return false;
      },
      this.#wholes,
    );
  }

  #take(field: Field, from: number, length: number): void {
    let masked = this.#fields.get(field.at);
    if (masked === undefined || masked.field.length < field.length) {
      masked = new MaskedField(field, masked);
      this.#fields.set(field.at, masked);
    }
    masked.add(from, length);
  }

  /** Finds the field that a piece lies in, and takes the piece as masked. Returns false where there is none. */
  #mask(batch: BatchView, record: number, from: number, length: number, write: boolean): boolean {
    return this.#eachField(batch, record, (field, twin) => {
      const { at } = field;
      this.cost += FIELD_FUEL;
      if (from < at || from + length > at + field.length) return false;
      if (!write) {
        this.cost += field.length >> BYTES_FUEL_SHIFT;
        return true;
      }
      this.#take(field, from, length);
      if (twin !== undefined) {
        // The record of an exec has its own copy. Where that was cut elsewhere, no place in it can be trusted.
        if (twin.length === field.length) this.#take(twin, twin.at + (from - at), length);
        else this.#take(twin, twin.at, twin.length);
      }
      return true;
    });
  }

  /** Entries of processes share their texts: each whose span is that of a masked field has it shortened. */
  #shortenEntries(batch: BatchView): void {
    const { view } = batch;
    const count = view.getUint32(BATCH_HEADER_PROCESS_COUNT_AT, true);
    for (let index = 1; index <= count; index++) {
      const entry = processAt(batch, index);
      if (entry < 0) return;
      for (const spanAt of entrySpans) {
        const masked = this.#fields.get(view.getUint32(entry + spanAt, true));
        if (masked === undefined || view.getUint32(entry + spanAt + 4, true) !== masked.field.length)
          continue;
        view.setUint32(entry + spanAt + 4, masked.length, true);
        markProcess(batch, entry + PROCESS_ENTRY_EXEC_FLAGS_AT);
      }
    }
  }

  /**
   * Visits the declared fields of a record until one is the right one. With `known`, those of a process and its ancestors are
   * left out that it has from as few generations on, or fewer; what is visited is added.
   */
  #eachField(
    batch: BatchView,
    record: number,
    visit: (field: Field, twin?: Field | undefined) => boolean,
    known?: readonly Map<number, number>[],
  ): boolean {
    const { view } = batch;
    const recordAt = batch.recordAt(record);
    const isExec = view.getUint16(recordAt + RECORD_HEADER_KIND_AT, true) === EventKind.exec;
    for (const [place, [entryField, recordField]] of this.#process.entries()) {
      const seen = known?.[place];
      const own = isExec ? fieldAt(batch, 'exec', recordAt, recordField, recordAt) : undefined;
      for (const header of [RECORD_HEADER_PROCESS_INDEX_AT, RECORD_HEADER_PARENT_INDEX_AT]) {
        let index = view.getUint32(recordAt + header, true);
        const first = header === RECORD_HEADER_PROCESS_INDEX_AT;
        for (let generation = 0; generation <= ANCESTORS_MAX; generation++) {
          const entry = processAt(batch, index);
          if (entry < 0) break;
          if (seen !== undefined) {
            if ((seen.get(index) ?? Number.POSITIVE_INFINITY) <= generation) break;
            seen.set(index, generation);
          }
          const field = fieldAt(batch, 'entry', entry, entryField, 0);
          if (field !== undefined && visit(field, first && generation === 0 ? own : undefined)) return true;
          index = view.getUint32(entry + PROCESS_ENTRY_PARENT_INDEX_AT, true);
        }
      }
      if (own !== undefined && visit(own)) return true;
    }
    if (!this.#hook || !isHookCode(batch.codes[record] as number)) return false;
    const count = view.getUint16(recordAt + HOOK_RECORD_ARGUMENT_COUNT_AT, true);
    for (let index = 0; index < count; index++) {
      const argument = recordAt + HOOK_RECORD_BYTES + index * ARGUMENT_BYTES;
      if (argument + ARGUMENT_BYTES > batch.byteLength) return false;
      if (!isMaskable(view.getUint8(argument + ARGUMENT_TYPE_AT))) continue;
      const field = fieldAt(batch, 'argument', argument, ARGUMENT_PAYLOAD_AT, recordAt);
      if (field !== undefined && visit(field)) return true;
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

/** Whether bytes touch the batch's header, its table of records or that of processes. */
function touchesTables({ view, offsetsAt, recordCount }: BatchView, from: number, end: number): boolean {
  const records = offsetsAt * 4;
  const processes = view.getUint32(BATCH_HEADER_PROCESSES_AT_AT, true);
  const processesEnd = processes + view.getUint32(BATCH_HEADER_PROCESS_COUNT_AT, true) * PROCESS_ENTRY_BYTES;
  return (
    from < BATCH_HEADER_BYTES ||
    (from < records + recordCount * 4 && end > records) ||
    (from < processesEnd && end > processes)
  );
}

/**
 * A field by its span, if that lies where texts can be. What is masked is written over, and the batch's own tables must
 * not be, whatever a span says.
 */
function fieldAt(
  batch: BatchView,
  kind: Field['kind'],
  owner: number,
  offset: number,
  base: number,
): Field | undefined {
  const spanAt = owner + offset;
  if (spanAt + 8 > batch.byteLength) return undefined;
  const at = base + batch.view.getUint32(spanAt, true);
  const length = batch.view.getUint32(spanAt + 4, true);
  if (length === 0 || at + length > batch.byteLength || touchesTables(batch, at, at + length))
    return undefined;
  return { at, length, kind, owner, spanAt };
}

/** Writes the new length of a field that nobody shares, and what tells that it was masked. */
function shorten(batch: BatchView, { field, length }: MaskedField): void {
  const { view } = batch;
  if (field.kind === 'entry') return;
  view.setUint32(field.spanAt + 4, length, true);
  if (field.kind === 'exec') {
    // What it says of the arguments before they were cut would tell of what was masked in them.
    if (field.spanAt === field.owner + EXEC_RECORD_ARGUMENTS_AT) {
      view.setUint32(field.owner + EXEC_RECORD_ARGUMENTS_ORIGINAL_AT, length, true);
    }
    markProcess(batch, field.owner + EXEC_RECORD_EXEC_FLAGS_AT);
    return;
  }
  view.setUint32(field.owner + ARGUMENT_ORIGINAL_LENGTH_AT, length, true);
  const flagsAt = field.owner + ARGUMENT_FLAGS_AT;
  view.setUint16(flagsAt, view.getUint16(flagsAt, true) | ArgumentFlag.redacted, true);
}

function markProcess(batch: BatchView, flagsAt: number): void {
  batch.view.setUint32(flagsAt, batch.view.getUint32(flagsAt, true) | ExecFlag.redacted, true);
}
