// SPDX-License-Identifier: Apache-2.0
// Marks interactive shells in containers: somebody is there in person. A shell that was brought in from outside (as by
// `kubectl exec`) is told from one that the workload itself started, which is graver. MITRE ATT&CK T1609, T1059.004.
import { alert, ArgumentList, Config, Event, keep, Severity, TextList, Verdict } from '@weir/filter-sdk';

const shells = new TextList(['sh', 'bash', 'dash', 'ash', 'zsh', 'ksh', 'mksh', 'fish', 'csh', 'tcsh']);
let namespaces = new TextList([]);
let first = false;

export function configure(config: Config): void {
  namespaces = config.texts('ignoredNamespaces', namespaces);
  first = config.flag('firstProcess', first);
}

export function filter(event: Event): Verdict {
  const process = event.process;
  if (!process.inContainer || !isInteractive(process.arguments)) return keep();
  const applet = process.binary.name.equals('busybox') ? process.arguments.first : process.binary.name;
  if (!shells.has(applet) || namespaces.has(event.pod.namespace)) return keep();
  // An image may have a shell as its program; a probe runs one by the pod's own specification.
  if ((process.namespacePid == 1 && !first) || event.pod.mayBeProbe) return keep();
  const inside = process.isInInitTree;
  const severity = inside || event.pod.isPrivileged ? Severity.high : Severity.medium;
  const message = inside
    ? 'a workload started an interactive shell'
    : 'somebody opened a shell in a container';
  alert(severity, message).label('pod', event.pod.name).label('parent', process.parent.binary);
  return keep()
    .severity(severity)
    .message(message)
    .labelText('from', inside ? 'inside' : 'outside')
    .labelText('attack', inside ? 'T1059.004' : 'T1609')
    .label('parent', process.parent.binary);
}

/** No command and no script: options other than -c only. Nobody gives a script behind a hundred options. */
function isInteractive(list: ArgumentList): bool {
  let options = 0;
  for (let one = list.first; list.holds(one) && options < 100; one = list.after(one), options++) {
    if (one.at(0) != 0x2d) {
      // As an applet of busybox, or by a wrapper.
      if (!shells.has(one)) return false;
    } else if (one.at(1) != 0x2d && one.slice(0, 16).indexOfByte(0x63) > 0) return false;
  }
  return true;
}
