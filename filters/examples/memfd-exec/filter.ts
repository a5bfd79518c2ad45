// SPDX-License-Identifier: Apache-2.0
// Marks programs that run from memory or from a file that was deleted before it was run: nothing of them is on disk
// to be found later. MITRE ATT&CK T1620 (reflective code loading), T1070.004 (file deletion).
import { alert, Bytes, Event, ExecFlag, keep, Severity, Verdict } from '@weir/filter-sdk';

export function filter(event: Event): Verdict {
  const process = event.process;
  const inMemory = (process.flags & ExecFlag.memfd) != 0 || isMemoryFile(process.binary);
  const deleted = (process.flags & ExecFlag.unlinked) != 0;
  if (!inMemory && !deleted) return keep();

  // Container runtimes run a sealed copy of themselves from memory, so that no container can overwrite them. The name
  // of a memory file can be anything; who started it is what is believed.
  if (inMemory && process.binary.startsWith('/memfd:runc_cloned:') && isRuntime(process.parent.binary))
    return keep();

  const severity = process.inContainer || process.euid == 0 ? Severity.critical : Severity.high;
  const text = inMemory ? 'a program was run from memory' : 'a deleted program was run';
  alert(severity, text).label('binary', process.binary).label('parent', process.parent.binary);
  return keep()
    .severity(severity)
    .message(text)
    .labelText('source', inMemory ? 'memory' : 'deleted')
    .labelText('attack', inMemory ? 'T1620' : 'T1070.004')
    .label('binary', process.binary)
    .label('parent', process.parent.binary);
}

function isMemoryFile(path: Bytes): bool {
  return (
    path.startsWith('/memfd:') ||
    path.startsWith('memfd:') ||
    path.glob('/proc/*/fd/*') ||
    path.startsWith('/dev/fd/')
  );
}

function isRuntime(path: Bytes): bool {
  return (
    path.equals('/usr/bin/runc') ||
    path.equals('/usr/sbin/runc') ||
    path.equals('/usr/bin/containerd-shim-runc-v2') ||
    path.equals('/usr/bin/crun')
  );
}
