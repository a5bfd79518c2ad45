// SPDX-License-Identifier: Apache-2.0
// Owns `weir down`: ends what `weir up` started, and removes what it set up.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import type { Command } from '../command.js';
import { CliError } from '../errors.js';
import { isRunning, places, readState } from '../state.js';
import { pinFolder } from '../up/agent.js';
import { end, isRoot, prepareSudo } from '../up/processes.js';

export const downCommand: Command = {
  name: 'down',
  parameters: '[--keep-data]',
  summary: 'stop what weir up started, and remove what it set up',
  options: { 'keep-data': { type: 'boolean' } },
  takes: [0, 0],
  async run({ output, flag }) {
    const at = places();
    const state = readState(at);
    if (!existsSync(at.marker)) {
      output.line('nothing was set up here');
      return undefined;
    }
    // The agent first: it hands over what it still holds.
    if (state?.agent !== undefined && isRunning(state.agent) && !isRoot()) prepareSudo('Stopping the agent');
    if (await end(state?.agent)) output.line('stopped the agent');
    if (await end(state?.controlPlane)) output.line('stopped the control plane');
    if (flag('keep-data')) {
      output.line(`kept ${at.folder}`);
      return undefined;
    }
    // What an agent that was killed left in the kernel: a few counters, nothing that runs.
    const pins = pinFolder(at);
    if (existsSync(pins)) remove(pins);
    remove(at.folder);
    output.line(`removed ${at.folder}`);
    return undefined;
  },
};

function remove(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (cause) {
    // The agent's data is root's.
    if (!(cause instanceof Error && 'code' in cause && (cause.code === 'EACCES' || cause.code === 'EPERM')))
      throw cause;
    prepareSudo(`Removing ${folder}`);
    if (spawnSync('sudo', ['-n', 'rm', '-rf', '--', folder], { stdio: 'inherit' }).status !== 0) {
      throw new CliError(`${folder} could not be removed.`, [], 1, { cause });
    }
  }
}
