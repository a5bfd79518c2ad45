// SPDX-License-Identifier: Apache-2.0
// Owns `weir down`: ends what `weir up` started, and removes what it set up.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import type { Command } from '../command.js';
import { CliError } from '../errors.js';
import { cell, type Output } from '../output.js';
import { isRunning, type ProcessIdentity, places, readState } from '../state.js';
import { isPinFolder, pinFolder } from '../up/agent.js';
import { end, isRoot, prepareSudo, runsStill } from '../up/processes.js';
import { guestCache } from '../up/repository.js';

export const downCommand: Command = {
  name: 'down',
  parameters: '[--keep-data] [--cache]',
  summary: 'stop what weir up started, and remove what it set up',
  help: [
    '--keep-data stops only. Kernels and images of weir up --vm stay for the next time, and for the tests;',
    '--cache removes them too.',
  ],
  options: { 'keep-data': { type: 'boolean' }, cache: { type: 'boolean' } },
  takes: [0, 0],
  async run({ output, flag }) {
    const at = places();
    if (existsSync(at.marker)) {
      const state = readState(at);
      // The agent first: it hands over what it still holds.
      if (state?.agent !== undefined && isRunning(state.agent) && !isRoot())
        prepareSudo('Stopping the agent');
      await stop('agent', state?.agent, output);
      await stop('control plane', state?.controlPlane, output);
      if (flag('keep-data')) output.line(`kept ${at.folder}`);
      else {
        // What an agent that was killed left in the kernel: a few counters, nothing that runs.
        removePins(state?.pinFolder ?? pinFolder(at), state?.pinFolder !== undefined);
        remove(at.folder);
        output.line(`removed ${at.folder}`);
      }
    } else output.line('nothing was set up here');
    const cache = guestCache();
    if (!existsSync(cache)) return undefined;
    if (flag('cache')) {
      remove(cache);
      output.line(`removed ${cell(cache)}`);
    } else {
      output.line(`kept ${cell(cache)}, kernels and images of guests; weir down --cache removes it`);
    }
    return undefined;
  },
};

async function stop(what: string, identity: ProcessIdentity | undefined, output: Output): Promise<void> {
  const ending = await end(identity);
  if (ending === 'ended') output.line(`stopped the ${what}`);
  // Its data must not go from under it.
  if (ending === 'running' && identity !== undefined) throw runsStill(`The ${what}`, identity);
}

/** @param known An agent was started with it; the folder that it is in may be closed to us. */
function removePins(pins: string, known: boolean): void {
  // The state's file is the user's, and what it says is removed as root.
  if (!isPinFolder(pins))
    throw new CliError(`${pins} is no folder of weir up's counters: it is not removed.`);
  if (isRoot() || !known) {
    if (existsSync(pins)) remove(pins);
    return;
  }
  removeRaised(pins);
}

function remove(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (cause) {
    // The agent's data is root's.
    if (!(cause instanceof Error && 'code' in cause && (cause.code === 'EACCES' || cause.code === 'EPERM')))
      throw cause;
    removeRaised(folder, cause);
  }
}

function removeRaised(folder: string, cause?: unknown): void {
  prepareSudo(`Removing ${folder}`);
  if (spawnSync('sudo', ['-n', 'rm', '-rf', '--', folder], { stdio: 'inherit' }).status !== 0) {
    throw new CliError(`${folder} could not be removed.`, [`sudo rm -rf -- ${folder}`], 1, { cause });
  }
}
