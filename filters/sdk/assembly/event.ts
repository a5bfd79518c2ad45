// SPDX-License-Identifier: Apache-2.0
// Owns the view of an event: the address of its record in the batch. What an event does not have is 0 or empty.
import { Argument } from './argument';
import { Bytes, viewOf } from './bytes';
import {
  digestBytes,
  alertRecordCauseCpu,
  alertRecordCauseSequence,
  alertRecordSeverity,
  annotationBytes,
  annotationLabelBytes,
  annotationLabelCount,
  annotationLabelNameLength,
  annotationLabelNameOffset,
  annotationLabelValueLength,
  annotationLabelValueOffset,
  annotationSeverity,
  argumentBytes,
  ArgumentType,
  batchHeaderBootToUnixNs,
  batchHeaderByteLength,
  batchHeaderClusterNameLength,
  batchHeaderClusterNameOffset,
  batchHeaderNodeLabelsLength,
  batchHeaderNodeLabelsOffset,
  batchHeaderNodeNameLength,
  batchHeaderNodeNameOffset,
  batchHeaderReleaseSequence,
  bindingEntryArgumentLabelsLength,
  bindingEntryArgumentLabelsOffset,
  bindingEntryFunctionNameLength,
  bindingEntryFunctionNameOffset,
  bindingEntryMessageLength,
  bindingEntryMessageOffset,
  bindingEntryPolicyNameLength,
  bindingEntryPolicyNameOffset,
  bindingEntryPolicyNamespaceLength,
  bindingEntryPolicyNamespaceOffset,
  bindingEntryProviderLength,
  bindingEntryProviderOffset,
  bindingEntrySubsystemLength,
  bindingEntrySubsystemOffset,
  bindingEntryTagsLength,
  bindingEntryTagsOffset,
  cloneRecordNamespacePid,
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
  hookRecordFunctionOffset,
  hookRecordHasReturn,
  hookRecordKernelStackLength,
  hookRecordKernelStackOffset,
  hookRecordReturnAction,
  hookRecordSelectorIndex,
  hookRecordUndecidedTerms,
  hookRecordUserStackLength,
  hookRecordUserStackOffset,
  imaHashAlgorithm,
  imaHashBytes,
  imaHashDigestAt,
  lossRecordCount,
  lossRecordStage,
  RecordFlag,
  recordHeaderAnnotation,
  recordHeaderCgroupId,
  recordHeaderCpu,
  recordHeaderFlags,
  recordHeaderKind,
  recordHeaderParentIndex,
  recordHeaderPid,
  recordHeaderProcessIndex,
  recordHeaderSequence,
  recordHeaderSize,
  recordHeaderTid,
  recordHeaderTimeNs,
  tamperRecordMessageLength,
  tamperRecordMessageOffset,
  throttleRecordCgroupNameLength,
  throttleRecordCgroupNameOffset,
  throttleRecordHeldBack,
  throttleRecordPolicyNameLength,
  throttleRecordPolicyNameOffset,
  throttleRecordScope,
  throttleRecordType,
} from './generated/layout';
import { batchAt, bindingAt, emptyAt, processAt } from './memory';
import { Pod, Process, valueOf } from './process';

/** The kinds that come from a hook, a bit each. */
const HOOK_KINDS: u64 =
  ((<u64>1) << EventKind.kprobe) |
  ((<u64>1) << EventKind.tracepoint) |
  ((<u64>1) << EventKind.loader) |
  ((<u64>1) << EventKind.uprobe) |
  ((<u64>1) << EventKind.lsm) |
  ((<u64>1) << EventKind.usdt);
/** Labels of a record that are looked at. */
const LABELS_MAX: u32 = 256;
/** Tags of a policy that are looked at. */
const TAGS_MAX = 64;

/** The text at an index among texts that NUL follows; empty beyond the last. */
function entryOf(list: Bytes, index: i32): Bytes {
  let from = 0;
  for (let i = 0; from < list.length; i++) {
    let end = list.indexOfByte(0, from);
    if (end < 0) end = list.length;
    if (i == index) return list.slice(from, end);
    from = end + 1;
  }
  return list.slice(0, 0);
}

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

  /** Provider of a USDT probe. */
  get provider(): Bytes {
    return viewOf(batchAt(), bindingEntryProviderOffset(this.entry), bindingEntryProviderLength(this.entry));
  }

  /** The tag at an index, empty beyond the last. */
  tag(index: i32): Bytes {
    return entryOf(
      viewOf(batchAt(), bindingEntryTagsOffset(this.entry), bindingEntryTagsLength(this.entry)),
      index,
    );
  }

  hasTag(text: string): bool {
    for (let i = 0; i < TAGS_MAX; i++) {
      const tag = this.tag(i);
      if (tag.equals(text)) return true;
      if (tag.isEmpty) break;
    }
    return false;
  }

  /** What the policy calls an argument, empty where it has no label. */
  argumentLabel(index: i32): Bytes {
    return entryOf(
      viewOf(
        batchAt(),
        bindingEntryArgumentLabelsOffset(this.entry),
        bindingEntryArgumentLabelsLength(this.entry),
      ),
      index,
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

  /** Value of a label of the node, empty where it has none of that name. */
  nodeLabel(name: string): Bytes {
    const batch = batchAt();
    return valueOf(batchHeaderNodeLabelsOffset(batch), batchHeaderNodeLabelsLength(batch), name);
  }

  /** Number of the rollout whose release was in force. */
  get releaseSequence(): u32 {
    return batchHeaderReleaseSequence(batchAt());
  }

  get cluster(): Bytes {
    const batch = batchAt();
    return viewOf(batch, batchHeaderClusterNameOffset(batch), batchHeaderClusterNameLength(batch));
  }

  /** Whether a string or an argument of it is cut short. */
  get isTruncated(): bool {
    return (this.flags & RecordFlag.truncated) != 0;
  }

  /** Whether its policy only watches: its action is what would have been done. */
  get isMonitored(): bool {
    return (this.flags & RecordFlag.monitor) != 0;
  }

  /** Whether its process is the one that a socket of it belongs to (TrackSock), not the one that was running. */
  get isOfSocketOwner(): bool {
    return (this.flags & RecordFlag.socketOwner) != 0;
  }

  /** Whether no filter can drop it. */
  get isProtected(): bool {
    return (this.flags & RecordFlag.protected_) != 0;
  }

  private get annotation(): usize {
    const at = recordHeaderAnnotation(this.record);
    return at == 0 || at >= batchHeaderByteLength(batchAt()) ? 0 : batchAt() + at;
  }

  /**
   * Value of a label that an earlier filter put on it: `event.label('filter.miner.score')`; empty where there is none.
   * Needs `"reads": ["labels"]` in filter.json.
   */
  label(name: string): Bytes {
    const annotation = this.annotation;
    if (annotation != 0) {
      const count = min<u32>(annotationLabelCount(annotation), LABELS_MAX);
      for (let i: u32 = 0; i < count; i++) {
        const at = annotation + annotationBytes + i * annotationLabelBytes;
        const label = viewOf(batchAt(), annotationLabelNameOffset(at), annotationLabelNameLength(at));
        if (label.equals(name)) {
          return viewOf(batchAt(), annotationLabelValueOffset(at), annotationLabelValueLength(at));
        }
      }
    }
    return viewOf(batchAt(), 0, 0);
  }

  /** How grave earlier filters judged it; see Severity. As `label`. */
  get severity(): i32 {
    const annotation = this.annotation;
    return annotation == 0 ? 0 : annotationSeverity(annotation);
  }

  /** Whether it comes from a policy on a hook. */
  get isHook(): bool {
    const kind = this.kind;
    return kind < 64 && ((HOOK_KINDS >> kind) & 1) != 0;
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

  /** What the policy did at the return of the call; see Action. */
  get returnAction(): i32 {
    return this.isHook ? hookRecordReturnAction(this.record) : 0;
  }

  /** Terms of the policy that could not be decided. */
  get undecidedTerms(): u32 {
    return this.isHook ? hookRecordUndecidedTerms(this.record) : 0;
  }

  /** Uprobes: offset in the file. */
  get functionOffset(): u64 {
    return this.isHook ? hookRecordFunctionOffset(this.record) : 0;
  }

  /** Frames of the kernel's stack, where the policy asks for it. */
  get kernelStackLength(): i32 {
    return this.isHook ? <i32>(hookRecordKernelStackLength(this.record) >> 3) : 0;
  }

  /** An address of the kernel's stack, innermost first; 0 beyond the last. */
  kernelStack(index: i32): u64 {
    if (<u32>index >= <u32>this.kernelStackLength) return 0;
    return load<u64>(this.record + hookRecordKernelStackOffset(this.record) + ((<usize>index) << 3));
  }

  get userStackLength(): i32 {
    return this.isHook ? <i32>(hookRecordUserStackLength(this.record) >> 3) : 0;
  }

  /** An address of the process's stack, innermost first; 0 beyond the last. */
  userStack(index: i32): u64 {
    if (<u32>index >= <u32>this.userStackLength) return 0;
    return load<u64>(this.record + hookRecordUserStackOffset(this.record) + ((<usize>index) << 3));
  }

  /** Where the hash of its file is, 0 where there is none. */
  private get imaHashAt(): usize {
    const size = recordHeaderSize(this.record);
    const has = this.isHook && (recordHeaderFlags(this.record) & RecordFlag.imaHash) != 0;
    return has && size >= hookRecordBytes + imaHashBytes ? this.record + size - imaHashBytes : 0;
  }

  /** LSM hooks, where the policy asks for it: the kernel's number of the algorithm of `imaHash`; -1 where there is none. */
  get imaHashAlgorithm(): i32 {
    const at = this.imaHashAt;
    return at == 0 ? -1 : imaHashAlgorithm(at);
  }

  /** The bytes of the digest that IMA has of the file; empty where there is none. */
  get imaHash(): Bytes {
    const at = this.imaHashAt;
    if (at == 0) return viewOf(this.record, 0, 0);
    return viewOf(at, <u32>imaHashDigestAt, digestBytes(imaHashAlgorithm(at)));
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
    if (<u32>index >= <u32>this.argumentCount) return changetype<Argument>(emptyAt());
    return changetype<Argument>(this.record + hookRecordBytes + <usize>index * argumentBytes);
  }

  /** The first argument of a type, wherever it is; of type none where there is none. See ArgumentType. */
  argumentOfType(type: i32): Argument {
    const count = this.argumentCount;
    for (let i = 0; i < count; i++) {
      const argument = this.argument(i);
      if (argument.type == type) return argument;
    }
    return this.argument(-1);
  }

  /** The first argument that names a file; of type none where there is none. */
  get file(): Argument {
    const count = this.argumentCount;
    for (let i = 0; i < count; i++) {
      const argument = this.argument(i);
      if (argument.isPath || (argument.type == ArgumentType.string && argument.bytes.at(0) == 0x2f))
        return argument;
    }
    return this.argument(-1);
  }

  /** The first argument that is a socket or the address of one; of type none where there is none. */
  get connection(): Argument {
    const count = this.argumentCount;
    for (let i = 0; i < count; i++) {
      const argument = this.argument(i);
      if (argument.hasSocket) return argument;
    }
    return this.argument(-1);
  }

  get dataCount(): i32 {
    return this.isHook ? <i32>hookRecordDataCount(this.record) : 0;
  }

  /** What the policy reads beside the arguments, at an index in the order of the policy. */
  data(index: i32): Argument {
    if (<u32>index >= <u32>this.dataCount) return changetype<Argument>(emptyAt());
    return changetype<Argument>(
      this.record + hookRecordBytes + <usize>(this.argumentCount + index) * argumentBytes,
    );
  }

  get hasReturn(): bool {
    return this.isHook && hookRecordHasReturn(this.record) != 0;
  }

  /** What the call returned. */
  get returned(): Argument {
    if (!this.hasReturn) return changetype<Argument>(emptyAt());
    const last = <usize>hookRecordArgumentCount(this.record) - 1;
    return changetype<Argument>(this.record + hookRecordBytes + last * argumentBytes);
  }

  /** Exit events: the exit code. */
  get exitStatus(): u32 {
    return this.kind == EventKind.exit ? exitRecordStatus(this.record) : 0;
  }

  /** Exit events: the signal that ended the process, 0 where none did. */
  get exitSignal(): u32 {
    return this.kind == EventKind.exit ? exitRecordSignal(this.record) : 0;
  }

  /** Clone events: the process id of the child in its own pid namespace. */
  get namespacePid(): u32 {
    return this.kind == EventKind.clone ? cloneRecordNamespacePid(this.record) : 0;
  }

  /** Loss events: where events were lost; see LossStage. -1 for other kinds. */
  get lossStage(): i32 {
    return this.kind == EventKind.loss ? <i32>lossRecordStage(this.record) : -1;
  }

  /** Loss events: how many were lost. */
  get lossCount(): u64 {
    return this.kind == EventKind.loss ? lossRecordCount(this.record) : 0;
  }

  /** Throttle events: whether a rate limit begins to hold events back. */
  get throttleStarts(): bool {
    return this.kind == EventKind.throttle && throttleRecordType(this.record) == 1;
  }

  /** Throttle events: how many were held back, where the limit ends. */
  get throttleHeldBack(): u64 {
    return this.kind == EventKind.throttle ? throttleRecordHeldBack(this.record) : 0;
  }

  /** Throttle events: name of the cgroup. */
  get throttleCgroup(): Bytes {
    if (this.kind != EventKind.throttle) return viewOf(this.record, 0, 0);
    return viewOf(
      this.record,
      throttleRecordCgroupNameOffset(this.record),
      throttleRecordCgroupNameLength(this.record),
    );
  }

  /** Throttle events: whose events are counted together; see ThrottleScope. -1 for other kinds. */
  get throttleScope(): i32 {
    return this.kind == EventKind.throttle ? <i32>throttleRecordScope(this.record) : -1;
  }

  /** Throttle events: name of the policy, where its events are counted together; else empty. */
  get throttlePolicy(): Bytes {
    if (this.kind != EventKind.throttle) return viewOf(this.record, 0, 0);
    return viewOf(
      this.record,
      throttleRecordPolicyNameOffset(this.record),
      throttleRecordPolicyNameLength(this.record),
    );
  }

  /** Tamper events: what was found. */
  get tamperMessage(): Bytes {
    if (this.kind != EventKind.tamper) return viewOf(this.record, 0, 0);
    return viewOf(
      this.record,
      tamperRecordMessageOffset(this.record),
      tamperRecordMessageLength(this.record),
    );
  }

  /** Alerts, which are shown to filters over the archive only: severity; 0 for other kinds. */
  get alertSeverity(): i32 {
    return this.kind == EventKind.alert ? <i32>alertRecordSeverity(this.record) : 0;
  }

  /** Alerts: sequence of the event that it was derived from. */
  get alertCauseSequence(): u64 {
    return this.kind == EventKind.alert ? alertRecordCauseSequence(this.record) : 0;
  }

  /** Alerts: CPU of that event. */
  get alertCauseCpu(): u32 {
    return this.kind == EventKind.alert ? alertRecordCauseCpu(this.record) : 0;
  }
}
