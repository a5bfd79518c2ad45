// SPDX-License-Identifier: Apache-2.0
// Owns the view of an event: the address of its record in the batch. What an event does not have is 0 or empty.
import { Argument, argumentOf } from './argument';
import { Bytes, viewOf } from './bytes';
import {
  argumentBytes,
  batchHeaderBootToUnixNs,
  batchHeaderClusterNameLength,
  batchHeaderClusterNameOffset,
  batchHeaderNodeNameLength,
  batchHeaderNodeNameOffset,
  bindingEntryFunctionNameLength,
  bindingEntryFunctionNameOffset,
  bindingEntryMessageLength,
  bindingEntryMessageOffset,
  bindingEntryPolicyNameLength,
  bindingEntryPolicyNameOffset,
  bindingEntryPolicyNamespaceLength,
  bindingEntryPolicyNamespaceOffset,
  bindingEntrySubsystemLength,
  bindingEntrySubsystemOffset,
  EventKind,
  exitRecordSignal,
  exitRecordStatus,
  hookRecordAction,
  hookRecordActionError,
  hookRecordActionSignal,
  hookRecordArgumentCount,
  hookRecordBindingIndex,
  hookRecordBytes,
  hookRecordDataCount,
  hookRecordHasReturn,
  hookRecordSelectorIndex,
  recordHeaderCgroupId,
  recordHeaderCpu,
  recordHeaderFlags,
  recordHeaderKind,
  recordHeaderParentIndex,
  recordHeaderPid,
  recordHeaderProcessIndex,
  recordHeaderSequence,
  recordHeaderTid,
  recordHeaderTimeNs,
} from './generated/layout';
import { batchAt, bindingAt, emptyAt, processAt } from './memory';
import { Pod, Process } from './process';

/** The policy and hook that an event comes from. */
@unmanaged
@final
export class Policy {
  private get entry(): usize {
    return changetype<usize>(this);
  }

  get isKnown(): bool {
    return this.entry != emptyAt();
  }

  get name(): Bytes {
    return viewOf(
      batchAt(),
      bindingEntryPolicyNameOffset(this.entry),
      bindingEntryPolicyNameLength(this.entry),
    );
  }

  /** Empty for a cluster-wide policy. */
  get namespace(): Bytes {
    return viewOf(
      batchAt(),
      bindingEntryPolicyNamespaceOffset(this.entry),
      bindingEntryPolicyNamespaceLength(this.entry),
    );
  }

  get message(): Bytes {
    return viewOf(batchAt(), bindingEntryMessageOffset(this.entry), bindingEntryMessageLength(this.entry));
  }

  /** Function, LSM hook, tracepoint event or symbol. */
  get functionName(): Bytes {
    return viewOf(
      batchAt(),
      bindingEntryFunctionNameOffset(this.entry),
      bindingEntryFunctionNameLength(this.entry),
    );
  }

  /** Subsystem of a tracepoint; path of a uprobe's binary. */
  get subsystem(): Bytes {
    return viewOf(
      batchAt(),
      bindingEntrySubsystemOffset(this.entry),
      bindingEntrySubsystemLength(this.entry),
    );
  }
}

/** One event. Valid until the filter returns. */
@unmanaged
@final
export class Event {
  private get record(): usize {
    return changetype<usize>(this);
  }

  /** See EventKind. */
  get kind(): i32 {
    return recordHeaderKind(this.record);
  }

  /** See RecordFlag. */
  get flags(): u32 {
    return recordHeaderFlags(this.record);
  }

  /** When it happened, in nanoseconds since 1970. The only clock that a filter has. */
  get timeNs(): i64 {
    return <i64>recordHeaderTimeNs(this.record) + batchHeaderBootToUnixNs(batchAt());
  }

  /** When it happened, on the boot-time clock: never goes backwards on one CPU. */
  get bootTimeNs(): u64 {
    return recordHeaderTimeNs(this.record);
  }

  /** Number of the event among those of its CPU. */
  get sequence(): u64 {
    return recordHeaderSequence(this.record);
  }

  get cpu(): u32 {
    return recordHeaderCpu(this.record);
  }

  get pid(): u32 {
    return recordHeaderPid(this.record);
  }

  get tid(): u32 {
    return recordHeaderTid(this.record);
  }

  get cgroupId(): u64 {
    return recordHeaderCgroupId(this.record);
  }

  /** The process that it is about; of an exec, the new program. */
  get process(): Process {
    return changetype<Process>(processAt(recordHeaderProcessIndex(this.record)));
  }

  get parent(): Process {
    return changetype<Process>(processAt(recordHeaderParentIndex(this.record)));
  }

  get pod(): Pod {
    return this.process.pod;
  }

  get node(): Bytes {
    const batch = batchAt();
    return viewOf(batch, batchHeaderNodeNameOffset(batch), batchHeaderNodeNameLength(batch));
  }

  get cluster(): Bytes {
    const batch = batchAt();
    return viewOf(batch, batchHeaderClusterNameOffset(batch), batchHeaderClusterNameLength(batch));
  }

  /** Whether it comes from a policy on a hook. */
  get isHook(): bool {
    const kind = this.kind;
    return (
      kind == EventKind.kprobe ||
      kind == EventKind.tracepoint ||
      kind == EventKind.loader ||
      kind == EventKind.uprobe ||
      kind == EventKind.lsm ||
      kind == EventKind.usdt
    );
  }

  get policy(): Policy {
    return changetype<Policy>(this.isHook ? bindingAt(hookRecordBindingIndex(this.record)) : emptyAt());
  }

  /** Function, LSM hook, tracepoint event or symbol that was hooked. */
  get functionName(): Bytes {
    return this.policy.functionName;
  }

  /** Which selector of the policy matched. */
  get selector(): u32 {
    return this.isHook ? hookRecordSelectorIndex(this.record) : 0;
  }

  /** What the policy did; see Action. */
  get action(): i32 {
    return this.isHook ? hookRecordAction(this.record) : 0;
  }

  /** Error that the call was made to return (negative), 0 where it was not. */
  get actionError(): i32 {
    return this.isHook ? hookRecordActionError(this.record) : 0;
  }

  /** Signal that was sent, 0 where none was. */
  get actionSignal(): u32 {
    return this.isHook ? hookRecordActionSignal(this.record) : 0;
  }

  get argumentCount(): i32 {
    if (!this.isHook) return 0;
    return max(
      <i32>hookRecordArgumentCount(this.record) -
        <i32>hookRecordDataCount(this.record) -
        <i32>hookRecordHasReturn(this.record),
      0,
    );
  }

  /** The argument at an index, in the order of the policy. */
  argument(index: i32): Argument {
    if (<u32>index >= <u32>this.argumentCount) return argumentOf(this.record, emptyAt());
    return argumentOf(this.record, this.record + hookRecordBytes + <usize>index * argumentBytes);
  }

  get hasReturn(): bool {
    return this.isHook && hookRecordHasReturn(this.record) != 0;
  }

  /** What the call returned. */
  get returned(): Argument {
    if (!this.hasReturn) return argumentOf(this.record, emptyAt());
    const last = <usize>hookRecordArgumentCount(this.record) - 1;
    return argumentOf(this.record, this.record + hookRecordBytes + last * argumentBytes);
  }

  /** Exit events: the exit code. */
  get exitStatus(): u32 {
    return this.kind == EventKind.exit ? exitRecordStatus(this.record) : 0;
  }

  /** Exit events: the signal that ended the process, 0 where none did. */
  get exitSignal(): u32 {
    return this.kind == EventKind.exit ? exitRecordSignal(this.record) : 0;
  }
}
