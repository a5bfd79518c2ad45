// SPDX-License-Identifier: Apache-2.0
// Owns the folder in which `weir up` keeps what it set up, and how any command finds the control plane from it.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ControlPlaneClient } from '@weir/control-plane/client';
import { CliError } from './errors.js';

/** A process, told apart from a later one with the same id by when it started. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/pid/stat: clock ticks since boot. */
  readonly startTicks: string;
}

export interface State {
  readonly url: string;
  readonly controlPlane: ProcessIdentity | undefined;
  /** The agent itself, not the sudo that raised it. */
  readonly agent: ProcessIdentity | undefined;
  readonly socket: string | undefined;
  /** Where the agent's counters outlive it; an ordinary user cannot look whether they are there. */
  readonly pinFolder?: string | undefined;
  readonly startedMs: number;
}

export interface Places {
  readonly folder: string;
  readonly stateFile: string;
  /** Says that the folder is ours: weir down removes no other. */
  readonly marker: string;
  readonly controlPlaneData: string;
  readonly credentialsFile: string;
  readonly controlPlaneLog: string;
  /** The author's key that `weir up` signs with; its public half is FILE.pub. */
  readonly filterKeyFile: string;
  readonly agentData: string;
  readonly agentLog: string;
  readonly socket: string;
}

export function places(environment: NodeJS.ProcessEnv = process.env): Places {
  const folder = resolve(environment.WEIR_HOME ?? '.weir');
  const controlPlaneData = join(folder, 'control-plane');
  return {
    folder,
    stateFile: join(folder, 'state.json'),
    marker: join(folder, 'MADE_BY_WEIR_UP'),
    controlPlaneData,
    credentialsFile: join(controlPlaneData, 'credentials.json'),
    controlPlaneLog: join(folder, 'control-plane.log'),
    filterKeyFile: join(folder, 'filter-author.key'),
    agentData: join(folder, 'agent'),
    agentLog: join(folder, 'agent.log'),
    socket: environment.WEIR_SOCKET ?? join(folder, 'agent.sock'),
  };
}

export function readState(at: Places): State | undefined {
  const text = readIfThere(at.stateFile);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as State;
  } catch (cause) {
    throw new CliError(`${at.stateFile} cannot be read.`, ['Remove it and run weir up again.'], 1, { cause });
  }
}

export function writeState(at: Places, state: State): void {
  mkdirSync(at.folder, { recursive: true, mode: 0o700 });
  writeFileSync(`${at.stateFile}.tmp`, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${at.stateFile}.tmp`, at.stateFile);
}

/** Makes the state folder, or takes the one that is there where it is ours. */
export function makeFolder(at: Places): void {
  if (existsSync(at.folder) && !existsSync(at.marker) && readdirSync(at.folder).length > 0) {
    throw new CliError(`${at.folder} is there already, and weir up did not make it.`, [
      'Name another folder: WEIR_HOME=/path weir up',
    ]);
  }
  mkdirSync(at.folder, { recursive: true, mode: 0o700 });
  writeFileSync(at.marker, 'weir down removes this folder\n');
}

export function removeState(at: Places): void {
  rmSync(at.stateFile, { force: true });
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new CliError(
      `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
      [],
      1,
      {
        cause,
      },
    );
  }
}

export interface Credentials {
  readonly adminToken: string;
  readonly bootstrapToken: string;
}

export function readCredentials(at: Places): Credentials | undefined {
  const text = readIfThere(at.credentialsFile);
  return text === undefined ? undefined : (JSON.parse(text) as Credentials);
}

/** Gives the client of the control plane that WEIR_URL and WEIR_TOKEN name, or of the one that `weir up` started. */
export function connect(environment: NodeJS.ProcessEnv = process.env): ControlPlaneClient {
  const at = places(environment);
  const url = environment.WEIR_URL ?? readState(at)?.url;
  if (url === undefined) {
    throw new CliError('No control plane is known.', [
      'Start one here with weir up, or name one: WEIR_URL=https://… WEIR_TOKEN=…',
    ]);
  }
  const token = environment.WEIR_TOKEN ?? readCredentials(at)?.adminToken;
  if (token === undefined) {
    throw new CliError(`There is no token for ${url}.`, [
      `Set WEIR_TOKEN, or make ${at.credentialsFile} readable.`,
    ]);
  }
  return new ControlPlaneClient({ url, token });
}

/** Tells who a process is, or nothing where there is none. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name, in parentheses, can hold anything; fields are counted from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTicks = fields[19];
  return startTicks === undefined || fields[0] === 'Z' ? undefined : { pid, startTicks };
}

export function isRunning(identity: ProcessIdentity | undefined): boolean {
  return identity !== undefined && identify(identity.pid)?.startTicks === identity.startTicks;
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // it ended
  }
}
