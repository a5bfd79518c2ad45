// SPDX-License-Identifier: Apache-2.0
// Tests the scanner of kernel logs on lines as kernels print them.

import { expect, test } from 'vitest';
import { findSplats } from './kernel-log.js';

test.each([
  '[    3.1] WARNING: CPU: 0 PID: 1 at kernel/bpf/trampoline.c:100 bpf_tramp_image_put+0x1/0x2',
  '[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000010',
  '[    3.1] BUG: sleeping function called from invalid context at mm/slab.h:1',
  '[    3.1] kernel BUG at fs/inode.c:1751!',
  '[    3.1] Oops: 0002 [#1] PREEMPT SMP NOPTI',
  '[    3.1] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI',
  '[    3.1] int3: 0000 [#1] PREEMPT SMP NOPTI',
  '[    3.1] invalid opcode: 0000 [#1] SMP',
  '[    3.1] general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]',
  '[    3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100',
  '[    3.1] WARNING: possible circular locking dependency detected',
  '[    3.1] WARNING: suspicious RCU usage',
  '[   30.1] rcu: INFO: rcu_preempt self-detected stall on CPU',
  '[   30.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks: detected stall',
  '[   30.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [node:100]',
  '[  130.1] INFO: task node:100 blocked for more than 120 seconds.',
  '[    3.1] UBSAN: array-index-out-of-bounds in drivers/x.c:1:2',
  '[    3.1] refcount_t: underflow; use-after-free.',
])('reports %s', (line) => {
  expect(findSplats(['quiet', line])).toEqual([line]);
});

test.each([
  '[    0.0] Warning: unable to open an initial console.',
  '[    0.1] x86/cpu: SGX disabled by BIOS.',
  '[    0.1] Spectre V2 : Kernel not compiled with retpoline; no mitigation available!',
  '[    0.1] MDS: Vulnerable: Clear CPU buffers attempted, no microcode',
  '[    0.1] debug: BUGS=0, WARNINGS=0',
  '[    2.1] random: crng init done',
  '[    2.1] Command line: oops=panic softlockup_panic=1 panic=-1',
])('lets %s pass', (line) => {
  expect(findSplats([line])).toEqual([]);
});
