// SPDX-License-Identifier: Apache-2.0
// Owns the writing of a segment's events as Parquet files, one for each day, sorted so that what belongs to one
// process lies together: that halves the size (container, pod, exec_id, time).
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BIGINT,
  BOOLEAN,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBType,
  type DuckDBValue,
  INTEGER,
  VARCHAR,
} from '@duckdb/node-api';
import { columns } from '@weir/schema';
import type { Segment } from '@weir/segment';
import { fileDigest } from './digest.js';
import {
  RowCollector,
  type SequenceRange,
  type StagingRow,
  type StagingTable,
  stagingColumns,
} from './rows.js';

/** What the control plane knows of who sent the segment: it goes into the rows in the place of what they say. */
export interface Origin {
  readonly agentId: string;
  readonly cluster: string;
  readonly node: string;
}

export interface ConvertedFile {
  readonly path: string;
  /** `YYYY-MM-DD`, UTC. */
  readonly day: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly rows: number;
  readonly minTimeNs: bigint;
  readonly maxTimeNs: bigint;
}

export type MergedFile = Pick<ConvertedFile, 'rows' | 'bytes' | 'sha256'>;

export interface Conversion {
  readonly files: readonly ConvertedFile[];
  readonly ranges: readonly SequenceRange[];
  /** True where the segment held an event twice; it is written once. */
  readonly repeats: boolean;
}

const types: Readonly<Record<string, DuckDBType>> = { INTEGER, BIGINT, VARCHAR, BOOLEAN };
/** Rows of a data chunk: DuckDB's vector size. */
const chunkRows = 2048;
const rowGroupRows = 100_000;

/** `YYYY-MM-DD` of the days that a partition may have; a wrong clock's events go to the nearest of them. */
const dayMin = '1970-01-01';
const dayMax = '2261-12-31';

/** The SQL of each column, over events e, processes p, the parent's q, bindings b, details d. */
const expressions: Readonly<Record<string, string>> = {
  event_id: "e.boot_id || '-' || e.cpu || '-' || e.sequence",
  time: 'make_timestamptz(e.time_ns // 1000)',
  time_ns: 'e.time_ns',
  cluster: '$cluster',
  node: '$node',
  agent_id: '$agent',
  kind: 'e.kind',
  policy: 'b.policy',
  policy_namespace: 'b.policy_namespace',
  function: 'b.function',
  action: 'e.action',
  monitor: "coalesce(list_contains(string_split(e.flags, chr(0)), 'monitor'), false)",
  message: 'coalesce(e.message, b.message)',
  tags: 'string_split(b.tags, chr(0))',
  exec_id: 'p.exec_id',
  parent_exec_id: 'p.parent_exec_id',
  pid: 'e.pid',
  tid: 'e.tid',
  parent_pid: 'p.parent_pid',
  start_time: 'make_timestamptz(coalesce(p.start_ns, e.start_ns) // 1000)',
  uid: 'p.uid',
  euid: 'p.euid',
  auid: 'p.auid',
  user: 'p."user"',
  binary: 'p."binary"',
  arguments: 'string_split(p.arguments, chr(0))',
  cwd: 'p.cwd',
  process_flags: 'string_split(p.process_flags, chr(0))',
  inode: 'p.inode',
  links: 'p.links',
  cap_effective: 'p.cap_effective',
  pid_namespace: 'p.pid_namespace',
  parent_binary: 'q."binary"',
  parent_arguments: 'string_split(q.arguments, chr(0))',
  container_id: 'p.container_id',
  pod_namespace: 'p.pod_namespace',
  pod: 'p.pod',
  container: 'p.container',
  image: 'p.image',
  workload: 'p.workload',
  exit_status: 'd.exit_status',
  exit_signal: 'd.exit_signal',
  path: 'e.path',
  args: 'e.args',
  return_value: 'e.return_value',
  source_address: 'd.source_address',
  source_port: 'd.source_port',
  destination_address: 'd.destination_address',
  destination_port: 'd.destination_port',
  severity: 'd.severity',
  labels: 'd.labels',
  flags: 'string_split(e.flags, chr(0))',
  lost_stage: 'd.lost_stage',
  lost_count: 'd.lost_count',
};

/** Iceberg knows columns by these; the element of a list has 1,000 + the id of its column. */
export function fieldIds(): string {
  const ids = columns.map(({ id, name, type }) =>
    type.endsWith('[]') ? `"${name}": {__duckdb_field_id: ${id}, element: ${1000 + id}}` : `"${name}": ${id}`,
  );
  return `{${ids.join(', ')}}`;
}

function format(): string {
  return `FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowGroupRows}, FIELD_IDS ${fieldIds()}`;
}

/** Text as a literal of SQL. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/**
 * Converts checked segments. Holds one embedded DuckDB, in memory; one conversion at a time.
 * @example
 * const converter = await Converter.open();
 * const { files } = await converter.convert(readSegment(bytes), origin, folder);
 */
export class Converter {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance;
    this.#connection = connection;
  }

  static async open(): Promise<Converter> {
    // Bounds of a segment (128 MiB raw) times what staging takes; nothing is fetched or loaded.
    const instance = await DuckDBInstance.create(':memory:', {
      threads: '2',
      memory_limit: '1GB',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    });
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    return new Converter(instance, connection);
  }

  /** Writes the files into `folder`, which is made. The same segment gives the same rows in the same order. */
  async convert(segment: Segment, origin: Origin, folder: string): Promise<Conversion> {
    await mkdir(folder, { recursive: true });
    const collector = new RowCollector();
    for (const batch of segment.batches) collector.add(batch);
    await this.#stage(collector);
    const files: ConvertedFile[] = [];
    for (const day of await this.#days())
      files.push(await this.#write(day, origin, collector.repeats, folder));
    return { files, ranges: [...collector.ranges.values()], repeats: collector.repeats };
  }

  async #stage(collector: RowCollector): Promise<void> {
    for (const [table, fields] of Object.entries(stagingColumns)) {
      const list = Object.entries(fields).map(([name, type]) => `"${name}" ${type}`);
      await this.#connection.run(`CREATE OR REPLACE TABLE ${table} (${list.join(', ')})`);
      await this.#append(table as StagingTable, collector.rows[table as StagingTable]);
    }
  }

  async #append(table: StagingTable, rows: readonly StagingRow[]): Promise<void> {
    const kinds = Object.values(stagingColumns[table]);
    const chunkTypes = kinds.map((kind) => types[kind] ?? VARCHAR);
    const appender = await this.#connection.createAppender(table);
    try {
      for (let from = 0; from < rows.length; from += chunkRows) {
        const part = rows.slice(from, from + chunkRows);
        const chunk = DuckDBDataChunk.create(chunkTypes, part.length);
        kinds.forEach((kind, column) => {
          const values: DuckDBValue[] = new Array(part.length);
          for (let i = 0; i < part.length; i++) {
            const value = part[i]?.[column] ?? null;
            values[i] = kind === 'BIGINT' && typeof value === 'number' ? BigInt(value) : value;
          }
          chunk.setColumnValues(column, values);
        });
        appender.appendDataChunk(chunk);
      }
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }

  async #days(): Promise<string[]> {
    const result = await this.#connection.runAndReadAll(
      `SELECT DISTINCT ${day} AS day FROM events e ORDER BY day`,
    );
    return result.getRows().map((row) => String(row[0]));
  }

  async #write(of: string, origin: Origin, repeats: boolean, folder: string): Promise<ConvertedFile> {
    const path = join(folder, `${of}.parquet`);
    const select = columns.map(({ name, type }) => {
      const expression = (expressions[name] ?? 'NULL')
        .replace('$cluster', () => quote(origin.cluster))
        .replace('$node', () => quote(origin.node))
        .replace('$agent', () => quote(origin.agentId));
      return `CAST(${expression} AS ${type}) AS "${name}"`;
    });
    const query = `SELECT ${select.join(', ')} FROM events e
      LEFT JOIN processes p ON p.number = e.process
      LEFT JOIN processes q ON q.number = e.parent
      LEFT JOIN bindings b ON b.number = e.binding
      LEFT JOIN details d ON d.number = e.detail
      WHERE ${day} = ${quote(of)}
      ${repeats ? 'QUALIFY row_number() OVER (PARTITION BY e.boot_id, e.cpu, e.sequence ORDER BY e.time_ns) = 1' : ''}
      ORDER BY p.container_id, p.pod, p.exec_id, e.time_ns, e.cpu, e.sequence`;
    const copied = await this.#connection.runAndReadAll(`COPY (${query}) TO ${quote(path)} (${format()})`);
    const range = await this.#connection.runAndReadAll(
      `SELECT min(time_ns), max(time_ns) FROM events e WHERE ${day} = ${quote(of)}`,
    );
    const [min, max] = range.getRows()[0] ?? [];
    return {
      path,
      day: of,
      bytes: (await stat(path)).size,
      sha256: await fileDigest(path),
      rows: Number(copied.getRows()[0]?.[0] ?? 0),
      minTimeNs: BigInt(String(min)),
      maxTimeNs: BigInt(String(max)),
    };
  }

  /**
   * Merges files of one partition into one, sorted as they are.
   * @param dedupe Some of them hold events of others.
   */
  async merge(paths: readonly string[], dedupe: boolean, path: string): Promise<MergedFile> {
    const once = dedupe
      ? 'QUALIFY row_number() OVER (PARTITION BY agent_id, event_id ORDER BY time_ns) = 1'
      : '';
    const names = columns.map(({ name }) => `"${name}"`).join(', ');
    const copied = await this.#connection.runAndReadAll(
      `COPY (SELECT ${names} FROM read_parquet([${paths.map(quote).join(', ')}], union_by_name = true,
        hive_partitioning = false) ${once}
        ORDER BY container_id, pod, exec_id, time_ns, event_id) TO ${quote(path)} (${format()})`,
    );
    return {
      rows: Number(copied.getRows()[0]?.[0] ?? 0),
      bytes: (await stat(path)).size,
      sha256: await fileDigest(path),
    };
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}

/** The day of an event as SQL, held within what a folder's name should be. */
const day = `strftime(greatest(least(make_timestamp(e.time_ns // 1000), TIMESTAMP '${dayMax}'), TIMESTAMP '${dayMin}'), '%Y-%m-%d')`;
