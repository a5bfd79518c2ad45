// SPDX-License-Identifier: Apache-2.0
// Marks a parent that starts more than a hundred programs within ten seconds, once a window: scanners, brute force,
// fork bombs. Shows state between events: counters of fixed size, by event time. MITRE ATT&CK T1110, T1046.
import { alert, Counters, Event, keep, Severity, Verdict } from '@weir/filter-sdk';

const WINDOW_NS: u64 = 10_000_000_000;
const LIMIT: u64 = 100;

const execs = new Counters(4096, WINDOW_NS);

export function filter(event: Event): Verdict {
  const parent = event.parent;
  if (!parent.isKnown) return keep();
  // A process id is used again; with the start time it is not.
  const key = (parent.startNs ^ ((<u64>parent.pid) << 40)) * 0x9e3779b97f4a7c15;
  if (execs.add(key, event.bootTimeNs) != LIMIT) return keep();
  alert(Severity.medium, 'a process starts programs in a burst').label('parent', parent.binary);
  return keep()
    .severity(Severity.medium)
    .label('parent', parent.binary)
    .message('the hundredth program within ten seconds');
}
