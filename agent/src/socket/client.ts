// SPDX-License-Identifier: Apache-2.0
// Owns the public client of the agent's Unix socket, for the command line.
import { type IncomingMessage, request } from 'node:http';
import type { AgentStatus, EventsQuery, HookState, PolicyStatus } from './types.js';

export type * from './types.js';

export class AgentClientError extends Error {
  override readonly name = 'AgentClientError';
  /** `unreachable`: nobody listens; `denied`: no right to the socket; `http`: the agent refused; `ended`: it ended. */
  readonly code: 'unreachable' | 'denied' | 'http' | 'ended';

  constructor(code: AgentClientError['code'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Most bytes of an answer that is read as a whole. */
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

export class AgentClient {
  readonly #path: string;

  constructor(socketPath: string) {
    this.#path = socketPath;
  }

  #send(method: string, path: string, signal?: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request(
        { socketPath: this.#path, method, path, ...(signal === undefined ? {} : { signal }) },
        (response) => {
          if (response.statusCode === 200) return resolve(response);
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            if (text.length < 4096) text += chunk;
          });
          response.on('end', () =>
            reject(new AgentClientError('http', text.trim() || `HTTP ${response.statusCode}`)),
          );
        },
      );
      sent.on('error', (error: NodeJS.ErrnoException) => {
        if (signal?.aborted === true) return reject(error);
        if (error.code === 'EACCES') {
          return reject(
            new AgentClientError(
              'denied',
              `the socket ${this.#path} is not open to you: it is the agent's user's`,
              error,
            ),
          );
        }
        reject(
          new AgentClientError('unreachable', `no agent answers at ${this.#path} (${error.code})`, error),
        );
      });
      sent.end();
    });
  }

  async #bytes(method: string, path: string): Promise<Buffer> {
    const response = await this.#send(method, path);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > ANSWER_BYTES_MAX) throw new AgentClientError('http', 'the answer is too long');
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  async status(): Promise<AgentStatus> {
    return JSON.parse((await this.#bytes('GET', '/v1/status')).toString('utf8')) as AgentStatus;
  }

  async metrics(): Promise<string> {
    return (await this.#bytes('GET', '/v1/metrics')).toString('utf8');
  }

  /** Live processes, as JSON lines. */
  async processes(): Promise<string> {
    return (await this.#bytes('GET', '/v1/processes')).toString('utf8');
  }

  /** What the hooks have counted; with the time of a run where that is to be measured, for so long. */
  async hooks(measureMs = 0): Promise<readonly HookState[]> {
    const search = measureMs === 0 ? '' : `?measureMs=${measureMs}`;
    return JSON.parse((await this.#bytes('GET', `/v1/hooks${search}`)).toString('utf8')) as HookState[];
  }

  /** Sets the mode of a policy until it is set again or the policy is no longer wanted. */
  async setPolicyMode(
    policy: { readonly name: string; readonly namespace: string },
    mode: 'enforce' | 'monitor',
  ): Promise<PolicyStatus> {
    const search = new URLSearchParams({ mode, namespace: policy.namespace });
    const path = `/v1/policies/${encodeURIComponent(policy.name)}/mode?${search}`;
    return JSON.parse((await this.#bytes('POST', path)).toString('utf8')) as PolicyStatus;
  }

  /** Records events into a segment: a fixture for filter tests. Ends after so many events, or so long. */
  async record(options: { events: number; timeoutMs: number }): Promise<Uint8Array> {
    return this.#bytes('POST', `/v1/record?events=${options.events}&timeoutMs=${options.timeoutMs}`);
  }

  /** Live events, a line each, until the signal aborts, the limit is reached or the agent ends. */
  async *events(query: EventsQuery = {}, signal?: AbortSignal): AsyncGenerator<string> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) search.set(name, Array.isArray(value) ? value.join(',') : String(value));
    }
    const response = await this.#send('GET', `/v1/events?${search}`, signal);
    response.setEncoding('utf8');
    let rest = '';
    try {
      for await (const chunk of response as AsyncIterable<string>) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        yield* lines;
      }
    } catch (error) {
      if (signal?.aborted === true) return;
      // Node's own word for a connection that the other side left is "aborted", which says nothing of whom.
      if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
      throw new AgentClientError('ended', 'the agent has ended', error);
    }
  }
}
