// SPDX-License-Identifier: Apache-2.0
// Marks kernel modules that are loaded: code in the kernel can hide whatever it likes. Graver where a container does it,
// where the file lies outside of the system's folder, or where the signature is not valid. Works on program starts
// alone; a policy on kernel modules also shows loads without a program. MITRE ATT&CK T1547.006, T1014.
import { alert, Bytes, Config, Event, EventKind, keep, Severity, TextList, Verdict } from '@weir/filter-sdk';

const READING_MODULE = 2;
let loaders = new TextList([
  '/usr/lib/systemd/systemd-udevd',
  '/usr/bin/udevadm',
  '/usr/lib/systemd/systemd-modules-load',
]);
let modules = new TextList([]);

export function configure(config: Config): void {
  loaders = config.texts('loaders', loaders);
  modules = config.texts('modules', modules);
}

export function filter(event: Event): Verdict {
  const what = event.kind == EventKind.exec ? argumentOf(event) : loadedBy(event);
  if (what.isEmpty || modules.has(what) || modules.has(what.name)) return keep();
  const process = event.process;
  // udev and the kernel itself (whose helpers are children of kthreadd, 2) load what the hardware asks for.
  const isSystem =
    loaders.has(process.binary) || loaders.has(process.parent.binary) || process.parent.pid == 2;
  const isForeign =
    what.startsWith('/') && !what.isWithin('/lib/modules') && !what.isWithin('/usr/lib/modules');
  let severity: i32 = isSystem ? Severity.info : Severity.medium;
  if (isForeign || isUnsigned(event)) severity = Severity.high;
  if (process.inContainer) severity = Severity.critical;
  if (severity > Severity.info)
    alert(severity, 'a kernel module is loaded').label('module', what).label('binary', process.binary);
  return keep()
    .severity(severity)
    .label('module', what)
    .label('binary', process.binary)
    .labelText('attack', 'T1547.006');
}

/** What insmod, modprobe or kmod is to load; empty where it is another program, or unloads or lists. */
function argumentOf(event: Event): Bytes {
  const list = event.process.arguments;
  const name = event.process.binary.name;
  const nothing = list.raw.slice(0, 0);
  if (!name.equals('insmod') && !name.equals('modprobe') && !name.equals('kmod')) return nothing;
  if (
    list.has('-r') ||
    list.has('--remove') ||
    list.first.equals('list') ||
    list.first.equals('static-nodes')
  )
    return nothing;
  for (let one = list.first; list.holds(one); one = list.after(one)) {
    const isVerb = one.equals('insmod') || one.equals('modprobe') || one.equals('load');
    if (!isVerb && one.at(0) != 0x2d) return one;
  }
  return nothing;
}

function loadedBy(event: Event): Bytes {
  for (let i = 0; i < event.argumentCount; i++) {
    const module = event.argument(i).module;
    if (!module.name.isEmpty) return module.name;
  }
  const path = event.file.path;
  if (!event.functionName.endsWith('kernel_read_file'))
    return event.functionName.endsWith('init_module') ? path : path.slice(0, 0);
  return event.argument(1).value == READING_MODULE ? path : path.slice(0, 0);
}

function isUnsigned(event: Event): bool {
  for (let i = 0; i < event.argumentCount; i++) {
    const module = event.argument(i).module;
    if (!module.name.isEmpty && module.signature == 0) return true;
  }
  return false;
}
