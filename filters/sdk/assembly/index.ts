// SPDX-License-Identifier: Apache-2.0
// The public names of the filter SDK.
export { IpAddress } from './address';
export { Argument } from './argument';
export { Bytes, TextList } from './bytes';
export { Config } from './config';
export { Event, Policy } from './event';
export {
  Action,
  ArgumentFlag,
  ArgumentType,
  EventKind,
  ExecFlag,
  LossStage,
  NamespaceKind,
  RecordFlag,
  Severity,
  ThrottleScope,
} from './generated/layout';
export { NetworkList } from './networks';
export { debug, info, warn } from './log';
export { BpfObject, Credentials, KernelModule, PerfEvent, Socket, UserNamespace } from './payload';
export { ArgumentList, Pod, Process } from './process';
export { decimal } from './scratch';
export { Bloom, Counters, LruMap, LruSet, mix } from './state';
export { Alert, alert, drop, keep, Verdict } from './verdict';
