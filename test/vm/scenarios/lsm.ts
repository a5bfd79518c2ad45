// SPDX-License-Identifier: Apache-2.0
// The boot variants are what their names say: bpf is active, or is not.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { scenario } from '../scenario.js';

export default scenario(
  'has the active security modules of its boot variant',
  { variants: ['default', 'no-bpf-lsm'] },
  (ctx) => {
    const active = readFileSync('/sys/kernel/security/lsm', 'utf8').split(',');
    ctx.log(active.join(' '));
    assert.equal(active.includes('bpf'), ctx.variant === 'default');
    assert.ok(active.includes('apparmor'), 'the variant drops bpf alone');
  },
);
