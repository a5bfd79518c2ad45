// SPDX-License-Identifier: Apache-2.0
// The events that filters are measured with, and the filters: as JSON has them, and as the batch that holds the same.
import { ArgumentType, EventKind } from '@weir/schema';
import { BatchWriter } from '@weir/segment';

export const RECORDS = 3000;

/** One predicate over a path. */
export const simple = (version) => `
import { drop, Event, keep, Verdict } from '@weir/filter-sdk';
// ${version}
export function filter(event: Event): Verdict {
  const path = event.argument(0).path;
  if (path.startsWith('/proc/') || path.endsWith('.so')) return drop();
  return keep();
}
`;

/** Looks at the process, its ancestors, a path by a pattern, and counts by process. */
export const stateful = (index) => `
import { Counters, Event, keep, Severity, Verdict } from '@weir/filter-sdk';
const counters = new Counters(8192, 10_000_000_000);
export function filter(event: Event): Verdict {
  const process = event.process;
  if (process.binary.startsWith('/opt/') || process.hasAncestor('/opt/**')) return keep();
  const path = event.argument(0).path;
  if (path.glob('/home/*/.ssh/**')) return keep().severity(Severity.medium).label('path', path);
  const key = process.startNs * 31 + process.pid + ${index};
  if (counters.add(key, event.bootTimeNs) == 1_000_000_000) return keep().severity(Severity.low);
  return keep();
}
`;

/** Events of a node: paths of every sort, 64 processes with parents. */
export function events() {
  const paths = [
    '/proc/self/status',
    '/usr/lib/x86_64-linux-gnu/libc.so',
    '/etc/passwd',
    '/var/log/app/today.log',
    '/home/u/project/src/main.c',
  ];
  return Array.from({ length: RECORDS }, (_, index) => ({
    process_kprobe: {
      process: {
        exec_id: `id-${index % 64}`,
        pid: 1000 + (index % 64),
        uid: 1000,
        cwd: '/home/u',
        binary: '/usr/bin/python3',
        arguments: 'server.py --port 8080',
        flags: 'execve',
        start_time: '2026-01-02T03:04:05.000000000Z',
        auid: 1000,
        parent_exec_id: 'p',
        refcnt: 2,
      },
      parent: {
        exec_id: 'p',
        pid: 900,
        uid: 0,
        cwd: '/',
        binary: '/usr/lib/systemd/systemd',
        arguments: '--user',
        flags: 'procFS',
        start_time: '2026-01-01T00:00:00.000000000Z',
        auid: 4294967295,
        refcnt: 70,
      },
      function_name: 'security_file_open',
      args: [{ file_arg: { path: paths[index % paths.length], permission: '-rw-r--r--' } }],
      action: 'KPROBE_ACTION_POST',
      policy_name: 'files',
    },
    node_name: 'node-1',
    time: '2026-01-02T03:04:06.000000000Z',
  }));
}

/** A batch that is begun: 64 processes with their parent, and a policy on files. */
export function beginBatch() {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'bench' });
  const parent = writer.process({
    pid: 900,
    startNs: 9n,
    binary: '/usr/lib/systemd/systemd',
    arguments: ['--user'],
  });
  const processes = Array.from({ length: 64 }, (_, index) =>
    writer.process({
      pid: 1000 + index,
      startNs: BigInt(1000 + index),
      parentIndex: parent,
      binary: '/usr/bin/python3',
      arguments: ['server.py', '--port', '8080'],
      cwd: '/home/u',
    }),
  );
  const binding = writer.binding({
    eventKind: EventKind.kprobe,
    policyName: 'files',
    functionName: 'security_file_open',
  });
  return { writer, parent, processes, binding };
}

export function batchOf(list) {
  const { writer, parent, processes, binding } = beginBatch();
  for (const [index, event] of list.entries()) {
    writer.event({
      kind: EventKind.kprobe,
      pid: 1000 + (index % 64),
      timeNs: BigInt(index) * 1000n,
      process: processes[index % 64],
      parent,
      binding,
      arguments: [{ type: ArgumentType.file, payload: event.process_kprobe.args[0].file_arg.path }],
    });
  }
  return writer.finish();
}
