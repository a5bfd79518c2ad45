// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, test, vi } from 'vitest';
import { raisedCommand } from './raise.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

test('no token, address or other variable gets onto the command line of what is raised', () => {
  for (const name of ['WEIR_TOKEN', 'WEIR_URL', 'WEIR_HOME', 'WEIR_SOCKET'])
    vi.stubEnv(name, `secret-${name}`);
  const args = ['status', '--socket', '/run/weir/agent.sock'];
  const raised = raisedCommand(args, false);
  expect(raised.join(' ')).not.toContain('secret');
  expect(raised.slice(0, 4)).toEqual(['sudo', '-n', '--', process.execPath]);
  expect(raised.slice(-3)).toEqual(args);
  expect(raisedCommand(args, true)).toEqual(raised.slice(3));
});
