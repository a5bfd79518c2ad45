// SPDX-License-Identifier: Apache-2.0
// Owns the checking of a batch that came from outside, and the way into one. What `validateBatch` has let through
// can be read by the layouts of @weir/schema without a further look: every offset, count, index and span that it
// holds stays within what it counts in, and records lie one after the other in the order of their offsets.
//
// The cost is linear in the batch: records may not overlap, and what one record can make a reader look at outside
// itself (its annotation) is bounded by a constant.
import {
  ALERT_RECORD_BYTES,
  ANNOTATION_BYTES,
  ANNOTATION_LABEL_BYTES,
  ANNOTATION_LABEL_COUNT_AT,
  ANNOTATION_LABEL_NAME_AT,
  ANNOTATION_LABEL_VALUE_AT,
  ANNOTATION_MESSAGE_AT,
  ARGUMENT_BYTES,
  ARGUMENT_PAYLOAD_AT,
  BATCH_HEADER_BYTES,
  BATCH_HEADER_CLUSTER_NAME_AT,
  BATCH_HEADER_NODE_LABELS_AT,
  BATCH_HEADER_NODE_NAME_AT,
  type BatchHeader,
  BINDING_ENTRY_ARGUMENT_LABELS_AT,
  BINDING_ENTRY_BYTES,
  BINDING_ENTRY_FUNCTION_NAME_AT,
  BINDING_ENTRY_MESSAGE_AT,
  BINDING_ENTRY_POLICY_NAME_AT,
  BINDING_ENTRY_POLICY_NAMESPACE_AT,
  BINDING_ENTRY_PROVIDER_AT,
  BINDING_ENTRY_SUBSYSTEM_AT,
  BINDING_ENTRY_TAGS_AT,
  CLONE_RECORD_BYTES,
  CLONE_RECORD_CGROUP_NAME_AT,
  EventKind,
  EXEC_RECORD_ARGUMENTS_AT,
  EXEC_RECORD_BINARY_AT,
  EXEC_RECORD_BYTES,
  EXEC_RECORD_CGROUP_NAME_AT,
  EXEC_RECORD_CWD_AT,
  EXEC_RECORD_ENVIRONMENT_AT,
  EXIT_RECORD_BYTES,
  HOOK_RECORD_ARGUMENT_COUNT_AT,
  HOOK_RECORD_BINDING_INDEX_AT,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_DATA_COUNT_AT,
  HOOK_RECORD_HAS_RETURN_AT,
  HOOK_RECORD_KERNEL_STACK_AT,
  HOOK_RECORD_USER_STACK_AT,
  LOSS_RECORD_BYTES,
  POD_ENTRY_ANNOTATIONS_AT,
  POD_ENTRY_BYTES,
  POD_ENTRY_CONTAINER_ID_AT,
  POD_ENTRY_CONTAINER_NAME_AT,
  POD_ENTRY_IMAGE_ID_AT,
  POD_ENTRY_IMAGE_NAME_AT,
  POD_ENTRY_LABELS_AT,
  POD_ENTRY_NAME_AT,
  POD_ENTRY_NAMESPACE_AT,
  POD_ENTRY_UID_AT,
  POD_ENTRY_WORKLOAD_AT,
  POD_ENTRY_WORKLOAD_KIND_AT,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_CONTAINER_ID_AT,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_ENVIRONMENT_AT,
  PROCESS_ENTRY_PARENT_INDEX_AT,
  PROCESS_ENTRY_POD_INDEX_AT,
  PROCESS_ENTRY_USER_NAME_AT,
  RECORD_HEADER_ANNOTATION_AT,
  RECORD_HEADER_BYTES,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PARENT_INDEX_AT,
  RECORD_HEADER_PROCESS_INDEX_AT,
  RECORD_HEADER_SIZE_AT,
  readBatchHeader,
  TAMPER_RECORD_BYTES,
  TAMPER_RECORD_MESSAGE_AT,
  THROTTLE_RECORD_BYTES,
  THROTTLE_RECORD_CGROUP_NAME_AT,
  THROTTLE_RECORD_POLICY_NAME_AT,
} from '@weir/schema';
import { SegmentError } from './error.js';
import {
  ANNOTATION_LABELS_MAX,
  BATCH_BYTES_MAX,
  ENTRY_SPAN_BYTES_MAX,
  EXPANSION_BYTES_FREE,
  EXPANSION_FACTOR_MAX,
  RECORD_ARGUMENTS_MAX,
  RECORD_EXPANSION_FACTOR_MAX,
} from './limits.js';

/** "WEIR", read as a little-endian number. */
export const BATCH_MAGIC = 0x52494557;
export const BATCH_VERSION = 1;

interface Shape {
  readonly bytes: number;
  readonly spans: readonly (readonly [name: string, at: number])[];
}

const hook: Shape = {
  bytes: HOOK_RECORD_BYTES,
  spans: [
    ['kernel_stack', HOOK_RECORD_KERNEL_STACK_AT],
    ['user_stack', HOOK_RECORD_USER_STACK_AT],
  ],
};

const recordShapes: ReadonlyMap<number, Shape> = new Map<number, Shape>([
  [
    EventKind.exec,
    {
      bytes: EXEC_RECORD_BYTES,
      spans: [
        ['binary', EXEC_RECORD_BINARY_AT],
        ['arguments', EXEC_RECORD_ARGUMENTS_AT],
        ['cwd', EXEC_RECORD_CWD_AT],
        ['cgroup_name', EXEC_RECORD_CGROUP_NAME_AT],
        ['environment', EXEC_RECORD_ENVIRONMENT_AT],
      ],
    },
  ],
  [EventKind.clone, { bytes: CLONE_RECORD_BYTES, spans: [['cgroup_name', CLONE_RECORD_CGROUP_NAME_AT]] }],
  [EventKind.exit, { bytes: EXIT_RECORD_BYTES, spans: [] }],
  [EventKind.kprobe, hook],
  [EventKind.tracepoint, hook],
  [EventKind.loader, hook],
  [EventKind.uprobe, hook],
  [EventKind.lsm, hook],
  [EventKind.usdt, hook],
  [
    EventKind.throttle,
    {
      bytes: THROTTLE_RECORD_BYTES,
      spans: [
        ['cgroup_name', THROTTLE_RECORD_CGROUP_NAME_AT],
        ['policy_name', THROTTLE_RECORD_POLICY_NAME_AT],
      ],
    },
  ],
  [EventKind.rateLimitInfo, { bytes: RECORD_HEADER_BYTES, spans: [] }],
  [EventKind.loss, { bytes: LOSS_RECORD_BYTES, spans: [] }],
  [EventKind.alert, { bytes: ALERT_RECORD_BYTES, spans: [] }],
  [EventKind.tamper, { bytes: TAMPER_RECORD_BYTES, spans: [['message', TAMPER_RECORD_MESSAGE_AT]] }],
]);

const processShape: Shape = {
  bytes: PROCESS_ENTRY_BYTES,
  spans: [
    ['binary', PROCESS_ENTRY_BINARY_AT],
    ['arguments', PROCESS_ENTRY_ARGUMENTS_AT],
    ['cwd', PROCESS_ENTRY_CWD_AT],
    ['container_id', PROCESS_ENTRY_CONTAINER_ID_AT],
    ['user_name', PROCESS_ENTRY_USER_NAME_AT],
    ['environment', PROCESS_ENTRY_ENVIRONMENT_AT],
  ],
};

const podShape: Shape = {
  bytes: POD_ENTRY_BYTES,
  spans: [
    ['namespace', POD_ENTRY_NAMESPACE_AT],
    ['name', POD_ENTRY_NAME_AT],
    ['uid', POD_ENTRY_UID_AT],
    ['container_id', POD_ENTRY_CONTAINER_ID_AT],
    ['container_name', POD_ENTRY_CONTAINER_NAME_AT],
    ['image_id', POD_ENTRY_IMAGE_ID_AT],
    ['image_name', POD_ENTRY_IMAGE_NAME_AT],
    ['workload', POD_ENTRY_WORKLOAD_AT],
    ['workload_kind', POD_ENTRY_WORKLOAD_KIND_AT],
    ['labels', POD_ENTRY_LABELS_AT],
    ['annotations', POD_ENTRY_ANNOTATIONS_AT],
  ],
};

const bindingShape: Shape = {
  bytes: BINDING_ENTRY_BYTES,
  spans: [
    ['policy_name', BINDING_ENTRY_POLICY_NAME_AT],
    ['policy_namespace', BINDING_ENTRY_POLICY_NAMESPACE_AT],
    ['function_name', BINDING_ENTRY_FUNCTION_NAME_AT],
    ['subsystem', BINDING_ENTRY_SUBSYSTEM_AT],
    ['provider', BINDING_ENTRY_PROVIDER_AT],
    ['message', BINDING_ENTRY_MESSAGE_AT],
    ['tags', BINDING_ENTRY_TAGS_AT],
    ['argument_labels', BINDING_ENTRY_ARGUMENT_LABELS_AT],
  ],
};

const headerSpans: Shape['spans'] = [
  ['node_name', BATCH_HEADER_NODE_NAME_AT],
  ['cluster_name', BATCH_HEADER_CLUSTER_NAME_AT],
  ['node_labels', BATCH_HEADER_NODE_LABELS_AT],
];

/** Walks one batch; its methods throw at the first thing that is wrong. */
class Check {
  readonly view: DataView;
  readonly byteLength: number;
  header!: BatchHeader;
  /** Bytes that the spans of entries and annotations hold together, and those of the record at hand. */
  #expandedBytes = 0;
  #recordBytes = 0;

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.byteLength = bytes.byteLength;
  }

  run(): BatchHeader {
    this.#header();
    const { header } = this;
    this.#part('offsets_at', header.offsetsAt, header.recordCount, 4, 4);
    this.#entries('processes', header.processesAt, header.processCount, processShape, (at, where) => {
      this.#index(at + PROCESS_ENTRY_PARENT_INDEX_AT, header.processCount, where, 'parent_index');
      this.#index(at + PROCESS_ENTRY_POD_INDEX_AT, header.podCount, where, 'pod_index');
    });
    this.#entries('pods', header.podsAt, header.podCount, podShape);
    this.#entries('bindings', header.bindingsAt, header.bindingCount, bindingShape);
    let end = header.headerBytes;
    for (let i = 0; i < header.recordCount; i++) {
      const at = this.view.getUint32(header.offsetsAt + i * 4, true);
      if (at < end) {
        throw new SegmentError(
          'invalid',
          `records[${i}]`,
          `begins at ${at}, before the end of what is before it (${end}); records are in the order of their offsets`,
        );
      }
      end = at + this.#record(i, at);
    }
    const most = EXPANSION_FACTOR_MAX * this.byteLength + EXPANSION_BYTES_FREE;
    if (this.#expandedBytes > most) {
      throw new SegmentError(
        'too-large',
        'batch',
        `its strings hold ${this.#expandedBytes} bytes together; ${most} is the most for ${this.byteLength}`,
      );
    }
    return header;
  }

  #header(): void {
    if (this.byteLength < BATCH_HEADER_BYTES) {
      throw new SegmentError(
        'truncated',
        'batch',
        `has ${this.byteLength} bytes, a header ${BATCH_HEADER_BYTES}`,
      );
    }
    if (this.byteLength > BATCH_BYTES_MAX) {
      throw new SegmentError(
        'too-large',
        'batch',
        `has ${this.byteLength} bytes; ${BATCH_BYTES_MAX} is the most`,
      );
    }
    const header = readBatchHeader(this.view, 0);
    if (header.magic !== BATCH_MAGIC) {
      throw new SegmentError('not-a-batch', 'header.magic', `is 0x${header.magic.toString(16)}, not "WEIR"`);
    }
    if (header.version !== BATCH_VERSION) {
      throw new SegmentError('version', 'header.version', `is ${header.version}; ${BATCH_VERSION} is known`);
    }
    if (header.headerBytes !== BATCH_HEADER_BYTES) {
      throw new SegmentError(
        'invalid',
        'header.header_bytes',
        `is ${header.headerBytes}, not ${BATCH_HEADER_BYTES}`,
      );
    }
    if (header.byteLength !== this.byteLength) {
      throw new SegmentError(
        header.byteLength > this.byteLength ? 'truncated' : 'invalid',
        'header.byte_length',
        `is ${header.byteLength}, but the batch has ${this.byteLength} bytes`,
      );
    }
    this.header = header;
    for (const [name, at] of headerSpans) this.#span(at, 0, this.byteLength, 'header', name, true);
  }

  /** A part that the header names: `count` times `bytes` at `at`. An empty part may lie anywhere. */
  #part(name: string, at: number, count: number, bytes: number, align: number): void {
    if (count === 0) return;
    if (at % align !== 0)
      throw new SegmentError('invalid', `header.${name}`, `is ${at}, no multiple of ${align}`);
    if (at < BATCH_HEADER_BYTES || at + count * bytes > this.byteLength) {
      throw new SegmentError(
        'out-of-bounds',
        `header.${name}`,
        `is ${at}: ${count} of ${bytes} bytes from there do not fit a batch of ${this.byteLength}`,
      );
    }
  }

  #entries(
    name: string,
    start: number,
    count: number,
    shape: Shape,
    also: (at: number, where: string) => void = () => {},
  ): void {
    this.#part(`${name}_at`, start, count, shape.bytes, 8);
    for (let i = 0; i < count; i++) {
      const at = start + i * shape.bytes;
      const where = `${name}[${i}]`;
      for (const [field, offset] of shape.spans) {
        this.#span(at + offset, 0, this.byteLength, where, field, true);
      }
      also(at, where);
    }
  }

  /** A number that is 0 or 1 + an index below `count`. */
  #index(at: number, count: number, where: string, field: string): void {
    const value = this.view.getUint32(at, true);
    if (value > count) {
      throw new SegmentError('out-of-bounds', `${where}.${field}`, `is ${value}, but there are ${count}`);
    }
  }

  /** A span of the struct at `base`, which may reach over `limit` bytes from there. */
  #span(at: number, base: number, limit: number, where: string, field: string, entry: boolean): void {
    const offset = this.view.getUint32(at, true);
    const length = this.view.getUint32(at + 4, true);
    if (length === 0) return;
    if (entry) this.#expandedBytes += length;
    else this.#recordBytes += length;
    if (offset + length > limit) {
      throw new SegmentError(
        'out-of-bounds',
        `${where}.${field}`,
        `is ${length} bytes at ${offset}, but there are ${limit}`,
      );
    }
    if (entry && length > ENTRY_SPAN_BYTES_MAX) {
      throw new SegmentError(
        'too-large',
        `${where}.${field}`,
        `has ${length} bytes; ${ENTRY_SPAN_BYTES_MAX} is the most`,
      );
    }
    if (base + offset + length > this.byteLength) {
      throw new SegmentError('out-of-bounds', `${where}.${field}`, 'reaches past the end of the batch');
    }
  }

  #record(i: number, at: number): number {
    const where = `records[${i}]`;
    const { view, byteLength, header } = this;
    if (at % 8 !== 0) throw new SegmentError('invalid', where, `begins at ${at}, no multiple of 8`);
    if (at + RECORD_HEADER_BYTES > byteLength) {
      throw new SegmentError(
        'out-of-bounds',
        where,
        `begins at ${at}, too near the end of ${byteLength} bytes`,
      );
    }
    const size = view.getUint32(at + RECORD_HEADER_SIZE_AT, true);
    const kind = view.getUint16(at + RECORD_HEADER_KIND_AT, true);
    const shape = recordShapes.get(kind);
    if (shape === undefined)
      throw new SegmentError('invalid', `${where}.kind`, `is ${kind}, which is none known`);
    if (size % 8 !== 0 || size < shape.bytes) {
      throw new SegmentError(
        'invalid',
        `${where}.size`,
        `is ${size}; a multiple of 8 from ${shape.bytes} on is expected for kind ${kind}`,
      );
    }
    if (at + size > byteLength) {
      throw new SegmentError(
        'out-of-bounds',
        `${where}.size`,
        `is ${size}: reaches past the end of the batch`,
      );
    }
    this.#index(at + RECORD_HEADER_PROCESS_INDEX_AT, header.processCount, where, 'process_index');
    this.#index(at + RECORD_HEADER_PARENT_INDEX_AT, header.processCount, where, 'parent_index');
    this.#recordBytes = 0;
    for (const [field, offset] of shape.spans) this.#span(at + offset, at, size, where, field, false);
    if (shape === hook) this.#hook(at, size, where);
    if (this.#recordBytes > RECORD_EXPANSION_FACTOR_MAX * size) {
      throw new SegmentError('too-large', where, `its spans hold ${this.#recordBytes} bytes; it has ${size}`);
    }
    const annotation = view.getUint32(at + RECORD_HEADER_ANNOTATION_AT, true);
    if (annotation !== 0) this.#annotation(annotation, `${where}.annotation`);
    return size;
  }

  #hook(at: number, size: number, where: string): void {
    const { view } = this;
    this.#index(at + HOOK_RECORD_BINDING_INDEX_AT, this.header.bindingCount, where, 'binding_index');
    const count = view.getUint16(at + HOOK_RECORD_ARGUMENT_COUNT_AT, true);
    const data = view.getUint16(at + HOOK_RECORD_DATA_COUNT_AT, true);
    const hasReturn = view.getUint16(at + HOOK_RECORD_HAS_RETURN_AT, true);
    if (count > RECORD_ARGUMENTS_MAX || HOOK_RECORD_BYTES + count * ARGUMENT_BYTES > size) {
      throw new SegmentError(
        'out-of-bounds',
        `${where}.argument_count`,
        `is ${count}; the record has room for ${Math.floor((size - HOOK_RECORD_BYTES) / ARGUMENT_BYTES)}, and ${RECORD_ARGUMENTS_MAX} is the most`,
      );
    }
    if (hasReturn > 1 || data + hasReturn > count) {
      throw new SegmentError(
        'invalid',
        `${where}.data_count`,
        `is ${data}, with ${hasReturn} return values, but there are ${count} arguments in all`,
      );
    }
    for (let i = 0; i < count; i++) {
      const argument = at + HOOK_RECORD_BYTES + i * ARGUMENT_BYTES;
      this.#span(argument + ARGUMENT_PAYLOAD_AT, at, size, `${where}.arguments[${i}]`, 'payload', false);
    }
  }

  #annotation(at: number, where: string): void {
    const { view, byteLength } = this;
    if (at % 8 !== 0 || at < BATCH_HEADER_BYTES || at + ANNOTATION_BYTES > byteLength) {
      throw new SegmentError(
        'out-of-bounds',
        where,
        `is ${at}; a multiple of 8 within ${byteLength} is expected`,
      );
    }
    const count = view.getUint16(at + ANNOTATION_LABEL_COUNT_AT, true);
    const labelsAt = at + ANNOTATION_BYTES;
    if (count > ANNOTATION_LABELS_MAX || labelsAt + count * ANNOTATION_LABEL_BYTES > byteLength) {
      throw new SegmentError(
        'out-of-bounds',
        `${where}.label_count`,
        `is ${count}: they do not fit, or are more than ${ANNOTATION_LABELS_MAX}`,
      );
    }
    this.#span(at + ANNOTATION_MESSAGE_AT, 0, byteLength, where, 'message', true);
    for (let i = 0; i < count; i++) {
      const label = labelsAt + i * ANNOTATION_LABEL_BYTES;
      this.#span(label + ANNOTATION_LABEL_NAME_AT, 0, byteLength, `${where}.labels[${i}]`, 'name', true);
      this.#span(label + ANNOTATION_LABEL_VALUE_AT, 0, byteLength, `${where}.labels[${i}]`, 'value', true);
    }
  }
}

/**
 * Checks every offset, count, index and span of a batch, in time linear in its size.
 * @returns the header.
 * @throws {SegmentError} that names the first field that is wrong.
 */
export function validateBatch(bytes: Uint8Array): BatchHeader {
  return new Check(bytes).run();
}

/** A checked batch. @throws {SegmentError} from the constructor, for bytes that are none. */
export class BatchReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly header: BatchHeader;

  constructor(bytes: Uint8Array) {
    this.header = validateBatch(bytes);
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get recordCount(): number {
    return this.header.recordCount;
  }

  /** Where record `i` begins. @throws {RangeError} where there is none. */
  recordAt(i: number): number {
    if (!(i >= 0 && i < this.header.recordCount)) {
      throw new RangeError(`record ${i}: there are ${this.header.recordCount}`);
    }
    return this.view.getUint32(this.header.offsetsAt + i * 4, true);
  }

  /** Bytes of a span that counts from the start of the batch, or of the record at `base`. No copy. */
  slice(span: { offset: number; length: number }, base = 0): Uint8Array {
    return this.bytes.subarray(base + span.offset, base + span.offset + span.length);
  }
}
