// SPDX-License-Identifier: Apache-2.0
// Owns the questions that the archive answers: free SQL, events by filters, the tree of a process.
import type { Catalogue, FileFilter } from './catalogue.js';
import { ArchiveError } from './error.js';
import type { FileCache } from './local-files.js';
import type { QueryAnswer, QueryRunner } from './query-runner.js';
import { buildTree, type ProcessTree, treeSql } from './tree.js';

export interface EventFilters {
  /** RFC 3339. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly cluster?: string | undefined;
  readonly node?: string | undefined;
  readonly kind?: string | undefined;
  readonly policy?: string | undefined;
  /** The beginning of the binary's path. */
  readonly binary?: string | undefined;
  /** The beginning of the path that an event is about. */
  readonly path?: string | undefined;
  readonly pod?: string | undefined;
  readonly exec_id?: string | undefined;
  /** Anywhere in binary, arguments, path, message or the arguments of a hook. */
  readonly text?: string | undefined;
}

export interface ReaderOptions {
  readonly catalogue: Catalogue;
  readonly cache: FileCache;
  readonly runner: QueryRunner;
  /** Files that one query may read. Default 4,000. */
  readonly filesMax?: number;
}

const timeoutMs = 30_000;

const conditions: Readonly<Record<Exclude<keyof EventFilters, 'from' | 'to'>, string>> = {
  cluster: 'cluster = $cluster',
  node: 'node = $node',
  kind: 'kind = $kind',
  policy: 'policy = $policy',
  binary: 'starts_with("binary", $binary)',
  path: 'starts_with(path, $path)',
  pod: 'pod = $pod',
  exec_id: 'exec_id = $exec_id',
  text: `(contains("binary", $text) OR contains(coalesce(path, ''), $text) OR contains(coalesce(message, ''), $text)
    OR contains(coalesce(args, ''), $text) OR contains(coalesce(array_to_string(arguments, ' '), ''), $text))`,
};

export class ArchiveReader {
  readonly #options: ReaderOptions;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /**
   * Runs one SELECT over the view `events`. The SQL is not trusted.
   * @throws {ArchiveError} query-refused, query-timeout, query-too-large, busy
   */
  sql(request: { sql: string; limit: number; timeoutMs: number } & FileFilter): Promise<QueryAnswer> {
    return this.#run(request, request.sql, {}, request.limit, request.timeoutMs);
  }

  /** The newest `limit` events that match, oldest of them first. */
  async events(filters: EventFilters, limit: number): Promise<QueryAnswer> {
    const where: string[] = [];
    const parameters: Record<string, string> = {};
    for (const [name, condition] of Object.entries(conditions)) {
      const value = filters[name as keyof typeof conditions];
      if (value === undefined) continue;
      where.push(condition);
      parameters[name] = value;
    }
    const fromNs = filters.from === undefined ? undefined : nsOf('from', filters.from);
    const toNs = filters.to === undefined ? undefined : nsOf('to', filters.to);
    if (fromNs !== undefined) where.push(`time_ns >= ${fromNs}`);
    if (toNs !== undefined) where.push(`time_ns <= ${toNs}`);
    const sql = `SELECT * FROM events ${where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`}
      ORDER BY time_ns DESC, event_id DESC LIMIT ${Math.trunc(limit) + 1}`;
    const files = {
      ...(filters.cluster === undefined ? {} : { cluster: filters.cluster }),
      ...(fromNs === undefined ? {} : { fromNs }),
      ...(toNs === undefined ? {} : { toNs }),
    };
    const answer = await this.#run(files, sql, parameters, limit, timeoutMs);
    return { ...answer, rows: answer.rows.reverse() };
  }

  /**
   * The ancestors of an execution, itself, and its descendants.
   * @throws {ArchiveError} not-found
   */
  async processTree(execId: string): Promise<ProcessTree> {
    const answer = await this.#run({}, treeSql, { exec_id: execId }, 20_000, timeoutMs);
    return buildTree(execId, answer);
  }

  async #run(
    filter: FileFilter,
    sql: string,
    parameters: Record<string, string>,
    limit: number,
    timeout: number,
  ): Promise<QueryAnswer> {
    const { catalogue, cache, runner, filesMax = 4000 } = this.#options;
    const files = await catalogue.selectFiles(filter, filesMax + 1);
    if (files.length > filesMax) {
      throw new ArchiveError(
        'query-refused',
        `the query would read more than ${filesMax} files: narrow its time`,
      );
    }
    const local = await cache.use(files);
    try {
      return await runner.run({
        sql,
        parameters,
        files: local.paths,
        dedupe: files.some((file) => file.overlaps),
        limit,
        timeoutMs: timeout,
      });
    } finally {
      local.release();
    }
  }
}

/** RFC 3339 to nanoseconds; more than three digits of a second are kept. */
function nsOf(name: string, text: string): bigint {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) {
    throw new ArchiveError(
      'query-refused',
      `${name}: "${text.slice(0, 50)}" is no time as 2026-01-31T12:00:00Z is`,
    );
  }
  const digits = /\.(\d+)/.exec(text)?.[1] ?? '';
  const below = BigInt(digits.slice(3, 9).padEnd(6, '0') || '0');
  return BigInt(ms) * 1_000_000n + below;
}
