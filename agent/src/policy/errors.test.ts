// SPDX-License-Identifier: Apache-2.0
// What a kernel's refusal becomes for whoever wrote the policy.
import { describe, expect, it } from 'vitest';
import { errnoInWords, explainRefusal } from './errors.js';

const refusal = (errno: number, log = '') => Object.assign(new Error('it failed'), { errno, log });

describe('a refusal of the kernel', () => {
  it('says which type of program is refused, and what would take it', () => {
    const error = explainRefusal('load', 'fentry', 'security_file_open', refusal(524));
    expect(error.code).toBe('load');
    expect(error.message).toMatch(
      /^this kernel refuses fentry programs \(errno 524: operation not supported/,
    );
    expect(error.message).toMatch(/CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS/);
  });

  it('says that a function has too many programs', () => {
    const error = explainRefusal('attach', 'fmod_ret', 'security_file_open', refusal(7));
    expect(error.message).toMatch(
      /as many programs attached as this kernel takes \(errno 7: argument list too long/,
    );
  });

  it('says that a function has more parameters than the kernel hooks', () => {
    expect(explainRefusal('load', 'fentry', '__import_iovec', refusal(524), 7).message).toMatch(
      /^this kernel hooks functions of up to 6 parameters, and __import_iovec has 7 \(errno 524/,
    );
    expect(explainRefusal('load', 'fentry', 'vfs_open', refusal(524), 6).message).toMatch(
      /refuses fentry programs/,
    );
  });

  it('says that a function has no place for hooks', () => {
    expect(explainRefusal('attach', 'fentry', 'import_iovec', refusal(16)).message).toMatch(
      /^import_iovec cannot be hooked \(errno 16: .*available_filter_functions/,
    );
    expect(explainRefusal('load', 'fentry', 'import_iovec', refusal(16)).message).not.toMatch(/hooked/);
  });

  it('says that there is no such function', () => {
    expect(explainRefusal('load', 'fentry', 'security_x', refusal(3)).code).toBe('no-function');
  });

  it("ends with the verifier's reason", () => {
    const log = '12: (85) call x\nR1 unbounded memory access\nprocessed 10 insns\nlibbpf: failed\n';
    const error = explainRefusal('load', 'fentry', 'security_x', refusal(13, log));
    expect(error.message).toMatch(/\(errno 13: permission denied\): R1 unbounded memory access$/);
  });

  it('knows numbers that no C library knows', () => {
    expect(errnoInWords(524)).toBe('operation not supported by this kernel');
    expect(errnoInWords(99999)).toBe('unknown error');
  });
});
