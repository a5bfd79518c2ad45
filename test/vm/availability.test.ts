// SPDX-License-Identifier: Apache-2.0
// Tests that a missing tool is named together with the package that brings it.

import { afterEach, expect, test, vi } from 'vitest';
import { vmUnavailableReason } from './availability.js';

afterEach(() => vi.unstubAllEnvs());

test('names what is missing and how to install it', () => {
  vi.stubEnv('PATH', '/nonexistent');
  expect(vmUnavailableReason()).toMatch(
    /^the test guest needs qemu-system-x86_64, .*: apt-get install qemu-system-x86 /,
  );
});
