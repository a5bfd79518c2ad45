// SPDX-License-Identifier: Apache-2.0
// Owns made-up batches for tests and benchmarks: every kind of event, strings with bytes of every kind, and the
// shape of a node's life (exec, hooks, exit of a process). The same seed gives the same bytes.
import { ArgumentType, EventKind, ExecFlag, RecordFlag } from '@weir/schema';
import { BatchWriter, type HookKind, socketPayload } from './batch-writer.js';

/** A generator of numbers below its argument (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

export interface BatchFixture {
  seed: number;
  records: number;
  node?: string;
  cluster?: string;
  /** Sequence of the first record on its CPU. */
  firstSequence?: bigint;
  batchSequence?: bigint;
  /** Nanoseconds since 1970 of the first record. */
  startUnixNs?: bigint;
  /** Only exec, hook and exit events with tame strings, as a node makes them. */
  typical?: boolean;
}

const binaries = ['/usr/bin/bash', '/usr/bin/curl', '/usr/sbin/nginx', '/bin/cat', '/usr/bin/python3'];
const hookKinds: readonly HookKind[] = [
  EventKind.kprobe,
  EventKind.tracepoint,
  EventKind.lsm,
  EventKind.uprobe,
  EventKind.usdt,
  EventKind.loader,
];
const bootTimeNs = 1_000_000_000_000n;

/** A valid batch, made of a seed. */
export function describeBatch(fixture: BatchFixture): Uint8Array<ArrayBuffer> {
  const next = random(fixture.seed);
  const writer = new BatchWriter({
    bootId: Uint8Array.from({ length: 16 }, (_, i) => (i * 7) & 255),
    bootToUnixNs: (fixture.startUnixNs ?? 1_760_000_000_000_000_000n) - bootTimeNs,
    batchSequence: fixture.batchSequence ?? 0n,
    node: fixture.node ?? 'node-1',
    cluster: fixture.cluster ?? 'test',
    nodeLabels: { zone: 'a' },
  });
  const pods = Array.from({ length: 4 }, (_, i) =>
    writer.pod({
      namespace: 'shop',
      name: `web-${fixture.seed % 20}-${i}`,
      uid: `uid-${i}`,
      containerId: `containerd://${'0'.repeat(60)}${i}`,
      containerName: 'web',
      imageName: 'registry.example/shop/web:1.2',
      workload: 'web',
      workloadKind: 'Deployment',
      labels: { app: 'web' },
    }),
  );
  const bindings = hookKinds.map((kind, i) =>
    writer.binding({
      bindingId: i + 1,
      eventKind: kind,
      policyName: `policy-${i}`,
      functionName: `security_hook_${i}`,
      message: 'watched',
      tags: ['observability', 'mitre.T1059'],
      argumentLabels: ['file', ''],
    }),
  );
  const wild = (): Uint8Array => Uint8Array.from({ length: next(40) }, () => next(256));
  const first = fixture.firstSequence ?? 0n;
  let time = bootTimeNs;
  let process = 0;
  let pid = 0;
  let start = 0n;
  let binary = '';
  for (let i = 0; i < fixture.records; i++) {
    time += BigInt(next(1_000_000));
    const sequence = first + BigInt(i);
    const phase = i % 5;
    if (phase === 0) {
      pid = 1000 + next(30000);
      start = time;
      binary = binaries[next(binaries.length)] ?? '';
      process = writer.process({
        pid,
        startNs: start,
        execNs: start,
        parentPid: 1,
        parentExecNs: 1n,
        podIndex: next(3) === 0 ? 0 : (pods[next(pods.length)] ?? 0),
        uid: 1000,
        euid: 1000,
        auid: 4294967295,
        execFlags: ExecFlag.execve | ExecFlag.rootcwd,
        inode: BigInt(binary.length * 1000),
        links: 1,
        namespaces: Array.from({ length: 10 }, (_, n) => 4026531835 + n),
        binary: fixture.typical ? binary : wild(),
        arguments: fixture.typical ? ['-c', `job ${next(1000)} --verbose`] : [wild(), wild()],
        cwd: '/',
        userName: 'app',
        containerId: '0123456789abcdef',
      });
    }
    const common = { pid, tid: pid, cpu: 0, sequence, timeNs: time, startNs: start, process };
    if (phase === 0) {
      const args = fixture.typical ? ['-c', 'job'] : [wild(), wild()];
      writer.event({ ...common, kind: EventKind.exec, uid: 1000, binary, arguments: args, cwd: '/' });
    } else if (phase === 4) {
      writer.event({ ...common, kind: EventKind.exit, status: next(2), signal: next(10) === 0 ? 9 : 0 });
    } else {
      other(writer, fixture, next, common, bindings, wild);
    }
  }
  return writer.finish();
}

function other(
  writer: BatchWriter,
  fixture: BatchFixture,
  next: (below: number) => number,
  common: { pid: number; sequence: bigint; timeNs: bigint; startNs: bigint; process: number },
  bindings: readonly number[],
  wild: () => Uint8Array,
): void {
  const choice = fixture.typical ? 0 : next(8);
  if (choice === 1) writer.event({ ...common, kind: EventKind.clone, parentPid: 1, cgroupName: wild() });
  else if (choice === 2) writer.event({ ...common, kind: EventKind.loss, stage: next(9), count: 5n });
  else if (choice === 3) writer.event({ ...common, kind: EventKind.throttle, type: 2, heldBack: 7n });
  else if (choice === 4) writer.event({ ...common, kind: EventKind.tamper, message: wild() });
  else if (choice === 5) {
    const annotation = { severity: 4, message: wild(), labels: { 'filter.f.l': wild() } };
    writer.event({ ...common, kind: EventKind.alert, severity: 4, causeSequence: 1n, annotation });
  } else {
    const which = fixture.typical ? 0 : next(hookKinds.length);
    writer.event({
      ...common,
      kind: hookKinds[which] ?? EventKind.kprobe,
      binding: bindings[which] ?? 0,
      bindingId: which + 1,
      flags: next(10) === 0 ? RecordFlag.monitor : 0,
      action: next(20) === 0 ? 3 : 1,
      arguments: [
        {
          type: ArgumentType.file,
          payload: fixture.typical ? `/var/lib/data/${next(200)}/file-${next(50)}` : wild(),
          value: 0o100644n,
        },
        next(2) === 0
          ? { type: ArgumentType.int32, value: BigInt(next(2 ** 31)) }
          : {
              type: ArgumentType.sock,
              payload: socketPayload({
                family: 2,
                protocol: 6,
                sourcePort: 1024 + next(60000),
                destinationPort: 443,
                sourceAddress: [10, 0, 0, 1, ...new Array(12).fill(0)],
                destinationAddress: [10, 1, next(4), next(256), ...new Array(12).fill(0)],
              }),
            },
      ],
      ...(next(2) === 0 ? { returnValue: { type: ArgumentType.int32, value: 0n } } : {}),
      ...(next(8) === 0 ? { annotation: { severity: 3, labels: { 'filter.seen.before': 'no' } } } : {}),
    });
  }
}
