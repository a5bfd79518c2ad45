// SPDX-License-Identifier: Apache-2.0
// Runs in the guest of guest.test.ts: the agent as a daemon, and what the host asks for, a line of JSON each way. Lines
// to the host begin with `@e2e `. Knows node and the agent's client alone.
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { AgentClient } from '@weir/agent/client';

const { WEIR_E2E_URL: url = '', WEIR_E2E_TOKEN: token = '' } = process.env;
const folder = '/run/e2e';
const socket = `${folder}/agent.sock`;
const logFile = `${folder}/agent.log`;
/** Opens of each of two files with each step, and steps a second: more than enough to be in every batch. */
const opensOfStep = 20;
const stepMs = 20;

let agent: ChildProcess | undefined;
let load: { stop(): Promise<Record<string, number>> } | undefined;

function run(program: string, args: readonly string[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('latin1');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('latin1');
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ pid: child.pid, code, signal, stdout, stderr }));
  });
}

/** Opens two files in turn until it is told to stop; then says how often each was opened. */
function startLoad(paths: readonly string[]): typeof load {
  const child = spawn('/weir/bin/calls', [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const opened: Record<string, number> = {};
  let answered = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const path = paths[answered++ % paths.length] ?? '';
    if (Number(line) >= 0) opened[path] = (opened[path] ?? 0) + 1;
  });
  const step = paths.map((path) => `openat\t-100\t${path}\t0\n`).join('');
  const timer = setInterval(() => {
    // What it has not got to yet is not piled up.
    if (child.stdin.writableLength === 0) child.stdin.write(step.repeat(opensOfStep));
  }, stepMs);
  return {
    async stop() {
      clearInterval(timer);
      child.stdin.end();
      await ended;
      return opened;
    },
  };
}

const actions: Record<string, (...args: string[]) => unknown> = {
  start() {
    writeFileSync(`${folder}/token`, token, { mode: 0o600 });
    const log = openSync(logFile, 'a');
    agent = spawn(
      process.execPath,
      [
        '/weir/agent/dist/main.js',
        ...[
          '--control-plane',
          url,
          '--token-file',
          `${folder}/token`,
          '--node',
          'e2e-guest',
          '--pin',
          'none',
        ],
        ...['--data', `${folder}/data`, '--socket', socket, '--report-seconds', '1'],
      ],
      { stdio: ['ignore', log, log] },
    );
    return agent.pid;
  },
  log: () => (existsSync(logFile) ? readFileSync(logFile, 'latin1').slice(-4000) : ''),
  status: () =>
    new AgentClient(socket).status().catch(() => {
      if (agent?.exitCode !== null)
        throw new Error(`the agent has ended: ${readFileSync(logFile, 'latin1').slice(-2000)}`);
      return null;
    }),
  kill(signal) {
    const ended = new Promise((resolve) => agent?.once('exit', (code, by) => resolve({ code, by })));
    agent?.kill(signal as NodeJS.Signals);
    return ended;
  },
  run: (program = '', ...args) => run(program, args),
  copy: (from = '', to = '') => copyFileSync(from, to),
  write: (path = '', text = '') => writeFileSync(path, text),
  exists: (path = '') => existsSync(path),
  remove: (path = '') => rmSync(path, { force: true }),
  load(...paths) {
    load = startLoad(paths);
  },
  unload: () => load?.stop(),
};

function tell(value: unknown): void {
  process.stdout.write(`@e2e ${JSON.stringify(value)}\n`);
}

mkdirSync(`${folder}/watched`, { recursive: true });
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line.trim() === '') return;
  const { id, action, args } = JSON.parse(line) as { id: number; action: string; args: string[] };
  Promise.resolve()
    .then(() => actions[action]?.(...args))
    .then(
      (value) => tell({ id, value: value ?? null }),
      (error: unknown) => tell({ id, error: String(error) }),
    );
});
tell({ ready: true });
