// SPDX-License-Identifier: Apache-2.0
import { NativeError } from '@weir/native';
import { describe, expect, it } from 'vitest';
import { sensorRefusal } from './sensor-refusal.js';

const text = 'object process.bpf.o cannot be loaded: Invalid argument';
const refused = (log: string) => new NativeError('OBJECT_LOAD_FAILED', text, { errno: 22, log });

describe('a process sensor that the kernel refuses', () => {
  it('is reported with the program and the last word of the verifier', () => {
    const log = [
      "libbpf: prog 'process_exec': BPF program load failed: Invalid argument",
      "libbpf: prog 'process_exec': -- BEGIN PROG LOAD LOG --",
      '12: (85) call x',
      'combined stack size of 3 calls is 544. Too large',
      'processed 10 insns',
      '-- END PROG LOAD LOG --',
      "libbpf: prog 'process_exec': failed to load: -22",
      "libbpf: failed to load object 'process.bpf.o'",
      '',
    ].join('\n');
    expect(sensorRefusal(refused(log))).toMatchObject({
      name: 'NativeError',
      code: 'OBJECT_LOAD_FAILED',
      errno: 22,
      log,
      message: `${text}: process_exec: combined stack size of 3 calls is 544. Too large`,
    });
  });

  it('is reported at a bounded length', () => {
    const { message } = sensorRefusal(refused('x'.repeat(8000))) as NativeError;
    expect(message).toBe(`${text}: ${'x'.repeat(299)}…`);
  });

  it('is left as it is where the verifier said nothing, and where the error is another', () => {
    for (const error of [refused(''), refused("libbpf: failed to load object 'x'\n"), new Error('x')]) {
      expect(sensorRefusal(error)).toBe(error);
    }
  });
});
