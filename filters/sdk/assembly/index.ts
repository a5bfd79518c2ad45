// SPDX-License-Identifier: Apache-2.0
// The public names of the filter SDK.
export { Argument } from './argument';
export { Bytes } from './bytes';
export { Event, Policy } from './event';
export {
  Action,
  ArgumentFlag,
  ArgumentType,
  EventKind,
  ExecFlag,
  NamespaceKind,
  RecordFlag,
  Severity,
} from './generated/layout';
export { debug, info, warn } from './log';
export { ArgumentList, Pod, Process } from './process';
export { Counters } from './state';
export { Alert, alert, drop, keep, Verdict } from './verdict';
