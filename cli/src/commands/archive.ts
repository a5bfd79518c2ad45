// SPDX-License-Identifier: Apache-2.0
// Owns `weir archive …`.
import { type Command, wantsJson, wholeNumber } from '../command.js';
import { usageError } from '../errors.js';
import { cell, type Output, table } from '../output.js';
import { connect } from '../state.js';
import { drawTree } from '../tree.js';

const filters = [
  'from',
  'to',
  'cluster',
  'node',
  'kind',
  'policy',
  'binary',
  'path',
  'pod',
  'exec-id',
] as const;

function showRows(
  output: Output,
  result: {
    columns: ReadonlyArray<{ name: string }>;
    rows: ReadonlyArray<readonly unknown[]>;
    truncated: boolean;
  },
): void {
  for (const line of table(
    result.columns.map(({ name }) => cell(name)),
    result.rows,
  ))
    output.line(line);
  const count = `${result.rows.length} row${result.rows.length === 1 ? '' : 's'}`;
  output.note(result.truncated ? `${count}; there are more: raise --limit` : count);
}

const shown = ['time', 'node', 'kind', 'policy', 'action', 'pid', 'binary', 'arguments', 'path', 'exec_id'];

export const archiveCommands: readonly Command[] = [
  {
    name: 'archive query',
    parameters: `[-o table|json] [--limit N] [--timeout SECONDS] 'SELECT …' | [--binary PATH] [--policy NAME] …`,
    summary: 'ask the archive: by SQL over the table events, or by what an event has',
    help: [
      `What an event has: ${filters.map((name) => `--${name}`).join(' ')}; times as 2026-01-31T12:00:00Z.`,
      'The columns are in docs/reference/archive-columns.md.',
    ],
    options: {
      output: { type: 'string', short: 'o' },
      limit: { type: 'string' },
      timeout: { type: 'string' },
      ...Object.fromEntries(filters.map((name) => [name, { type: 'string' as const }])),
    },
    takes: [0, 1],
    async run({ output, positionals: [sql], text }) {
      const json = wantsJson(text('output'));
      const limit = wholeNumber('limit', text('limit'), { least: 1, most: 10_000, otherwise: 100 });
      const seconds = wholeNumber('timeout', text('timeout'), { least: 1, most: 120, otherwise: 30 });
      const given = filters.filter((name) => text(name) !== undefined);
      if (sql !== undefined && given.length > 0) {
        throw usageError(`Give SQL or --${given[0]}, not both: SQL has WHERE.`);
      }
      const client = connect();
      if (sql !== undefined) {
        const result = await client.query({ sql, limit, timeoutMs: seconds * 1000 });
        if (json) output.json(result);
        else showRows(output, result);
        return undefined;
      }
      const { events, truncated } = await client.archiveEvents({
        ...Object.fromEntries(given.map((name) => [name.replace('-', '_'), text(name)])),
        limit,
      });
      if (json) output.json(events);
      else {
        const columns = shown.filter((name) => events.some((event) => event[name] !== undefined));
        const rows = events.map((event) => columns.map((name) => event[name]));
        showRows(output, { columns: columns.map((name) => ({ name })), rows, truncated });
      }
      return undefined;
    },
  },
  {
    name: 'archive integrity',
    parameters: '[-o table|json] [--agent ID] [--limit N]',
    summary: 'say where the chains of segments that agents sent do not hold',
    help: [
      'gap: the segment before it is not here, or not yet; fork: it does not follow the one before it.',
      'Exit code 1 where there is any.',
    ],
    options: {
      output: { type: 'string', short: 'o' },
      agent: { type: 'string' },
      limit: { type: 'string' },
    },
    takes: [0, 0],
    async run({ output, text }) {
      const json = wantsJson(text('output'));
      const limit = wholeNumber('limit', text('limit'), { least: 1, most: 10_000, otherwise: 100 });
      const agent = text('agent');
      const found = await connect().archiveIntegrity({ limit, ...(agent === undefined ? {} : { agent }) });
      if (json) output.json(found);
      else {
        const { segments, files, filesWithoutDigest, breaks, truncated } = found;
        for (const line of breaks.length === 0
          ? []
          : table(
              ['standing', 'agent', 'node', 'chain', 'segment', 'digest', 'received'],
              breaks.map((each) => [
                each.standing,
                each.agentId,
                each.node,
                each.chainId,
                each.sequence,
                each.digest.slice(0, 16),
                new Date(each.receivedMs).toISOString(),
              ]),
            ))
          output.line(line);
        const count = `${breaks.length} break${breaks.length === 1 ? '' : 's'}`;
        output.line(
          `${segments} segments, ${truncated ? `more than ${count}: raise --limit` : breaks.length === 0 ? 'no break' : count}`,
        );
        output.line(
          `${files} files, each checked by its SHA-256 when it is read${filesWithoutDigest === 0 ? '' : `, but for ${filesWithoutDigest} of which only the size is known`}`,
        );
      }
      return found.breaks.length === 0 ? undefined : 1;
    },
  },
  {
    name: 'archive tree',
    parameters: '[-o tree|json] EXEC_ID',
    summary: 'draw the tree of a process: its ancestors and its descendants',
    options: { output: { type: 'string', short: 'o' } },
    takes: [1, 1],
    async run({ output, positionals: [execId = ''], text }) {
      const tree = await connect().processTree(execId);
      if (wantsJson(text('output'), 'tree')) output.json(tree);
      else for (const line of drawTree(tree, execId)) output.line(line);
      return undefined;
    },
  },
];
