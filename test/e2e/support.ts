// SPDX-License-Identifier: Apache-2.0
// Owns what the end-to-end tests share: control plane, agent and command line as processes, as a user has them, each
// with data of its own below one temporary folder; waiting for a condition with a limit; random numbers from a seed.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AgentClient, type AgentStatus } from '@weir/agent/client';
import { ControlPlaneClient } from '@weir/control-plane/client';
import { whyNothingLoads } from '@weir/native';

/** The repository: benches run what is built of this file, from another folder. */
function findRoot(from: string): string {
  return existsSync(join(from, 'ARCHITECTURE.md')) ? from : findRoot(dirname(from));
}
const root = findRoot(fileURLToPath(new URL('.', import.meta.url)));
const programs = {
  controlPlane: join(root, 'control-plane/dist/server.js'),
  agent: join(root, 'agent/dist/main.js'),
  weir: join(root, 'cli/dist/main.js'),
};

/** Why no agent can run here; undefined where one can. */
export function whyNoAgent(): string | undefined {
  for (const path of Object.values(programs)) if (!existsSync(path)) return `${path} is not built`;
  if (!existsSync(join(root, 'bpf/build/process.bpf.o'))) return 'bpf/build is not built';
  if (process.getuid?.() !== 0) return 'the agent needs root';
  return whyNothingLoads();
}

/** A generator of whole numbers from 0 to below − 1; the same seed gives the same ones. */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** The seed of this run, from WEIR_SEED or the clock. */
export function seedOfRun(): number {
  const seed = Number(process.env.WEIR_SEED ?? Date.now() % 2 ** 31);
  console.log(`WEIR_SEED=${seed}`);
  return seed;
}

/** Waits until a condition gives something other than undefined or false. @throws naming what did not come */
export async function waitFor<T>(
  what: string,
  condition: () => Promise<T> | T,
  options: { limitMs?: number; everyMs?: number; detail?: () => string } = {},
): Promise<Exclude<T, undefined | false>> {
  const endMs = performance.now() + (options.limitMs ?? 60_000);
  for (;;) {
    const found = await condition();
    if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>;
    if (performance.now() > endMs)
      throw new Error(`${what} did not come${options.detail ? `: ${options.detail()}` : ''}`);
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 50));
  }
}

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process of ours with its output in a file. */
export class Daemon {
  readonly child: ChildProcess;
  readonly logFile: string;
  readonly #exited: Promise<unknown>;

  constructor(
    script: string,
    args: readonly string[],
    logFile: string,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    this.logFile = logFile;
    const log = openSync(logFile, 'a', 0o600);
    this.child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', log, log], env });
    closeSync(log);
    this.#exited = once(this.child, 'exit');
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (this.running) this.child.kill(signal);
    await this.#exited;
  }
}

/** Everything of one test below one folder. */
export class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'weir-e2e-'));
  /** Counters outlive an agent here. */
  readonly pinFolder = `/sys/fs/bpf/weir-e2e-${process.pid}-${Math.floor(performance.now())}`;
  readonly socket = join(this.folder, 'agent.sock');
  readonly agentData = join(this.folder, 'agent');
  readonly #daemons: Daemon[] = [];
  #port = 0;
  #url = '';

  /** The command line, as node runs it. */
  readonly program = programs.weir;

  get url(): string {
    return this.#url;
  }

  get #controlPlaneData(): string {
    return join(this.folder, 'control-plane');
  }

  get credentials(): { readonly adminToken: string; readonly bootstrapToken: string } {
    return JSON.parse(readFileSync(join(this.#controlPlaneData, 'credentials.json'), 'utf8')) as never;
  }

  get client(): ControlPlaneClient {
    return new ControlPlaneClient({ url: this.#url, token: this.credentials.adminToken });
  }

  /** Starts the control plane; a second time on the same port, with the same data. */
  async startControlPlane(): Promise<Daemon> {
    const log = join(this.folder, `control-plane-${this.#daemons.length}.log`);
    const args = [
      '--host',
      '127.0.0.1',
      '--port',
      String(this.#port),
      '--data',
      this.#controlPlaneData,
      '--cluster',
      'e2e',
    ];
    const daemon = new Daemon(programs.controlPlane, args, log);
    this.#daemons.push(daemon);
    this.#url = await waitFor(
      'the control plane',
      () => {
        if (!daemon.running) throw new Error(daemon.log());
        return /"message":"ready","url":"([^"]+)"/.exec(daemon.log())?.[1];
      },
      { detail: () => daemon.log() },
    );
    this.#port = Number(new URL(this.#url).port);
    return daemon;
  }

  /** Starts the agent and waits until it is ready. */
  async startAgent(
    options: { args?: readonly string[]; ready?: boolean; pin?: boolean } = {},
  ): Promise<Daemon> {
    const tokenFile = join(this.folder, 'bootstrap-token');
    writeFileSync(tokenFile, this.credentials.bootstrapToken, { mode: 0o600 });
    const log = join(this.folder, `agent-${this.#daemons.length}.log`);
    const daemon = new Daemon(
      programs.agent,
      [
        ...['--control-plane', this.#url, '--token-file', tokenFile, '--node', 'e2e-node'],
        ...['--data', this.agentData, '--socket', this.socket, '--report-seconds', '1'],
        ...['--pin', options.pin === true ? this.pinFolder : 'none', '--monitor'],
        ...(options.args ?? []),
      ],
      log,
    );
    this.#daemons.push(daemon);
    if (options.ready !== false) {
      await waitFor(
        'the agent',
        () => {
          if (!daemon.running) throw new Error(daemon.log());
          return daemon.log().includes('weir-agent: ready on');
        },
        { detail: () => daemon.log() },
      );
    }
    return daemon;
  }

  get agent(): AgentClient {
    return new AgentClient(this.socket);
  }

  status(): Promise<AgentStatus> {
    return this.agent.status();
  }

  /** Environment in which `weir` speaks with this control plane and this agent. */
  get environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      WEIR_URL: this.#url,
      WEIR_TOKEN: this.credentials.adminToken,
      WEIR_SOCKET: this.socket,
      WEIR_HOME: join(this.folder, 'home'),
    };
  }

  /** Runs the command line to its end. */
  weir(...args: readonly string[]): CommandResult {
    const { status, stdout, stderr } = spawnSync(process.execPath, [programs.weir, ...args], {
      env: this.environment,
      encoding: 'utf8',
      cwd: this.folder,
      maxBuffer: 64 * 1024 * 1024,
    });
    return { status, stdout, stderr };
  }

  /** Runs the command line and expects it to succeed. */
  ok(...args: readonly string[]): string {
    const { status, stdout, stderr } = this.weir(...args);
    if (status !== 0) throw new Error(`weir ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
    return stdout;
  }

  /** The rows of an archive query over HTTP, without the client of the command line. */
  async query(sql: string, limit = 10_000): Promise<unknown[][]> {
    for (let tries = 0; ; tries++) {
      const response = await fetch(`${this.#url}/v1/archive/query`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${this.credentials.adminToken}`,
          'content-type': 'application/json',
          // A command that is waited for blocks this process, and it would not see an idle connection being closed.
          connection: 'close',
        },
        body: JSON.stringify({ sql, limit, timeoutMs: 60_000 }),
      });
      const body = await response.text();
      if (response.ok) return (JSON.parse(body) as { rows: unknown[][] }).rows;
      // It is busy: it says so, and may be asked again.
      if ((response.status !== 429 && response.status !== 503) || tries >= 100) {
        throw new Error(`the archive answered ${response.status}: ${body}\nto: ${sql}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Makes a filter's folder; `weir filter push` takes it. */
  filterFolder(name: string, version: string, source: string, binds: object = {}): string {
    const folder = join(this.folder, `${name}-${version}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, 'filter.json'),
      JSON.stringify({
        name,
        version,
        failMode: 'open',
        binds: { kinds: [], policies: [], ...binds },
        labels: [],
      }),
    );
    writeFileSync(join(folder, 'filter.ts'), source);
    return folder;
  }

  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  /** Compiles a C program of test/e2e. */
  compile(name: string): string {
    const program = join(this.folder, name);
    const source = join(root, 'test/e2e', `${name}.c`);
    execFileSync('gcc', ['-O1', '-Wall', '-Werror', '-static', '-o', program, source]);
    return program;
  }

  async close(): Promise<void> {
    for (const daemon of this.#daemons.reverse()) await daemon.end(daemon.running ? 'SIGTERM' : 'SIGKILL');
    rmSync(this.pinFolder, { recursive: true, force: true });
    if (process.env.WEIR_KEEP === undefined) rmSync(this.folder, { recursive: true, force: true });
    else console.log(`kept ${this.folder}`);
  }
}
