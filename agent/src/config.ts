// SPDX-License-Identifier: Apache-2.0
// Owns the command line of weir-agent: what can be set, what holds by default, and what is refused.
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  type AcceptancePolicy,
  budgetFields,
  type FilterBudget,
  parseFilterLimits,
} from '@weir/filter-accept';
import { type HostRule, readHostRule } from './actions/hosts.js';
import { type Narrowing, readFilters } from './narrowing/filter.js';
import { readThrottles, type ThrottleLimits } from './throttle/limits.js';

export interface AgentConfig {
  /** Address of the control plane; undefined where the agent stands alone. */
  readonly controlPlane: string | undefined;
  /** Bootstrap token, for the first start. */
  readonly token: string | undefined;
  /** Policies and filters of an agent that stands alone. */
  readonly policyFiles: readonly string[];
  readonly filterFiles: readonly string[];
  /** Files and folders of the authors' keys that are trusted; none: filters need no signature of an author. */
  readonly filterKeyPaths: readonly string[];
  /** The most that a filter's manifest may ask for, by field of its budget. */
  readonly filterBudget: FilterBudget;
  /** Bounds of filter modules, where they are not the defaults. */
  readonly filterLimits: Partial<AcceptancePolicy>;
  /** File that tells of containers; undefined where nobody does. */
  readonly workloadsFile: string | undefined;
  readonly dataFolder: string;
  readonly socketPath: string;
  /** User who may use the socket beside root; undefined: the agent's own. */
  readonly socketOwner: number | undefined;
  readonly nodeName: string;
  readonly clusterName: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** What another hand has changed in the kernel is put right, not told of alone. */
  readonly mend: boolean;
  /** Hosts that GetUrl and DnsLookup of policies may reach. None: policies with these actions are refused. */
  readonly actionHosts: readonly HostRule[];
  /** All policies only say what they would have done. */
  readonly monitor: boolean;
  readonly spool: boolean;
  readonly spoolBytesMax: number;
  readonly ringBytes: number;
  /** Folder on a BPF file system for the counters; undefined where nothing is pinned. */
  readonly pinFolder: string | undefined;
  readonly bpfFolder: string;
  readonly ancestors: number;
  readonly processesMax: number;
  /** Events to the standard output. */
  readonly print: 'none' | 'json' | 'compact';
  readonly details: boolean;
  readonly reportSeconds: number;
  /** What of the events of one thread, process, cgroup or policy passes; empty: all. */
  readonly throttles: ThrottleLimits;
  /** Which processes are told of. */
  readonly narrowing: Narrowing;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'config';
}

export const usage = `weir-agent: watches and guards this node

  weir-agent --control-plane URL --token-file FILE     fetch policies and filters, archive events
  weir-agent --policy FILE... --filter FILE...         stand alone

Options
  --control-plane URL    address of the control plane
  --token TOKEN          bootstrap token for the first start (or WEIR_TOKEN; --token-file FILE hides it from ps)
  --token-file FILE      file that holds the bootstrap token
  --policy FILE          policy to load; can be given again
  --filter FILE          filter (.wasm) to run, in the order given; can be given again
  --filter-key PATH      public key of an author, or a folder of them (*.pub): filters that none of them signed
                         are refused; can be given again. Without any, the signature of the release is all
                         (a filter FILE is signed by FILE.sig beside it)
  --filter-budget FIELD=N
                         most that a filter may use, whatever it asks for: averageFuel and averageNs of an event,
                         fuelPerEvent; can be given again (see docs/filters.md)
  --filter-limit NAME=VALUE
                         most that a filter's module may have: memory=8MiB (4MiB), table=1024, functions, module;
                         can be given again (see docs/filter-abi.md)
  --workloads FILE       JSON list of the node's containers, for policies that select by pod, container or host
                         (see docs/policies.md); read again when it changes
  --action-host HOST     host that GetUrl of a policy may call and DnsLookup look up: example.org, *.example.org,
                         an address, each with a :port where a URL has one; can be given again. Without any,
                         policies that have these actions are refused (see docs/policies.md)
  --throttle SCOPE=EVENTS/TIME
                         most events of one kind that a thread, process, cgroup or policy may make: cgroup=1000/1s;
                         the rest is held back in the kernel, and counted; can be given again (see docs/agent.md)
  --process-allowlist JSON, --process-denylist JSON
                         filters of exec, clone and exit events: told are those of processes that an allowlist, if
                         there is one, and no denylist has: {"binary":["/usr/bin/*"],"uid":[0],"pid_ns":["host"]};
                         can be given again (see docs/agent.md)
  --monitor              policies only say what they would have done: nothing is killed or denied
  --mend                 put right what another hand has changed in the kernel: programs, maps, tracing switched off
  --data FOLDER          state and spool (/var/lib/weir)
  --socket PATH          Unix socket for the command line (/run/weir/agent.sock)
  --socket-owner UID     user that the socket is given to (the agent's own user)
  --node NAME            name of this node (its host name)
  --cluster NAME         name of the cluster, for an agent that stands alone
  --label NAME=VALUE     label of the node; can be given again
  --events json|compact  print events
  --details              credentials, capabilities and namespaces in JSON events
  --no-spool             keep nothing: events are only shown
  --spool-bytes N        most bytes of the spool (1073741824)
  --ring-bytes N         bytes of the ring buffer, a power of two (16777216)
  --processes N          most entries of the process table (32768)
  --ancestors N          generations beside each process, 0 to 16 (1)
  --pin FOLDER|none      where counters outlive the agent (/sys/fs/bpf/weir where there is a BPF file system)
  --bpf FOLDER           compiled programs (those that came with the agent)
  --report-seconds N     how often the control plane is told how things are (10)
  --help, --version
`;

const numbers = {
  'spool-bytes': [1024 * 1024, 2 ** 44],
  'ring-bytes': [4096, 2 ** 30],
  processes: [16, 2 ** 20],
  ancestors: [0, 16],
  'report-seconds': [1, 3600],
  'socket-owner': [0, 2 ** 32 - 2],
} as const;

function whole(name: keyof typeof numbers, text: string): number {
  const [least, most] = numbers[name];
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new ConfigError(`--${name} must be a whole number from ${least} to ${most}, not "${text}"`);
  }
  return value;
}

function bpfFolder(): string {
  return fileURLToPath(new URL('../../bpf/build', import.meta.url));
}

/** What was asked for that is no running of an agent. */
export type ConfigAnswer =
  | { readonly help: true }
  | { readonly version: true }
  | { readonly config: AgentConfig };

/** Reads the command line. @throws {ConfigError} that names the option */
export function readConfig(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): ConfigAnswer {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(args);
  } catch (error) {
    throw new ConfigError(`${error instanceof Error ? error.message : String(error)}; see --help`);
  }
  if (values.help === true) return { help: true };
  if (values.version === true) return { version: true };
  const controlPlane = values['control-plane'] ?? environment.WEIR_CONTROL_PLANE;
  const policyFiles = values.policy ?? [];
  const filterFiles = values.filter ?? [];
  if (controlPlane !== undefined && policyFiles.length + filterFiles.length > 0) {
    throw new ConfigError(
      '--control-plane says which policies and filters run: give it, or --policy and --filter',
    );
  }
  const filterKeyPaths = values['filter-key'] ?? [];
  const named = values.workloads === undefined ? [] : [values.workloads];
  for (const file of [...policyFiles, ...filterFiles, ...filterKeyPaths, ...named]) {
    if (!existsSync(file)) throw new ConfigError(`${file} is not there`);
  }
  const labels: Record<string, string> = {};
  for (const label of values.label ?? []) {
    const at = label.indexOf('=');
    if (at < 1) throw new ConfigError(`--label must be NAME=VALUE, not "${label}"`);
    labels[label.slice(0, at)] = label.slice(at + 1);
  }
  const ringBytes = whole('ring-bytes', values['ring-bytes'] ?? '16777216');
  if ((ringBytes & (ringBytes - 1)) !== 0) throw new ConfigError('--ring-bytes must be a power of two');
  const print = values.events ?? 'none';
  if (print !== 'none' && print !== 'json' && print !== 'compact') {
    throw new ConfigError(`--events must be json or compact, not "${print}"`);
  }
  const nodeName = values.node ?? environment.WEIR_NODE ?? hostname();
  if (nodeName === '' || nodeName.length > 253) throw new ConfigError('--node must have 1 to 253 characters');
  return {
    config: {
      controlPlane,
      token: readToken(values, environment),
      policyFiles,
      filterFiles,
      filterKeyPaths,
      filterBudget: readBudget(values['filter-budget'] ?? []),
      filterLimits: readLimits(values['filter-limit'] ?? []),
      workloadsFile: values.workloads,
      dataFolder: values.data ?? environment.WEIR_AGENT_DATA ?? '/var/lib/weir',
      socketPath: values.socket ?? environment.WEIR_SOCKET ?? '/run/weir/agent.sock',
      socketOwner:
        values['socket-owner'] === undefined ? undefined : whole('socket-owner', values['socket-owner']),
      nodeName,
      clusterName: values.cluster ?? '',
      nodeLabels: labels,
      actionHosts: (values['action-host'] ?? []).map(readActionHost),
      mend: values.mend ?? false,
      monitor: values.monitor ?? false,
      spool: values['no-spool'] !== true,
      spoolBytesMax: whole('spool-bytes', values['spool-bytes'] ?? String(1024 ** 3)),
      ringBytes,
      pinFolder: values.pin === 'none' ? undefined : (values.pin ?? '/sys/fs/bpf/weir'),
      bpfFolder: values.bpf ?? bpfFolder(),
      ancestors: whole('ancestors', values.ancestors ?? '1'),
      processesMax: whole('processes', values.processes ?? '32768'),
      print,
      details: values.details ?? false,
      reportSeconds: whole('report-seconds', values['report-seconds'] ?? '10'),
      narrowing: {
        allowed: option('process-allowlist', () => readFilters(values['process-allowlist'] ?? [])),
        denied: option('process-denylist', () => readFilters(values['process-denylist'] ?? [])),
      },
      throttles: option('throttle', () => readThrottles(values.throttle ?? [])),
    },
  };
}

function readActionHost(text: string): HostRule {
  const rule = readHostRule(text);
  if (rule === undefined)
    throw new ConfigError(
      `--action-host must be a host such as example.org, *.example.org or 10.0.0.1:8080, not "${text}"`,
    );
  return rule;
}

/** What is wrong with an option's value is told with the option's name. */
function option<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) throw new ConfigError(`--${name} ${error.message}`);
    throw error;
  }
}

function readBudget(given: readonly string[]): FilterBudget {
  const budget: FilterBudget = {};
  for (const one of given) {
    const [field = '', number = ''] = one.split('=', 2);
    const known = budgetFields.find((name) => name === field);
    if (known === undefined) {
      throw new ConfigError(`--filter-budget must name one of ${budgetFields.join(', ')}, not "${field}"`);
    }
    if (!/^[1-9]\d{0,11}$/.test(number)) {
      throw new ConfigError(`--filter-budget ${field} must be a whole number above 0, not "${number}"`);
    }
    budget[known] = Number(number);
  }
  return budget;
}

function readLimits(given: readonly string[]): Partial<AcceptancePolicy> {
  try {
    return parseFilterLimits(given);
  } catch (cause) {
    throw new ConfigError(`--filter-limit ${(cause as Error).message}`, { cause });
  }
}

function readToken(
  values: { token?: string | undefined; 'token-file'?: string | undefined },
  environment: NodeJS.ProcessEnv,
): string | undefined {
  const file = values['token-file'];
  if (file === undefined) return values.token ?? environment.WEIR_TOKEN;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new ConfigError(`--token-file ${file} cannot be read: ${(error as Error).message}`);
  }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: false,
    options: {
      'control-plane': { type: 'string' },
      token: { type: 'string' },
      'token-file': { type: 'string' },
      policy: { type: 'string', multiple: true },
      filter: { type: 'string', multiple: true },
      'filter-key': { type: 'string', multiple: true },
      'filter-budget': { type: 'string', multiple: true },
      'action-host': { type: 'string', multiple: true },
      'filter-limit': { type: 'string', multiple: true },
      mend: { type: 'boolean' },
      monitor: { type: 'boolean' },
      workloads: { type: 'string' },
      data: { type: 'string' },
      socket: { type: 'string' },
      'socket-owner': { type: 'string' },
      node: { type: 'string' },
      cluster: { type: 'string' },
      label: { type: 'string', multiple: true },
      events: { type: 'string' },
      details: { type: 'boolean' },
      'no-spool': { type: 'boolean' },
      'spool-bytes': { type: 'string' },
      'ring-bytes': { type: 'string' },
      processes: { type: 'string' },
      ancestors: { type: 'string' },
      pin: { type: 'string' },
      bpf: { type: 'string' },
      'report-seconds': { type: 'string' },
      throttle: { type: 'string', multiple: true },
      'process-allowlist': { type: 'string', multiple: true },
      'process-denylist': { type: 'string', multiple: true },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean' },
    },
  }).values;
}

/** Folder of the spool within the agent's data. */
export function spoolFolder(config: AgentConfig): string {
  return join(config.dataFolder, 'spool');
}
