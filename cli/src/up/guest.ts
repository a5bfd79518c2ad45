// SPDX-License-Identifier: Apache-2.0
// Owns what runs in the guest of `weir up --vm`: the agent, its live events on the serial line, and the demonstration.
// Lines that begin with `@weir ` are for the host; all others are events to be shown. Knows node and the agent's
// client alone.
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { AgentClient } from '@weir/agent/client';
import { runDemo } from './demo.js';

const {
  WEIR_GUEST_URL: url = '',
  WEIR_GUEST_TOKEN: token = '',
  WEIR_GUEST_MARKER: marker = '',
  WEIR_GUEST_FILTER_KEY: filterKey = '',
} = process.env;
const folder = '/run/weir-up';
const socket = `${folder}/agent.sock`;

function tell(kind: string, value: unknown = null): void {
  process.stdout.write(`@weir ${JSON.stringify({ kind, value })}\n`);
}

mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}/token`, token, { mode: 0o600 });
writeFileSync(`${folder}/author.pub`, `${filterKey.replaceAll('|', '\n')}\n`);
const log = openSync(`${folder}/agent.log`, 'a');
const agent = spawn(
  process.execPath,
  [
    '/weir/agent/dist/main.js',
    ...['--control-plane', url, '--token-file', `${folder}/token`, '--node', 'weir-guest'],
    ...['--data', `${folder}/data`, '--socket', socket, '--report-seconds', '2'],
    ...['--filter-key', `${folder}/author.pub`],
  ],
  { stdio: ['ignore', log, log] },
);
let ending = false;
agent.once('exit', (code, signal) => {
  if (!ending)
    tell('failed', {
      ended: signal ?? `exit ${code}`,
      log: readFileSync(`${folder}/agent.log`, 'utf8').slice(-4000),
    });
  process.exit(ending ? 0 : 1);
});
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'demo') {
    void runDemo(marker, { guest: true }).then((results) => tell('demo', results));
  } else if (line === 'end') {
    ending = true;
    agent.kill('SIGTERM');
  }
});

async function follow(): Promise<void> {
  const client = new AgentClient(socket);
  for (;;) {
    try {
      const status = await client.status();
      if (status.releaseSequence > 0) break;
    } catch {
      // It is not there yet; the host gives up when it takes too long.
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  // Ready is when events come: something must happen for one to come.
  const happening = setInterval(() => spawn('/bin/true'), 500);
  let first = true;
  for await (const line of client.events({ format: 'compact' })) {
    process.stdout.write(`${line}\n`);
    if (!first) continue;
    first = false;
    clearInterval(happening);
    tell('ready');
  }
}

follow().catch((cause: unknown) => tell('failed', { ended: String(cause), log: '' }));
