// SPDX-License-Identifier: Apache-2.0
// Two projects: `unit` is what lies beside the sources, `whole` is what needs a guest, a server or a fleet.
import { defineConfig } from 'vitest/config';

const exclude = ['**/node_modules/**', '**/dist/**', '**/build/**', '.cache/**', '.weir/**'];

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
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'whole',
          include: ['test/**/*.test.ts'],
          exclude,
          pool: 'forks',
          // Guests, servers and benches share two cores: one file after the other.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 1_200_000,
        },
      },
    ],
  },
});
