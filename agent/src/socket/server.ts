// SPDX-License-Identifier: Apache-2.0
// Owns the agent's Unix socket: HTTP for the command line. Mode 0600: only root and its owner can connect, who is the
// agent's user or the one that it was given to.
//
//   GET  /v1/status      how things are                      GET /v1/metrics    Prometheus text
//   GET  /v1/events      live events, a line each            GET /v1/processes  the process table, a JSON line each
//   POST /v1/record      a segment with the next events
//   GET  /v1/hooks       what the hooks have counted; ?measureMs=N measures a run's time for so long
//   POST /v1/policies/NAME/mode?mode=monitor|enforce&namespace=NAME      sets a policy's mode; answers with its status
import { chmodSync, lchownSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { BatchReader } from '@weir/segment';
import type { JsonOptions } from '../export/json.js';
import type { BatchObserver } from '../pipeline/pipeline.js';
import { recordSegment } from './recorder.js';
import { Subscriber } from './subscriber.js';
import type { AgentStatus, EventsQuery, HookState, PolicyStatus } from './types.js';

const SUBSCRIBERS_MAX = 32;
const RECORD_EVENTS_MAX = 100_000;
const RECORD_MS_MAX = 600_000;
const MEASURE_MS_MAX = 60_000;

export interface SocketOptions {
  readonly path: string;
  /** User that the socket is given to; undefined: it stays the agent's. */
  readonly owner?: number | undefined;
  readonly json: JsonOptions;
  readonly status: () => AgentStatus;
  readonly metrics: () => string;
  readonly processes: () => Iterable<string>;
  readonly observe: (observer: BatchObserver) => () => void;
  readonly hooks: (measureMs: number) => Promise<readonly HookState[]>;
  /** @throws {RangeError} with the reason where it is not set */
  readonly setMode: (
    policy: { readonly name: string; readonly namespace: string },
    mode: 'enforce' | 'monitor',
  ) => Promise<PolicyStatus>;
}

/** Says whether somebody listens at a path. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function whole(text: string | null, otherwise: number, most: number, name: string): number {
  if (text === null) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new RangeError(`${name} must be a whole number from 1 to ${most}, not "${text}"`);
  }
  return value;
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RangeError('the name of the policy is no text that an address can have');
  }
}

export class AgentSocket {
  readonly #options: SocketOptions;
  readonly #server: Server;
  readonly #subscribers = new Set<Subscriber>();
  #droppedByGone = 0;

  private constructor(options: SocketOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        const known = error instanceof RangeError;
        if (!response.headersSent) response.writeHead(known ? 400 : 500, { 'content-type': 'text/plain' });
        response.end(`${known ? (error as Error).message : 'the agent failed to answer'}\n`);
      });
    });
  }

  /** Listens. @throws where another agent does, or the folder cannot be made */
  static async open(options: SocketOptions): Promise<AgentSocket> {
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o755 });
    if (await isServed(options.path)) throw new Error(`another agent listens at ${options.path}`);
    rmSync(options.path, { force: true });
    const socket = new AgentSocket(options);
    // Nobody can connect between the socket's making and its mode.
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.#server.once('error', reject);
        socket.#server.listen(options.path, () => resolve());
      });
    } finally {
      process.umask(mask);
    }
    chmodSync(options.path, 0o600);
    // Not through a link: the folder may be the owner's, who could put one there.
    if (options.owner !== undefined) lchownSync(options.path, options.owner, process.getgid?.() ?? 0);
    return socket;
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** Events that readers were too slow for. */
  get droppedEvents(): number {
    let sum = this.#droppedByGone;
    for (const subscriber of this.#subscribers) sum += subscriber.dropped;
    return sum;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://agent');
    const policy = /^\/v1\/policies\/([^/]{1,1000})\/mode$/.exec(url.pathname)?.[1];
    if (request.method === 'POST' && policy !== undefined) {
      const mode = url.searchParams.get('mode');
      if (mode !== 'enforce' && mode !== 'monitor') throw new RangeError('mode must be enforce or monitor');
      const namespace = url.searchParams.get('namespace') ?? '';
      const status = await this.#options.setMode({ name: decodeName(policy), namespace }, mode);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(status)}\n`);
      return;
    }
    switch (`${request.method} ${url.pathname}`) {
      case 'GET /v1/status':
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(`${JSON.stringify(this.#options.status())}\n`);
        return;
      case 'GET /v1/metrics':
        response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
        response.end(this.#options.metrics());
        return;
      case 'GET /v1/processes':
        response.writeHead(200, { 'content-type': 'application/x-ndjson' });
        response.end([...this.#options.processes()].map((line) => `${line}\n`).join(''));
        return;
      case 'GET /v1/hooks': {
        const measure = url.searchParams.get('measureMs');
        const measureMs = measure === null ? 0 : whole(measure, 0, MEASURE_MS_MAX, 'measureMs');
        const hooks = await this.#options.hooks(measureMs);
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(`${JSON.stringify(hooks)}\n`);
        return;
      }
      case 'GET /v1/events':
        this.#events(url, response);
        return;
      case 'POST /v1/record': {
        const events = whole(url.searchParams.get('events'), 100, RECORD_EVENTS_MAX, 'events');
        const timeoutMs = whole(url.searchParams.get('timeoutMs'), 60_000, RECORD_MS_MAX, 'timeoutMs');
        const ended = new AbortController();
        response.on('close', () => ended.abort());
        const bytes = await recordSegment(this.#options.observe, { events, timeoutMs, signal: ended.signal });
        response.writeHead(200, { 'content-type': 'application/octet-stream' });
        response.end(bytes);
        return;
      }
      default:
        response.writeHead(404, { 'content-type': 'text/plain' });
        response.end(`there is no ${request.method} ${url.pathname}\n`);
    }
  }

  #events(url: URL, response: ServerResponse): void {
    if (this.#subscribers.size >= SUBSCRIBERS_MAX) {
      throw new RangeError(`${SUBSCRIBERS_MAX} readers are connected already`);
    }
    const { searchParams: search } = url;
    const format = search.get('format') ?? 'json';
    if (format !== 'json' && format !== 'compact') throw new RangeError('format must be json or compact');
    const limit = search.get('limit');
    const policy = search.get('policy');
    const query: EventsQuery = {
      format,
      ...(limit === null ? {} : { limit: whole(limit, 1, 1e9, 'limit') }),
      kinds: search.get('kinds')?.split(',').filter(Boolean) ?? [],
      ...(policy === null ? {} : { policy }),
      colour: search.get('colour') === 'true',
    };
    const subscriber = new Subscriber(response, query, this.#options.json);
    response.writeHead(200, { 'content-type': format === 'json' ? 'application/x-ndjson' : 'text/plain' });
    response.flushHeaders();
    this.#subscribers.add(subscriber);
    const stop = this.#options.observe((batch) => subscriber.show(new BatchReader(batch)));
    response.on('close', () => {
      stop();
      this.#droppedByGone += subscriber.dropped;
      this.#subscribers.delete(subscriber);
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.#options.path, { force: true });
  }
}
