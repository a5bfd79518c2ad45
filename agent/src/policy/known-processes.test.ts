// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { processesInProc, uptimeTicks } from './known-processes.js';

describe('what /proc says of processes', () => {
  it('is what they run, and what made them', async () => {
    const child = spawn('/bin/sh', ['-c', 'echo; read line'], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const found = processesInProc();
    const text = (binary: Uint8Array | undefined) => Buffer.from(binary ?? []).toString();
    const own = found.find(({ pid }) => pid === process.pid);
    const made = found.find(({ pid }) => pid === child.pid);
    expect(text(own?.execution.binary)).toBe(process.execPath);
    expect(text(made?.execution.binary)).toMatch(/\/(da|ba)?sh$|busybox/);
    expect(made?.execution.parent).toBe(own?.execution);
    expect(made?.startTicks).toBeLessThanOrEqual(uptimeTicks() + 100n);
    expect(made?.startTicks).toBeGreaterThan(0n);
    child.stdin.end();
    await once(child, 'close');
  });
});
