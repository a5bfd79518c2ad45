// SPDX-License-Identifier: Apache-2.0
// Owns the file that tells an agent of containers where nobody else does: a JSON list, read again when it changes, as
// are the cgroups that it names.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from './config.js';
import type { Workload } from './policy/index.js';

const bytesMax = 16 * 1024 * 1024;
const workloadsMax = 10_000;
const pollMs = 1000;
const fields = ['cgroup', 'namespace', 'labels', 'container', 'repo'];

export interface WorkloadFileOptions {
  readonly path: string;
  readonly set: (workloads: readonly Workload[]) => Promise<void>;
  /** Told once of each thing that is wrong with the file while the agent runs: what was told before then holds on. */
  readonly complain: (message: string) => void;
  /** Where the v2 hierarchy of cgroups is mounted. */
  readonly cgroups?: string;
}

function asObject(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ConfigError(`${where} must be an object`);
  return value as Record<string, unknown>;
}

function asText(value: unknown, where: string): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') throw new ConfigError(`${where} must be text`);
  return value;
}

/**
 * Reads a list of workloads. One whose cgroup is not there (yet) is left out.
 * @throws {ConfigError} that names the field
 */
export function readWorkloads(text: string, cgroups: string): Workload[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`the list of workloads is no JSON: ${error instanceof Error ? error.message : ''}`);
  }
  if (!Array.isArray(list)) throw new ConfigError('the list of workloads must be a JSON array');
  if (list.length > workloadsMax) throw new ConfigError(`the list has more than ${workloadsMax} workloads`);
  const seen = new Set<bigint>();
  return list.flatMap((item: unknown, index): Workload[] => {
    const entry = asObject(item, `[${index}]`);
    for (const name of Object.keys(entry)) {
      if (!fields.includes(name))
        throw new ConfigError(`[${index}].${name} is no field: ${fields.join(', ')}`);
    }
    const cgroup = asText(entry.cgroup, `[${index}].cgroup`);
    if (!cgroup.startsWith('/') || cgroup.split('/').includes('..'))
      throw new ConfigError(`[${index}].cgroup must be a path in the hierarchy of cgroups, from "/"`);
    const labels = Object.entries(asObject(entry.labels ?? {}, `[${index}].labels`)).map(
      ([name, value]) => [name, asText(value, `[${index}].labels.${name}`)] as const,
    );
    const workload = {
      namespace: asText(entry.namespace, `[${index}].namespace`),
      labels: Object.fromEntries(labels),
      container: asText(entry.container, `[${index}].container`),
      repo: asText(entry.repo, `[${index}].repo`),
    };
    // The kernel's id of a cgroup is the inode number of its folder.
    const cgroupId = statSync(join(cgroups, cgroup), { bigint: true, throwIfNoEntry: false })?.ino;
    if (cgroupId === undefined || seen.has(cgroupId)) return [];
    seen.add(cgroupId);
    return [{ ...workload, cgroupId }];
  });
}

/** Keeps an agent's workloads as the file says. `close` stops looking. */
export class WorkloadFile {
  readonly #options: WorkloadFileOptions;
  readonly #timer: NodeJS.Timeout;
  #told = '';
  #running: Promise<void> = Promise.resolve();

  private constructor(options: WorkloadFileOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(() => this.#again());
    }, pollMs);
    this.#timer.unref();
  }

  /** @throws {ConfigError} where the file cannot be used */
  static async open(options: WorkloadFileOptions): Promise<WorkloadFile> {
    await WorkloadFile.#take(options);
    return new WorkloadFile(options);
  }

  static async #take({ path, set, cgroups = '/sys/fs/cgroup' }: WorkloadFileOptions): Promise<void> {
    if (statSync(path).size > bytesMax) throw new ConfigError(`${path} is larger than ${bytesMax} bytes`);
    await set(readWorkloads(readFileSync(path, 'utf8'), cgroups));
  }

  async #again(): Promise<void> {
    try {
      await WorkloadFile.#take(this.#options);
      this.#told = '';
    } catch (error) {
      const message = `${this.#options.path}: ${error instanceof Error ? error.message : String(error)}`;
      if (message !== this.#told) this.#options.complain(message);
      this.#told = message;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }
}
