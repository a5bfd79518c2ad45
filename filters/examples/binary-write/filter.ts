// SPDX-License-Identifier: Apache-2.0
// Marks writes below directories that programs are run from: a program that is replaced is run by others, with their
// rights. On the node, package managers write there; in a container nobody should. Needs a policy on files that are
// written. MITRE ATT&CK T1554, T1036.005, T1574.
import { alert, ArgumentType, Config, Event, keep, Severity, TextList, Verdict } from '@weir/filter-sdk';

let directories = new TextList([
  '/bin',
  '/sbin',
  '/usr/bin',
  '/usr/sbin',
  '/usr/local/bin',
  '/usr/local/sbin',
  '/usr/lib',
  '/usr/libexec',
  '/lib',
  '/lib64',
  '/opt/bin',
]);
let writers = new TextList([
  '/usr/bin/dpkg',
  '/usr/bin/apt',
  '/usr/bin/apt-get',
  '/usr/bin/rpm',
  '/usr/bin/dnf',
  '/usr/bin/dnf5',
  '/usr/bin/yum',
  '/sbin/apk',
  '/usr/sbin/ldconfig',
  '/usr/lib/systemd/systemd',
  '/usr/bin/update-alternatives',
  '/usr/bin/rpm-ostree',
]);

export function configure(config: Config): void {
  directories = config.texts('directories', directories);
  writers = config.texts('writers', writers);
}

export function filter(event: Event): Verdict {
  const process = event.process;
  const path = event.file.path;
  if (!directories.isAbove(path) || !writes(event)) return keep();
  const isExpected = writers.has(process.binary) || writers.has(process.parent.binary);
  if (isExpected && !process.inContainer) return keep();
  const severity = process.inContainer ? Severity.high : Severity.medium;
  alert(severity, 'a file was written where programs are run from')
    .label('path', path)
    .label('binary', process.binary);
  return keep()
    .severity(severity)
    .label('path', path)
    .label('binary', process.binary)
    .labelText('attack', path.directory.endsWith('bin') ? 'T1554' : 'T1574');
}

/** Whether the call writes: by the mask of a permission check, the flags of an open, or by what the hook is. */
function writes(event: Event): bool {
  const name = event.functionName;
  if (
    name.endsWith('_rename') ||
    name.endsWith('_link') ||
    name.endsWith('_truncate') ||
    name.endsWith('_unlink')
  )
    return true;
  if (
    name.endsWith('_create') ||
    name.endsWith('_symlink') ||
    name.endsWith('_chmod') ||
    name.endsWith('_setattr')
  )
    return true;
  const isMask = name.endsWith('file_permission') || name.endsWith('inode_permission');
  for (let i = 0; i < event.argumentCount; i++) {
    const argument = event.argument(i);
    if (!argument.isInteger || argument.type == ArgumentType.uint64) continue;
    // MAY_WRITE and MAY_APPEND; O_WRONLY, O_RDWR, O_CREAT and O_TRUNC.
    if ((argument.value & (isMask ? 10 : 0x243)) != 0) return true;
  }
  return false;
}
