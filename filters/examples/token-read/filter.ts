// SPDX-License-Identifier: Apache-2.0
// Marks reads of a service account's token by a program that has no habit of it. Tools that people use are marked at
// once; any other program when it is new to its workload, after a time of learning. Needs a policy on opened files.
// MITRE ATT&CK T1528, T1552.001.
import {
  alert,
  Bytes,
  Config,
  Event,
  keep,
  LruMap,
  LruSet,
  mix,
  Severity,
  TextList,
  Verdict,
} from '@weir/filter-sdk';

let learnNs: u64 = 3_600_000_000_000;
let allowed = new TextList(['/usr/local/bin/kubelet', '/usr/bin/kubelet', '/coredns', '/kube-proxy']);
let tools = new TextList([
  'cat',
  'head',
  'tail',
  'less',
  'more',
  'grep',
  'cp',
  'base64',
  'xxd',
  'od',
  'strings',
  'dd',
  'tar',
  'curl',
  'wget',
  'nc',
  'sh',
  'bash',
  'dash',
  'ash',
  'zsh',
  'busybox',
  'vi',
  'vim',
  'find',
  'awk',
  'sed',
  'scp',
  'openssl',
]);
const begun = new LruMap(4096, 'begun');
const readers = new LruSet(16384, 'readers');

export function configure(config: Config): void {
  learnNs = config.duration('learn', learnNs);
  allowed = config.texts('allowed', allowed);
  tools = config.texts('tools', tools);
}

export function filter(event: Event): Verdict {
  const process = event.process;
  const path = event.file.path;
  if (!isToken(path) || !process.inContainer || allowed.has(process.binary)) return keep();
  const now = <u64>event.timeNs;
  const workload = event.pod.isKnown ? event.pod.workloadKey : process.containerId.hash;
  const since = begun.get(workload, now);
  begun.set(workload, since);
  const isNew = readers.add(mix(workload, process.binary.hash));
  if (tools.has(process.binary.name))
    return mark(event, path, Severity.high, 'a tool reads a service account token');
  if (!isNew || now - since <= learnNs) return keep();
  return mark(event, path, Severity.medium, 'a program that never did reads a service account token');
}

function mark(event: Event, path: Bytes, severity: i32, message: string): Verdict {
  const binary = event.process.binary;
  alert(severity, message).label('binary', binary).label('workload', event.pod.workload);
  return keep()
    .severity(severity)
    .message(message)
    .label('binary', binary)
    .label('path', path)
    .labelText('attack', 'T1528');
}

/** Mounts of Kubernetes (behind its links), of EKS and of Azure, and where the kubelet keeps them on the node. */
function isToken(path: Bytes): bool {
  return (
    path.glob('**/kubernetes.io/serviceaccount/**token') ||
    path.glob('**/eks.amazonaws.com/serviceaccount/**token') ||
    path.glob('**/azure/tokens/**token') ||
    path.glob('/var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/**token')
  );
}
