// SPDX-License-Identifier: Apache-2.0
// Learns which network tools and which askers of names a workload has, and marks those that are new to it after that:
// the same image does the same things, so a first `curl` or `dig` after a week is somebody looking around. MITRE ATT&CK
// T1046, T1071.004, T1105.
import {
  alert,
  Bloom,
  Bytes,
  Config,
  Event,
  EventKind,
  keep,
  LruMap,
  mix,
  Severity,
  TextList,
  Verdict,
} from '@weir/filter-sdk';

let learnNs: u64 = 86_400_000_000_000;
let severity: i32 = Severity.medium;
let tools = new TextList([
  'curl',
  'wget',
  'nc',
  'ncat',
  'netcat',
  'socat',
  'dig',
  'nslookup',
  'host',
  'drill',
  'ssh',
  'scp',
  'sftp',
  'ftp',
  'tftp',
  'telnet',
  'nmap',
  'masscan',
  'ping',
  'traceroute',
  'tcpdump',
  'tshark',
  'ip',
  'ss',
  'netstat',
  'arp',
  'iptables',
  'nft',
]);
// When a workload was first seen, and what it was seen to use (a quarter of a million pairs in less than 1 MiB).
const begun = new LruMap(8192, 'begun');
const known = new Bloom(131072, 0, 'known');

export function configure(config: Config): void {
  learnNs = config.duration('learn', learnNs);
  severity = config.severity('severity', severity);
  tools = config.texts('tools', tools);
}

export function filter(event: Event): Verdict {
  if (!event.pod.isKnown) return keep();
  const now = <u64>event.timeNs;
  const workload = event.pod.workloadKey;
  const since = begun.get(workload, now);
  begun.set(workload, since);
  const what = used(event);
  if (what.isEmpty || !known.add(mix(workload, what.hash), now) || now - since <= learnNs) return keep();
  alert(severity, 'a workload uses the network in a way that is new to it')
    .label('tool', what)
    .label('workload', event.pod.workload);
  return keep()
    .severity(severity)
    .label('tool', what)
    .labelText('attack', event.kind == EventKind.exec ? 'T1046' : 'T1071.004')
    .label('parent', event.process.parent.binary);
}

/** The network tool that is run, or the program that asks for a name; empty where it is neither. */
function used(event: Event): Bytes {
  const binary = event.process.binary;
  const nothing = binary.slice(0, 0);
  if (event.kind != EventKind.exec) return event.connection.destinationPort == 53 ? binary : nothing;
  const name = binary.name.equals('busybox') ? event.process.arguments.first : binary.name;
  return tools.has(name) ? name : nothing;
}
