// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { AgentClient } from './client.js';
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
      hooks: () => expect.unreachable(),
      setMode: () => expect.unreachable(),
    });
    onTestFinished(() => socket.close());
    const { uid, mode } = statSync(path);
    expect({ uid, mode: mode & 0o777 }).toEqual({ uid: owner ?? own, mode: 0o600 });
  },
);

test('the mode of a policy is set over the socket, and a reason comes back where it is not', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-socket-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'agent.sock');
  const asked: unknown[] = [];
  const socket = await AgentSocket.open({
    path,
    json: {},
    status: () => expect.unreachable(),
    metrics: () => '',
    processes: () => [],
    observe: () => () => {},
    hooks: () => expect.unreachable(),
    setMode: async (policy, mode) => {
      asked.push([policy, mode]);
      if (policy.name === 'gone') throw new RangeError('there is no policy gone here');
      return { ...policy, mode, state: 'loaded', hooks: [], skippedHooks: [], modeIsSet: true };
    },
  });
  onTestFinished(() => socket.close());
  const client = new AgentClient(path);
  const policy = { name: 'a.b-1', namespace: 'shop' };
  expect(await client.setPolicyMode(policy, 'monitor')).toMatchObject({ ...policy, mode: 'monitor' });
  await expect(client.setPolicyMode({ name: 'gone', namespace: '' }, 'enforce')).rejects.toThrow(
    'there is no policy gone here',
  );
  await expect(client.setPolicyMode(policy, 'off' as 'monitor')).rejects.toThrow(
    'mode must be enforce or monitor',
  );
  expect(asked).toEqual([
    [policy, 'monitor'],
    [{ name: 'gone', namespace: '' }, 'enforce'],
  ]);
});
