// SPDX-License-Identifier: Apache-2.0
// Owns the control plane that `weir up` starts: on the loopback, its data in the state folder.

import type { ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { createServer } from 'node:net';
import { CliError } from '../errors.js';
import { identify, type Places, type ProcessIdentity } from '../state.js';
import { start, tail, until } from './processes.js';
import { controlPlaneEntry } from './repository.js';

/** The port that is taken where it is free, so that the address stays the same. */
const usualPort = 8420;
const startMs = 30_000;

export interface StartedControlPlane {
  readonly url: string;
  readonly identity: ProcessIdentity;
  readonly child: ChildProcess;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** What was written to a file since it had so many bytes. */
function since(file: string, offset: number): string {
  const descriptor = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(Math.max(0, fstatSync(descriptor).size - offset));
    readSync(descriptor, bytes, 0, bytes.length, offset);
    return bytes.toString('utf8');
  } finally {
    closeSync(descriptor);
  }
}

function sizeOf(file: string): number {
  try {
    const descriptor = openSync(file, 'r');
    const { size } = fstatSync(descriptor);
    closeSync(descriptor);
    return size;
  } catch {
    return 0;
  }
}

/** The address in the line with which the server says that it is ready. */
function readyUrl(log: string): string | undefined {
  for (const line of log.split('\n')) {
    if (!line.includes('"ready"')) continue;
    const entry = JSON.parse(line) as { message?: string; url?: string };
    if (entry.message === 'ready') return entry.url;
  }
  return undefined;
}

export async function startControlPlane(at: Places, cluster: string): Promise<StartedControlPlane> {
  const port = (await isFree(usualPort)) ? usualPort : 0;
  const before = sizeOf(at.controlPlaneLog);
  const args = [
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--data',
    at.controlPlaneData,
    '--cluster',
    cluster,
  ];
  const child = start(controlPlaneEntry, args, at.controlPlaneLog, { detached: true, sudo: false });
  const url = await until(startMs, () =>
    child.exitCode === null ? readyUrl(since(at.controlPlaneLog, before)) : '',
  );
  const identity = child.pid === undefined ? undefined : identify(child.pid);
  if (url === undefined || url === '' || identity === undefined) {
    child.kill('SIGKILL');
    throw new CliError('The control plane did not start.', [
      ...tail(at.controlPlaneLog),
      `Its log: ${at.controlPlaneLog}`,
    ]);
  }
  return { url, identity, child };
}
