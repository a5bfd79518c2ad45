// SPDX-License-Identifier: Apache-2.0
// Marks what a process in a container does to get out of it: entering the node's namespaces, the kernel's helpers that
// run on the node, the sockets of container runtimes, devices and folders of the node. MITRE ATT&CK T1611, T1610.
import {
  alert,
  ArgumentList,
  Bytes,
  Config,
  Event,
  EventKind,
  keep,
  Severity,
  TextList,
  Verdict,
} from '@weir/filter-sdk';

const helpers = new TextList([
  'release_agent',
  'core_pattern',
  'uevent_helper',
  'sysrq-trigger',
  'binfmt_misc/register',
  'kernel/modprobe',
]);
let sockets = new TextList([
  'docker.sock',
  'containerd.sock',
  'crio.sock',
  'podman.sock',
  'cri-dockerd.sock',
  'kubelet.sock',
]);
let allowedPods = new TextList([]);

export function configure(config: Config): void {
  sockets = config.texts('sockets', sockets);
  allowedPods = config.texts('allowedPods', allowedPods);
}

export function filter(event: Event): Verdict {
  const process = event.process;
  if (!process.inContainer || allowedPods.matches(event.pod.name)) return keep();
  // Container runtimes enter the namespaces of a container before its first program is there.
  if (!process.isInInitTree && isRuntime(process.binary)) return keep();
  const how = event.kind == EventKind.exec ? called(process.binary.name, process.arguments) : touched(event);
  if (how == '') return keep();
  alert(Severity.critical, 'a container reaches for its node')
    .labelText('how', how)
    .label('binary', process.binary);
  return keep()
    .severity(Severity.critical)
    .labelText('how', how)
    .labelText('attack', how == 'runtime-socket' ? 'T1610' : 'T1611')
    .label('binary', process.binary)
    .label('path', event.file.path);
}

function isRuntime(binary: Bytes): bool {
  return binary.name.equals('runc') || binary.name.equals('crun') || binary.startsWith('/memfd:runc_cloned:');
}

/** Indicators in how a program is called; empty where there are none. */
function called(name: Bytes, list: ArgumentList): string {
  if (name.equals('nsenter')) return 'nsenter';
  if (name.equals('unshare') && (list.contain('-U') || list.contain('--user'))) return 'unshare';
  if (name.equals('debugfs') || (name.equals('mount') && list.contain('/dev/'))) return 'device';
  if (list.contain('/proc/1/root') || list.contain('/proc/1/ns/')) return 'host-root';
  if (helpers.isIn(list.raw)) return 'kernel-helper';
  return sockets.isIn(list.raw) ? 'runtime-socket' : '';
}

/** Indicators in what a hook shows. */
function touched(event: Event): string {
  if (event.functionName.endsWith('sys_setns')) return 'setns';
  const path = event.file.path;
  if (path.isEmpty) return '';
  if (sockets.has(path.name)) return 'runtime-socket';
  if (helpers.isIn(path)) return 'kernel-helper';
  if (path.glob('/proc/1/root/**') || path.glob('/proc/1/ns/*')) return 'host-root';
  return path.glob('/dev/sd*') || path.glob('/dev/nvme*') || path.glob('/dev/vd*') ? 'device' : '';
}
