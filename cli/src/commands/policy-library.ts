// SPDX-License-Identifier: Apache-2.0
// Owns `weir policy library …`: the ready policies of the repository.
import { type Command, wantsJson } from '../command.js';
import { inMonitorMode, policiesOfLibrary, readLibrary } from '../library.js';
import { table } from '../output.js';
import { connect } from '../state.js';
import { addPolicy } from './policy.js';

export const policyLibraryCommands: readonly Command[] = [
  {
    name: 'policy library list',
    parameters: '[-o table|json]',
    summary: 'list the ready policies that come with Weir',
    options: { output: { type: 'string', short: 'o' } },
    takes: [0, 0],
    async run({ output, text }) {
      const entries = readLibrary().map(({ entry }) => entry);
      if (wantsJson(text('output'))) {
        output.json(entries);
        return undefined;
      }
      const rows = entries.map(({ name, severity, cost, reports, title }) => [
        name,
        severity,
        cost,
        reports ? 'reports' : 'denies',
        title,
      ]);
      for (const line of table(['NAME', 'SEVERITY', 'COSTS AT', 'DOES', 'TELLS OF'], rows)) output.line(line);
      return undefined;
    },
  },
  {
    name: 'policy library show',
    parameters: 'NAME',
    summary: 'print a ready policy, to begin one of your own with',
    takes: [1, 1],
    async run({ output, positionals }) {
      for (const { text } of policiesOfLibrary(positionals))
        for (const line of text.trimEnd().split('\n')) output.line(line);
      return undefined;
    },
  },
  {
    name: 'policy library add',
    parameters: '[--monitor] [--no-release] NAME...',
    summary: 'send ready policies to the control plane, and put them in force',
    help: ['--monitor lets those that deny and kill only say what they would have done.'],
    options: { monitor: { type: 'boolean' }, 'no-release': { type: 'boolean' } },
    takes: [1, 100],
    async run({ output, positionals, flag }) {
      const policies = policiesOfLibrary(positionals);
      const client = connect();
      for (const { entry, text } of policies) {
        const source = flag('monitor') ? inMonitorMode(text) : text;
        await addPolicy(client, { path: entry.name, text: source }, !flag('no-release'), output);
      }
      return undefined;
    },
  },
];
