#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Entry of `weir-control-plane` in Node.
import { type Command, parseConfig, UsageError, usage } from './node/config.js';
import { openApiText } from './node/openapi.js';
import { startServer } from './node/serve.js';
import type { Log } from './ports.js';

/** One JSON object a line, on standard error. */
const log: Log = (entry) => {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`);
};

async function main(): Promise<void> {
  let command: Command;
  try {
    command = parseConfig(process.argv.slice(2), process.env);
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    process.stderr.write(`weir-control-plane: ${cause.message}\nSee weir-control-plane --help.\n`);
    process.exitCode = 2;
    return;
  }
  if (command.run === 'help') {
    process.stdout.write(usage);
    return;
  }
  if (command.run === 'openapi') {
    process.stdout.write(openApiText());
    return;
  }
  const { config } = command;
  const server = await startServer(config, log);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close());
  if (server.credentialsFile !== undefined) {
    log({ level: 'info', message: 'made the first tokens', file: server.credentialsFile });
  }
  const database = config.databaseUrl === undefined ? 'SQLite' : 'PostgreSQL';
  log({ level: 'info', message: 'ready', url: server.url, database, data: config.dataFolder });
}

main().catch((cause: unknown) => {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'EADDRINUSE' || code === 'EACCES' || code === 'EADDRNOTAVAIL') {
    process.stderr.write(
      `weir-control-plane: cannot listen: ${cause instanceof Error ? cause.message : code}\n`,
    );
  } else {
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    log({ level: 'error', message: 'the server could not start', reason });
  }
  process.exitCode = 1;
});
