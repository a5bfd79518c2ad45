// SPDX-License-Identifier: Apache-2.0
// Owns the few harmless things that `weir up` does so that there is something to see. They run as its own children,
// on this machine or in the guest (this file knows nothing but node, so that it runs there too).
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';

/** What one action came to. */
export interface DemoResult {
  readonly what: string;
  /** Exit code, or the signal that ended it. */
  readonly ended: string;
}

/** A word that no other process has among its arguments. */
export function demoMarker(): string {
  return `weir-demo-${randomBytes(6).toString('hex')}`;
}

interface Action {
  readonly what: string;
  readonly script: string;
}

/** Files and programs that only a guest may be given. */
const guestOnly: readonly Action[] = [
  {
    what: 'run a "miner": a copy of /bin/true at /usr/bin/xmrig, which block-cryptominers denies',
    script: 'cp /bin/true /usr/bin/xmrig; /usr/bin/xmrig; code=$?; rm -f /usr/bin/xmrig; exit $code',
  },
];

const actions: readonly Action[] = [
  {
    what: 'a shell that lists a folder, asks who it is, and ends with 3',
    script: 'ls / >/dev/null; id -u >/dev/null; exit 3',
  },
  { what: 'a child of a child, which is killed', script: 'sh -c "kill -TERM \\$\\$"; true' },
  // Opened by whoever may; for others the kernel's own rights say no, before any policy is asked.
  {
    what: 'cat of a watched file, to nowhere',
    script: 'test -r /etc/shadow && cat /etc/shadow >/dev/null; true',
  },
  {
    what: 'a process in a pid namespace of its own that joins another namespace, as one who breaks out does (root only)',
    script: 'test "$(id -u)" = 0 || exit 0; unshare --fork --pid nsenter --uts=/proc/self/ns/uts true',
  },
  {
    what: 'a program run from a folder that all can write to',
    script: 'folder=$(mktemp -d) && cp /bin/true "$folder/true" && "$folder/true"; rm -rf "$folder"',
  },
];

/** Runs the actions one after the other, each as `sh -c … MARKER`. */
export async function runDemo(marker: string, options: { guest: boolean }): Promise<DemoResult[]> {
  const results: DemoResult[] = [];
  for (const { what, script } of options.guest ? [...actions, ...guestOnly] : actions) {
    const ended = await new Promise<string>((resolve) => {
      const child = spawn('/bin/sh', ['-c', script, marker], { stdio: 'ignore', timeout: 10_000 });
      child.once('error', (cause) => resolve(cause.message));
      child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
    });
    results.push({ what, ended });
  }
  return results;
}
