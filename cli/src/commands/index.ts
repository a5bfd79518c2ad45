// SPDX-License-Identifier: Apache-2.0
// Owns the list of all commands, in the order in which help shows them.
import type { Command } from '../command.js';
import { archiveCommands } from './archive.js';
import { downCommand } from './down.js';
import { filterCommands } from './filter.js';
import { fleetCommands } from './fleet.js';
import { policyCommands } from './policy.js';

export const commands: readonly Command[] = [
  downCommand,
  ...policyCommands,
  ...filterCommands,
  ...archiveCommands,
  ...fleetCommands,
];
