// SPDX-License-Identifier: Apache-2.0
// Owns the list of all commands, in the order in which help shows them.
import type { Command } from '../command.js';
import { socketCommands } from './agent-socket.js';
import { archiveCommands } from './archive.js';
import { downCommand } from './down.js';
import { filterCommands } from './filter.js';
import { filterSignCommands } from './filter-sign.js';
import { fleetCommands } from './fleet.js';
import { policyCommands } from './policy.js';
import { policyLibraryCommands } from './policy-library.js';
import { policyModeCommands } from './policy-mode.js';
import { upCommand } from './up.js';

export const commands: readonly Command[] = [
  upCommand,
  downCommand,
  ...socketCommands,
  ...policyCommands,
  ...policyModeCommands,
  ...policyLibraryCommands,
  ...filterCommands,
  ...filterSignCommands,
  ...archiveCommands,
  ...fleetCommands,
];
