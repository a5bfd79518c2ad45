// SPDX-License-Identifier: Apache-2.0
// Scores what miners of cryptocurrency have in common beyond their names: how they are called, where they lie, whom
// they connect to, how they tune the machine. Hints add up over a container (on the host: over what one parent
// starts), so that a renamed miner without a telling argument is still found. MITRE ATT&CK T1496.001.
import {
  alert,
  Bytes,
  Config,
  Counters,
  Event,
  EventKind,
  keep,
  Severity,
  TextList,
  Verdict,
} from '@weir/filter-sdk';

let threshold: u64 = 100;
let pools = new TextList([
  'minexmr',
  'nanopool.org',
  'supportxmr',
  'moneroocean',
  'hashvault',
  '2miners',
  'f2pool',
  'nicehash',
  'herominers',
  'unmineable',
  'c3pool',
  'xmrpool',
  'monerohash',
]);
let names = new TextList([
  'xmrig',
  'xmr-stak',
  'minerd',
  'cpuminer',
  'ccminer',
  'kinsing',
  'kdevtmpfsi',
  'nbminer',
  't-rex',
]);
const options = new TextList([
  '--donate-level',
  '--nicehash',
  '--rig-id',
  '--randomx-',
  '--cpu-max-threads-hint',
  'cryptonight',
  'rx/0',
]);
const scores = new Counters(8192, 600_000_000_000, 'scores');

export function configure(config: Config): void {
  threshold = <u64>config.integer('threshold', threshold, 10, 1000);
  pools = config.texts('pools', pools);
  names = config.texts('names', names);
}

export function filter(event: Event): Verdict {
  const process = event.process;
  const score =
    event.kind == EventKind.exec ? scoreOfExec(event) : isPoolPort(event.connection.destinationPort) ? 40 : 0;
  if (score == 0) return keep();
  const key = process.inContainer ? process.containerId.hash : process.parent.key;
  const sum = scores.add(key, event.bootTimeNs, score);
  if (sum < threshold) return keep().labelText('hint', 'miner');
  if (sum - score < threshold)
    alert(Severity.critical, 'a miner of cryptocurrency runs').label('binary', process.binary);
  return keep().severity(Severity.critical).label('binary', process.binary).labelText('attack', 'T1496.001');
}

function scoreOfExec(event: Event): u64 {
  const process = event.process;
  const list = process.arguments;
  let score: u64 = names.isIn(process.binary.name) ? 60 : 0;
  if (list.contain('stratum+') || list.contain('stratum2+') || list.contain('daemon+http')) score += 100;
  if (pools.isIn(list.raw)) score += 80;
  if (options.isIn(list.raw)) score += 50;
  if (list.contain('vm.nr_hugepages') || (process.binary.name.equals('modprobe') && list.has('msr')))
    score += 40;
  for (let one = list.first; list.holds(one); one = list.after(one)) if (isWallet(one)) score += 60;
  const hidden = process.isMemfd || process.isUnlinked;
  if (
    hidden ||
    process.binary.startsWith('/tmp/') ||
    process.binary.startsWith('/dev/shm/') ||
    process.binary.startsWith('/var/tmp/')
  ) {
    // Alone it says nothing: much is run from there.
    if (score > 0) score += 30;
  }
  return score;
}

/** An address of Monero: 95 characters of base 58, the first 4 or 8. Often a worker's name follows after a dot. */
function isWallet(argument: Bytes): bool {
  if (argument.length < 95 || (argument.at(0) != 0x34 && argument.at(0) != 0x38)) return false;
  for (let i = 0; i < 95; i++) {
    const byte = <u32>argument.at(i);
    const isLetter = (byte | 0x20) - 0x61 < 26 && byte != 0x49 && byte != 0x4f && byte != 0x6c;
    if (!isLetter && byte - 0x31 >= 9) return false;
  }
  return true;
}

function isPoolPort(port: u32): bool {
  return (
    port == 3333 ||
    port == 4444 ||
    port == 5555 ||
    port == 7777 ||
    port == 14433 ||
    port == 14444 ||
    port == 45700
  );
}
