// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { identify, type ProcessIdentity } from '../state.js';
import { end, runsStill, tail } from './processes.js';

function sleeper(): ProcessIdentity {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const identity = identify(child.pid ?? 0);
  if (identity === undefined) throw new Error('sleep did not start');
  return identity;
}

test('says that a process ended, and of one that is gone that there was none', async () => {
  const identity = sleeper();
  expect(await end(identity)).toBe('ended');
  expect(await end(identity)).toBe('none');
  expect(await end(undefined)).toBe('none');
});

test('kills what does not end when it is asked to', async () => {
  const sent: string[] = [];
  const send = ({ pid }: ProcessIdentity, signal: 'SIGTERM' | 'SIGKILL') => {
    sent.push(signal);
    return signal === 'SIGTERM' || process.kill(pid, signal);
  };
  expect(await end(sleeper(), { send, graceMs: 500 })).toBe('ended');
  expect(sent).toEqual(['SIGTERM', 'SIGKILL']);
});

test('says that a process runs still: it may not be told to end, or does not', async () => {
  const identity = sleeper();
  const sent: string[] = [];
  // As `sudo -n kill` does where sudo wants a password.
  expect(await end(identity, { send: (_, signal) => sent.push(signal) === 0 })).toBe('running');
  expect(sent).toEqual(['SIGTERM']);
  expect(await end(identity, { send: () => true, graceMs: 1 })).toBe('running');
  expect(identify(identity.pid)).toEqual(identity);
  expect(runsStill('The agent', identity)).toMatchObject({
    message: 'The agent runs still: it could not be ended.',
    hints: [expect.stringContaining(`sudo kill -KILL ${identity.pid}`)],
  });
});

test('the end of a log is shown without what Node.js says of itself', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-tail-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const log = join(folder, 'agent.log');
  writeFileSync(
    log,
    [
      'weir-agent: first',
      '(node:7) ExperimentalWarning: WASI is an experimental feature and might change at any time',
      '(Use `node --trace-warnings ...` to show where the warning was created)',
      'weir-agent: second\n',
    ].join('\n'),
  );
  expect(tail(log)).toEqual(['weir-agent: first', 'weir-agent: second']);
  expect(tail(log, 1)).toEqual(['weir-agent: second']);
});
