// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AgentClient } from './client.js';

it('says that the agent has ended where it leaves while events are shown', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-client-'));
  const path = join(folder, 'agent.sock');
  const server = createServer((_, response) => {
    response.write('first\n');
  });
  try {
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const events = new AgentClient(path).events();
    expect((await events.next()).value).toBe('first');
    server.closeAllConnections();
    await expect(events.next()).rejects.toMatchObject({
      name: 'AgentClientError',
      code: 'ended',
      message: 'the agent has ended',
    });
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
