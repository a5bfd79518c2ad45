// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { formatIssue } from './error.js';
import { plan } from './plan.js';
import { unsupported } from './support.js';
import { policyOfDocument } from './testing/document.js';

function policyOf(part: string, hook: object) {
  const selectors = [{ matchActions: [{ action: 'Post', imaHash: true }] }];
  return policyOfDocument({
    apiVersion: 'cilium.io/v1alpha1',
    kind: 'TracingPolicy',
    metadata: { name: 'p' },
    spec: { [part]: [{ ...hook, selectors }] },
  });
}

describe('hashes of files', () => {
  it.each(['bprm_check_security', 'mmap_file', 'file_post_open'])('are in the events of %s', (hook) => {
    const policy = policyOf('lsmhooks', { hook });
    expect(check(policy)).toMatchObject({ ok: true, warnings: [] });
    expect(check(policy).text).toContain('with the hash of the file, by IMA');
    expect(plan([{ id: 1, policy }]).hooks[0]?.selectors[0]?.imaHash).toBe(true);
  });

  it('are said to be missing where a file cannot be read yet', () => {
    const { ok, warnings } = check(policyOf('lsmhooks', { hook: 'file_open' }));
    expect(ok).toBe(true);
    expect(warnings.map(formatIssue)).toEqual([
      expect.stringMatching(/imaHash: .*only where IMA has measured it before/),
    ]);
  });

  it.each([
    ['lsmhooks', { hook: 'socket_connect' }],
    ['lsmhooks', { hook: 'constructor' }],
    ['kprobes', { call: 'security_bprm_check', syscall: false }],
    ['tracepoints', { subsystem: 'sched', event: 'sched_process_exec' }],
  ])('are refused where there is no file to hash: %s %o', (part, hook) => {
    expect(unsupported(policyOf(part, hook)).map(formatIssue)).toEqual([
      expect.stringMatching(/matchActions\[0\]\.imaHash: the kernel hashes files at LSM hooks/),
    ]);
  });
});
