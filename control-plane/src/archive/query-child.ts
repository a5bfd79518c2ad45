// SPDX-License-Identifier: Apache-2.0
// Owns the inside of the process that runs one query and ends: the SQL may be anyone's. What holds it, from within:
// one statement, a SELECT, as DuckDB's own parser sees it; no access to files but those given; no extension; a
// locked configuration. From without (query-runner.ts): no right to write a file, limits of memory and time that
// the kernel keeps, no environment. Each covers for the other: DuckDB's memory limit does not count strings, and
// its list of allowed paths allows COPY TO as well.
//
// Standard input: one line, a QueryRequest. Standard output: lines of JSON, see QueryLine.
import { writeSync } from 'node:fs';
import {
  DuckDBArrayValue,
  type DuckDBConnection,
  DuckDBInstance,
  DuckDBListValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBValue,
} from '@duckdb/node-api';
import { columns } from '@weir/schema';

export interface QueryRequest {
  readonly sql: string;
  /** Named parameters ($name). */
  readonly parameters: Readonly<Record<string, string | number | boolean | null>>;
  readonly files: readonly string[];
  /** Some of the files hold events of others: each event is to be seen once. */
  readonly dedupe: boolean;
  readonly rowsMax: number;
  readonly bytesMax: number;
  readonly memoryBytes: number;
}

export type QueryLine =
  | { readonly columns: readonly { readonly name: string; readonly type: string }[] }
  | readonly unknown[]
  | { readonly truncated: boolean }
  | { readonly error: { readonly code: 'refused' | 'failed' | 'memory'; readonly message: string } };

/** DuckDB's number for a SELECT. */
const statementSelect = 1;

class Refusal extends Error {}

function say(line: QueryLine): number {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
  return bytes.length;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

async function prepareSession(connection: DuckDBConnection, request: QueryRequest): Promise<void> {
  await connection.run("SET TimeZone = 'UTC'");
  // It counts rows at their fixed width, without the strings: the default lets 60,000 long ones pile up.
  await connection.run("SET streaming_buffer_size = '64KB'");
  const list = `[${request.files.map(literal).join(', ')}]`;
  if (request.files.length === 0) {
    const empty = columns.map(({ name, type }) => `NULL::${type} AS "${name}"`);
    await connection.run(`CREATE VIEW events AS SELECT ${empty.join(', ')} WHERE false`);
  } else {
    // By name: files written before a column was added have it as NULL.
    const files = `read_parquet(${list}, union_by_name = true, hive_partitioning = false)`;
    // By agent: one that claims another's ids hides nothing of it.
    const once = request.dedupe
      ? ' QUALIFY row_number() OVER (PARTITION BY agent_id, event_id ORDER BY time_ns) = 1'
      : '';
    await connection.run(`CREATE VIEW events AS SELECT * FROM ${files}${once}`);
  }
  await connection.run(`SET allowed_paths = ${list}`);
  await connection.run('SET enable_external_access = false');
  await connection.run('SET lock_configuration = true');
}

async function run(request: QueryRequest): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '2',
    memory_limit: `${Math.floor(request.memoryBytes / 2 / 1024 ** 2)}MB`,
    max_temp_directory_size: '0KB',
    temp_directory: '',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_community_extensions: 'false',
    allow_persistent_secrets: 'false',
  });
  const connection = await instance.connect();
  await prepareSession(connection, request);
  const statements = await connection.extractStatements(request.sql);
  if (statements.count !== 1) {
    throw new Refusal(`one SELECT is expected, not ${statements.count} statements`);
  }
  const statement = await statements.prepare(0);
  if (statement.statementType !== statementSelect) throw new Refusal('one SELECT is expected, nothing else');
  if (Object.keys(request.parameters).length > 0) statement.bind({ ...request.parameters });
  const result = await statement.stream();
  const names = result.deduplicatedColumnNames();
  const types = result.columnTypes();
  let bytes = say({ columns: names.map((name, i) => ({ name, type: String(types[i]) })) });
  let rows = 0;
  for (
    let chunk = await result.fetchChunk();
    chunk !== null && chunk.rowCount > 0;
    chunk = await result.fetchChunk()
  ) {
    for (const row of chunk.getRows()) {
      if (rows >= request.rowsMax || bytes >= request.bytesMax) {
        say({ truncated: true });
        return;
      }
      bytes += say(row.map(plain));
      rows++;
    }
  }
  say({ truncated: false });
}

/** A value as JSON can hold it: numbers beyond 2^53 are their digits, times are RFC 3339 with microseconds. */
function plain(value: DuckDBValue): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'bigint') {
    return value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : value.toString();
  }
  if (value instanceof DuckDBTimestampTZValue || value instanceof DuckDBTimestampValue)
    return time(value.micros);
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) return value.items.map(plain);
  if (value instanceof DuckDBStructValue) {
    return Object.fromEntries(Object.entries(value.entries).map(([name, each]) => [name, plain(each)]));
  }
  return value.toString();
}

function time(micros: bigint): string {
  const ms = micros / 1000n - (micros % 1000n < 0n ? 1n : 0n);
  if (ms < -8_640_000_000_000_000n || ms > 8_640_000_000_000_000n) return micros.toString();
  const rest = (micros - ms * 1000n).toString().padStart(3, '0');
  return `${new Date(Number(ms)).toISOString().slice(0, -1)}${rest}Z`;
}

/** What DuckDB, its binding and V8 say when there is no memory left; which of them meets the limit first is chance. */
const noMemory =
  /out of memory|allocate memory|bad_alloc|allocation failed|invalid (string|array) length|create a string longer/i;

function describe(error: unknown): QueryLine {
  const message = (error instanceof Error ? error.message : String(error)).slice(0, 1000);
  if (error instanceof Refusal) return { error: { code: 'refused', message } };
  if (noMemory.test(message)) return { error: { code: 'memory', message } };
  // What the parser, the binder and the running of somebody's SQL find wrong is theirs to mend.
  const internal = /^(INTERNAL|IO) Error/.test(message);
  return { error: { code: internal ? 'failed' : 'refused', message } };
}

let input = '';
process.stdin.setEncoding('utf8');
for await (const part of process.stdin) input += part as string;
try {
  await run(JSON.parse(input) as QueryRequest);
} catch (error) {
  say(describe(error));
}
// The process ends with all that it holds; nothing in it is worth closing in order.
process.exit(0);
