// SPDX-License-Identifier: Apache-2.0
// Owns `weir policy set-mode`, which speaks with the agent of this machine.
import type { Command } from '../command.js';
import { usageError } from '../errors.js';
import { cell } from '../output.js';
import { socketOption, socketPath, withAgent } from './agent-socket.js';

export const policyModeCommands: readonly Command[] = [
  {
    name: 'policy set-mode',
    parameters: '[--namespace NAME] [--socket PATH] NAME monitor|enforce',
    summary: 'let a policy on this machine act, or only say what it would do',
    options: { namespace: { type: 'string' }, ...socketOption },
    takes: [2, 2],
    async run({ output, positionals: [name = '', mode = ''], text }) {
      if (mode !== 'monitor' && mode !== 'enforce')
        throw usageError(
          `The mode is monitor or enforce, not "${cell(mode)}".`,
          'weir policy set-mode NAME monitor|enforce',
        );
      const namespace = text('namespace') ?? '';
      const args = [
        'policy',
        'set-mode',
        ...(namespace === '' ? [] : ['--namespace', namespace]),
        name,
        mode,
      ];
      return withAgent(socketPath(text('socket')), args, async (client) => {
        const status = await client.setPolicyMode({ name, namespace }, mode);
        output.line(`${cell(status.name)}: ${status.mode}`);
        return undefined;
      });
    },
  },
];
