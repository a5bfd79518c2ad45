// SPDX-License-Identifier: Apache-2.0
// Owns the processes that queries run in: how they are held, how many there are, and what comes out of them.
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compiled } from './compiled.js';
import { ArchiveError } from './error.js';
import type { QueryLine, QueryRequest } from './query-child.js';

export interface QueryRunnerOptions {
  /** Memory that one query may take, all of the process. Default 1 GiB. */
  readonly memoryBytes?: number;
  /** Queries that run at once. Default 2. */
  readonly runningMax?: number;
  /** Queries that wait for their turn. Default 8. */
  readonly waitingMax?: number;
  /** Bytes of one answer; it is cut there, and says so. Default 32 MiB. */
  readonly answerBytes?: number;
}

export interface Query {
  readonly sql: string;
  readonly parameters?: QueryRequest['parameters'];
  readonly files: readonly string[];
  readonly dedupe: boolean;
  readonly limit: number;
  readonly timeoutMs: number;
}

export interface QueryAnswer {
  readonly columns: { name: string; type: string }[];
  readonly rows: unknown[][];
  readonly truncated: boolean;
}

/** Beyond what the child itself keeps to. */
const slackBytes = 8 * 1024 ** 2;

/** Where util-linux has its tools; Debian's and Ubuntu's base systems hold it. */
const prlimitPath = ['/usr/bin/prlimit', '/bin/prlimit'].find((path) => existsSync(path));
const setprivPath = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
const truePath = ['/usr/bin/true', '/bin/true'].find((path) => existsSync(path)) ?? 'true';

/**
 * What takes rights from a process, strongest first. Root keeps its number but none of its capabilities, so that
 * modes of files hold for it too; a container may not let it give them up.
 */
function fetters(): string[] {
  if (setprivPath === undefined) return [];
  const all = [setprivPath, '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'];
  const candidates = process.getuid?.() === 0 ? [all, all.slice(0, 2)] : [all.slice(0, 2)];
  return (
    candidates.find(
      ([program = '', ...args]) =>
        spawnSync(program, [...args, truePath], { env: {}, timeout: 5000 }).status === 0,
    ) ?? []
  );
}

export class QueryRunner {
  readonly #memoryBytes: number;
  readonly #runningMax: number;
  readonly #waitingMax: number;
  readonly #answerBytes: number;
  #fetters: readonly string[] | undefined;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #children = new Set<ChildProcessWithoutNullStreams>();
  #closed = false;

  constructor(options: QueryRunnerOptions = {}) {
    this.#memoryBytes = options.memoryBytes ?? 1024 ** 3;
    this.#runningMax = options.runningMax ?? 2;
    this.#waitingMax = options.waitingMax ?? 8;
    this.#answerBytes = options.answerBytes ?? 32 * 1024 ** 2;
  }

  /** @throws {ArchiveError} query-refused, query-timeout, query-too-large, busy, closed */
  async run(query: Query): Promise<QueryAnswer> {
    await this.#turn();
    try {
      if (this.#closed) throw new ArchiveError('closed', 'the archive is closed');
      return await this.#runNow(query);
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= this.#runningMax) {
      if (this.#waiting.length >= this.#waitingMax) {
        throw new ArchiveError(
          'busy',
          `${this.#running} queries are running and ${this.#waiting.length} waiting`,
        );
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
  }

  /**
   * The command line. RLIMIT_DATA counts what is written to (V8 reserves far more than it uses, so RLIMIT_AS would be too blunt);
   * RLIMIT_FSIZE 0 lets no regular file grow, whatever SQL finds to write with.
   */
  #command(timeoutMs: number): [string, ...string[]] {
    const node = [process.execPath, '--max-old-space-size=512', '--no-warnings'];
    const script = fileURLToPath(compiled(import.meta.url, 'query-child.js'));
    const command: string[] = [];
    if (prlimitPath !== undefined) {
      const cpuSeconds = Math.ceil(timeoutMs / 1000) * 2 + 2;
      command.push(
        prlimitPath,
        `--data=${this.#memoryBytes}`,
        '--fsize=0',
        '--core=0',
        `--cpu=${cpuSeconds}`,
        '--',
      );
    }
    this.#fetters ??= fetters();
    command.push(...this.#fetters);
    command.push(...node, script);
    return command as [string, ...string[]];
  }

  async #runNow(query: Query): Promise<QueryAnswer> {
    const request: QueryRequest = {
      sql: query.sql,
      parameters: query.parameters ?? {},
      files: query.files,
      dedupe: query.dedupe,
      rowsMax: query.limit,
      bytesMax: this.#answerBytes,
      memoryBytes: this.#memoryBytes,
    };
    const [program, ...args] = this.#command(query.timeoutMs);
    // No environment: it may hold keys of the bucket and the database.
    const child = spawn(program, args, { env: {}, cwd: '/', stdio: 'pipe' });
    this.#children.add(child);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, query.timeoutMs);
    try {
      const ended = new Promise<NodeJS.Signals | null>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (_code, signal) => resolve(signal));
      });
      const complaint = collect(child.stderr, 4096);
      child.stdin.on('error', () => {});
      child.stdin.end(JSON.stringify(request));
      const collector = new AnswerCollector(this.#answerBytes + slackBytes, () => child.kill('SIGKILL'));
      child.stdout.on('data', (part: Buffer) => collector.add(part));
      const signal = await ended;
      if (timedOut || signal === 'SIGXCPU') {
        throw new ArchiveError('query-timeout', `the query took longer than ${query.timeoutMs} ms`);
      }
      return collector.finish(signal, complaint());
    } finally {
      clearTimeout(timer);
      this.#children.delete(child);
    }
  }

  close(): void {
    this.#closed = true;
    for (const child of this.#children) child.kill('SIGKILL');
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function collect(stream: NodeJS.ReadableStream, bytesMax: number): () => string {
  let text = '';
  stream.on('data', (part: Buffer) => {
    if (text.length < bytesMax) text += part.toString('utf8', 0, bytesMax);
  });
  return () => text;
}

/** Reads the lines of a child; what a child says is checked like anything from outside. */
class AnswerCollector {
  readonly #bytesMax: number;
  readonly #stop: () => void;
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  #tooLarge = false;

  constructor(bytesMax: number, stop: () => void) {
    this.#bytesMax = bytesMax;
    this.#stop = stop;
  }

  add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#bytesMax) {
      this.#tooLarge = true;
      this.#parts.length = 0;
      this.#stop();
      return;
    }
    this.#parts.push(part);
  }

  finish(signal: NodeJS.Signals | null, complaint: string): QueryAnswer {
    if (this.#tooLarge)
      throw new ArchiveError('query-too-large', 'a row of the answer is larger than may be');
    const lines = Buffer.concat(this.#parts).toString('utf8').split('\n');
    lines.pop();
    let columns: QueryAnswer['columns'] = [];
    const rows: unknown[][] = [];
    for (const text of lines) {
      const line = JSON.parse(text) as QueryLine;
      if (Array.isArray(line)) rows.push(line as unknown[]);
      else if ('columns' in line) columns = [...line.columns];
      else if ('truncated' in line) return { columns, rows, truncated: line.truncated };
      else if ('error' in line) throw refusal(line.error);
    }
    // It ended without a last word: a limit of the kernel, or an allocation that failed where none may.
    if (
      /out of memory|bad_alloc|cannot allocate/i.test(complaint) ||
      signal === 'SIGABRT' ||
      signal === 'SIGSEGV'
    ) {
      throw new ArchiveError('query-too-large', 'the query needed more memory than one may take');
    }
    throw new Error(`the query's process ended (${signal ?? 'no signal'}): ${complaint.slice(0, 500)}`);
  }
}

function refusal(error: { code: 'refused' | 'failed' | 'memory'; message: string }): Error {
  if (error.code === 'refused') return new ArchiveError('query-refused', error.message);
  if (error.code === 'memory') return new ArchiveError('query-too-large', error.message);
  return new Error(error.message);
}
