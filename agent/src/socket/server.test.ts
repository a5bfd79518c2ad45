// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { AgentSocket } from './server.js';

const own = process.getuid?.() ?? 0;

// Only root can give a file away; another user can give it to themselves.
test.each([undefined, own === 0 ? 65_534 : own])(
  'the socket given to %s is for its owner alone',
  async (owner) => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-socket-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'agent.sock');
    const socket = await AgentSocket.open({
      path,
      owner,
      json: {},
      status: () => expect.unreachable(),
      metrics: () => '',
      processes: () => [],
      observe: () => () => {},
    });
    onTestFinished(() => socket.close());
    const { uid, mode } = statSync(path);
    expect({ uid, mode: mode & 0o777 }).toEqual({ uid: owner ?? own, mode: 0o600 });
  },
);
