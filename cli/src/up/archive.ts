// SPDX-License-Identifier: Apache-2.0
// Owns the questions that `weir up` asks the archive about what it just did.
import { type ControlPlaneClient, ControlPlaneClientError } from '@weir/control-plane/client';
import { cell, type Output, table } from '../output.js';
import { drawTree } from '../tree.js';
import { until } from './processes.js';

const limitMs = 90_000;

/** Each question is a process of its own on the server. */
const askEveryMs = 500;

/** SQL that finds what carries the marker, and what was started by it. */
export function demoSql(marker: string): string {
  return `SELECT time, kind, "binary", array_to_string(arguments, ' ') AS arguments, "user", policy, exit_status, exit_signal
FROM events
WHERE (list_contains(arguments, '${marker}') OR list_contains(parent_arguments, '${marker}')) AND kind <> 'clone'
ORDER BY time_ns`;
}

const policySql = `SELECT policy, function, action, monitor, count(*) AS events
FROM events WHERE policy <> '' GROUP BY ALL ORDER BY ALL`;

/** Shows the rows of what was done, and the tree of one process of it. Is false where they did not come in time. */
export async function showArchive(
  client: ControlPlaneClient,
  marker: string,
  output: Output,
  options: { finishedMs: number; signal: AbortSignal },
): Promise<boolean> {
  const ends = `SELECT exec_id FROM events WHERE kind = 'exit' AND list_contains(arguments, '${marker}') ORDER BY time_ns`;
  const found = await until(
    limitMs,
    async () => {
      const execId = await client.query({ sql: ends }).then(
        ({ rows }) => rows[0]?.[0],
        (cause: unknown) => {
          // The server is busy, as with its first segments: ask again.
          if (cause instanceof ControlPlaneClientError && cause.retryable) return undefined;
          throw cause;
        },
      );
      return typeof execId === 'string' ? execId : undefined;
    },
    options.signal,
    askEveryMs,
  );
  if (found === undefined) return false;
  const seconds = ((Date.now() - options.finishedMs) / 1000).toFixed(1);
  const sql = demoSql(marker);
  const { columns, rows } = await client.query({ sql });
  output.line(`The archive, asked by SQL ${seconds} s after the last of it:`);
  output.line();
  for (const line of sql.split('\n')) output.line(`  ${line}`);
  output.line();
  const names = columns.map(({ name }) => name);
  // Long scripts are cut; the last column is not, so that one with short values comes last.
  for (const line of table(names.map(cell), rows)) output.line(`  ${line}`);
  const matched = await client.query({ sql: policySql });
  if (matched.rows.length > 0) {
    output.line();
    output.line('What matched which policy:');
    output.line();
    for (const line of table(
      matched.columns.map(({ name }) => cell(name)),
      matched.rows,
    ))
      output.line(`  ${line}`);
  }
  output.line();
  output.line(`The process tree of ${cell(found)}:`);
  output.line();
  for (const line of drawTree(await client.processTree(found), found)) output.line(`  ${line}`);
  return true;
}
