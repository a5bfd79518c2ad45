// SPDX-License-Identifier: Apache-2.0
// Three projects, one after the other: `unit` is what lies beside the sources, `whole` is what needs a server, a fleet or
// the machine for itself, `guests` are the scenarios on each kernel.
import { defineConfig } from 'vitest/config';

const exclude = ['**/node_modules/**', '**/dist/**', '**/build/**', '.cache/**', '.weir/**'];
const guests = 'test/vm/guest-*.test.ts';

export default defineConfig({
  test: {
    reporters: ['default', './test/check/reporter.mjs'],
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{schema,policy,segment,native,agent,control-plane,cli}/**/*.test.ts',
            'filters/**/*.test.ts',
          ],
          exclude,
          pool: 'forks',
          sequence: { groupOrder: 0 },
          testTimeout: 90_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'whole',
          include: ['test/**/*.test.ts'],
          exclude: [...exclude, guests],
          pool: 'forks',
          sequence: { groupOrder: 1 },
          // Servers, guests with an agent and benches share two cores: one file after the other.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 1_200_000,
        },
      },
      {
        test: {
          name: 'guests',
          include: [guests],
          exclude,
          pool: 'forks',
          sequence: { groupOrder: 2 },
          // A guest has one processor: a file for each kernel, two at once.
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 1_200_000,
        },
      },
    ],
  },
});
