// SPDX-License-Identifier: Apache-2.0
// Marks a parent that starts very many programs in a short time, once a window: brute force, scanners, fork bombs.
// MITRE ATT&CK T1110, T1046, T1499.
import { alert, Config, Counters, Event, keep, Severity, TextList, Verdict } from '@weir/filter-sdk';

let limit: u64 = 100;
let ignored = new TextList([]);
const execs = new Counters(4096, 10_000_000_000, 'execs');

export function configure(config: Config): void {
  limit = <u64>config.integer('limit', limit, 2, 1_000_000);
  execs.window = config.duration('window', execs.window);
  ignored = config.texts('ignoredParents', ignored);
}

export function filter(event: Event): Verdict {
  const parent = event.parent;
  if (!parent.isKnown || ignored.has(parent.binary)) return keep();
  if (execs.add(parent.key, event.bootTimeNs) != limit) return keep();
  alert(Severity.medium, 'a process starts programs in a burst').label('parent', parent.binary);
  return keep()
    .severity(Severity.medium)
    .label('parent', parent.binary)
    .labelText('attack', 'T1110')
    .message('more programs than its limit within its window');
}
