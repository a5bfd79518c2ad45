// SPDX-License-Identifier: Apache-2.0
// Owns the commands that speak with the agent of this machine over its socket: `weir status`, `weir events`,
// `weir probe`.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { AgentClient, AgentClientError, type AgentStatus } from '@weir/agent/client';
import { printable } from '@weir/segment';
import { type Command, oneOf, wantsJson, wholeNumber } from '../command.js';
import { CliError } from '../errors.js';
import { filterLine } from '../filter-line.js';
import { ago, cell, jsonText, type Output } from '../output.js';
import { runRaised } from '../raise.js';
import { places, readState } from '../state.js';
import { isRoot, prepareSudo } from '../up/processes.js';
import { probeEntry } from '../up/repository.js';

/** Of what filters logged, how much the status shows; all that the agent keeps is in its JSON. */
const LOG_LINES_SHOWN = 10;

/** Where an agent that was installed as a service has its socket. */
const installedSocket = '/run/weir/agent.sock';

export const socketOption = { socket: { type: 'string' } } as const;

export function socketPath(given: string | undefined): string {
  if (given !== undefined) return given;
  if (process.env.WEIR_SOCKET !== undefined) return process.env.WEIR_SOCKET;
  const at = places();
  return readState(at)?.socket ?? (existsSync(at.socket) ? at.socket : installedSocket);
}

/** Runs what needs the socket; where it is root's alone, runs the command again as root. */
export async function withAgent(
  path: string,
  args: readonly string[],
  work: (client: AgentClient) => Promise<number | undefined>,
): Promise<number | undefined> {
  try {
    return await work(new AgentClient(path));
  } catch (cause) {
    if (!(cause instanceof AgentClientError)) throw cause;
    if (cause.code === 'denied' && !isRoot())
      return runRaised([...args, '--socket', path], "The agent's socket");
    if (cause.code === 'unreachable') {
      throw new CliError(`No agent answers at ${path}.`, ['weir up starts one; --socket names another.'], 1, {
        cause,
      });
    }
    throw new CliError(cause.message, [], 1, { cause });
  }
}

/** The limits of the node's throttles, and who is throttled now. */
function throttleLines({ throttles }: AgentStatus): string[] {
  if (throttles === undefined) return [];
  const limits = Object.entries(throttles.limits).map(([scope, limit]) => `${scope} ${limit}`);
  return [
    `throttles: ${limits.map(cell).join(', ')}`,
    ...throttles.current.map(({ scope, cgroup, policy, heldBack }) => {
      const whose = policy === '' ? `cgroup ${cell(cgroup)}` : `policy ${cell(policy)}`;
      return `throttled by ${cell(scope)}: ${whose}, ${heldBack} events held back so far`;
    }),
  ];
}

function showStatus(output: Output, status: AgentStatus): void {
  const now = Date.now();
  output.line(
    `agent ${cell(status.agentVersion)} on ${cell(status.node)}, kernel ${cell(status.kernel)}, started ${ago(status.startedMs, now)}`,
  );
  const { controlPlane } = status;
  if (controlPlane !== undefined) {
    const state = controlPlane.connected
      ? 'connected'
      : `not connected${controlPlane.error === undefined ? '' : `: ${cell(controlPlane.error)}`}`;
    output.line(`control plane ${cell(controlPlane.url)}, ${state}, as ${cell(controlPlane.agentId)}`);
  }
  output.line(
    `release ${status.releaseSequence}${status.monitor ? ', in monitor mode: nothing is killed or denied' : ''}`,
  );
  for (const policy of status.policies) {
    const hooks = policy.hooks.length === 0 ? '' : ` on ${policy.hooks.slice(0, 6).map(cell).join(', ')}`;
    output.line(
      `policy ${cell(policy.name)} ${policy.state}, ${policy.mode}${policy.modeIsSet === true ? ' (set by hand)' : ''}${hooks}${policy.reason === undefined ? '' : `: ${cell(policy.reason)}`}`,
    );
    for (const note of policy.unprevented ?? []) output.line(`  not prevented here: ${cell(note)}`);
  }
  output.line(
    status.filterKeys === undefined
      ? 'filters: no author need have signed them; the signature of the release is all (--filter-key names authors)'
      : `filters: signed by one of ${status.filterKeys.length === 0 ? 'no key: all are refused' : status.filterKeys.map(cell).join(', ')}`,
  );
  for (const filter of status.filters) output.line(filterLine(filter));
  for (const { filter, level, text, timeMs } of status.filterLog.slice(-LOG_LINES_SHOWN)) {
    output.line(`  ${cell(filter)} ${level} ${ago(timeMs, now)}: ${cell(text)}`);
  }
  const { events } = status;
  output.line(
    `events: produced ${events.produced}, handled ${events.handled}, kept ${events.kept}, dropped ${events.dropped}, alerts ${events.alerts}`,
  );
  const losses = Object.entries(status.losses).filter(([, count]) => count > 0);
  output.line(
    losses.length === 0
      ? 'lost: none'
      : `lost: ${losses.map(([stage, count]) => `${cell(stage)} ${count}`).join(', ')}`,
  );
  for (const line of throttleLines(status)) output.line(line);
  for (const finding of status.tamper.current) output.line(`tampered with: ${cell(finding)}`);
  if (status.tamper.count > 0) output.line(`tampering: found ${status.tamper.count} times`);
  for (const { policy, action, done, failed, rateLimited, noRoom, lastError } of status.actions) {
    const dropped = rateLimited + noRoom;
    const parts = [
      `${done} done`,
      ...(failed === 0 ? [] : [`${failed} failed`]),
      ...(dropped === 0 ? [] : [`${dropped} not done, as the policy asked for too many`]),
      ...(lastError === undefined ? [] : [`last failure: ${cell(lastError)}`]),
    ];
    output.line(`${cell(action)} of policy ${cell(policy)}: ${parts.join(', ')}`);
  }
  if (status.spool !== undefined) {
    const { appendedRecords, acknowledgedRecords, waitingSegments } = status.spool;
    output.line(
      `spool: ${appendedRecords} events written, ${acknowledgedRecords} archived, ${waitingSegments} segments wait`,
    );
  }
  for (const error of status.errors)
    output.line(`error ${cell(error.code)} ${ago(error.timeMs, now)}: ${cell(error.message)}`);
}

interface ProbeAnswer {
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly activeLsms?: readonly string[];
  readonly bpfLsmActive: boolean;
  readonly capabilities: Readonly<Record<string, boolean>>;
  readonly abilities: Readonly<Record<string, { readonly ok: boolean; readonly reason: string }>>;
  readonly nothingLoadsBecause: string | null;
}

export const socketCommands: readonly Command[] = [
  {
    name: 'status',
    parameters: '[-o text|json] [--socket PATH]',
    summary: 'show how the agent of this machine is: attached, refused, kept, lost',
    options: { output: { type: 'string', short: 'o' }, ...socketOption },
    takes: [0, 0],
    async run({ output, text }) {
      const json = wantsJson(text('output'), 'text');
      return withAgent(
        socketPath(text('socket')),
        ['status', ...(json ? ['-o', 'json'] : [])],
        async (client) => {
          const status = await client.status();
          if (json) output.json(status);
          else showStatus(output, status);
          return undefined;
        },
      );
    },
  },
  {
    name: 'events',
    parameters:
      '[-o compact|json] [--kinds exec,exit,…] [--policy NAME] [--limit N] [--follow] [--socket PATH]',
    summary: 'show events of this machine as they happen, until ctrl-c',
    options: {
      output: { type: 'string', short: 'o' },
      kinds: { type: 'string' },
      policy: { type: 'string' },
      limit: { type: 'string' },
      follow: { type: 'boolean', short: 'f' },
      ...socketOption,
    },
    takes: [0, 0],
    async run({ output, text }) {
      const format = oneOf('output', text('output'), ['compact', 'json'], 'compact');
      const limit = wholeNumber('limit', text('limit'), { least: 1, most: 1e9, otherwise: 0 });
      const kinds = text('kinds')?.split(',');
      const policy = text('policy');
      const given = ['kinds', 'policy', 'limit'].flatMap((name) => {
        const value = text(name);
        return value === undefined ? [] : [`--${name}`, value];
      });
      const stop = new AbortController();
      const abort = () => stop.abort();
      process.once('SIGINT', abort);
      process.once('SIGTERM', abort);
      try {
        return await withAgent(
          socketPath(text('socket')),
          ['events', '-o', format, ...given],
          async (client) => {
            const query = {
              format,
              colour:
                format === 'compact' && process.stdout.isTTY === true && process.env.NO_COLOR === undefined,
              ...(limit === 0 ? {} : { limit }),
              ...(kinds === undefined ? {} : { kinds }),
              ...(policy === undefined ? {} : { policy }),
            };
            // The agent makes compact lines harmless; JSON has escapes of its own.
            for await (const line of client.events(query, stop.signal)) output.line(line);
            return undefined;
          },
        );
      } finally {
        process.off('SIGINT', abort);
        process.off('SIGTERM', abort);
      }
    },
  },
  {
    name: 'events record',
    parameters: '[--events N] [--seconds N] [--socket PATH] FILE.segment',
    summary: 'record events of this machine into a file on which filters can be tested',
    options: { events: { type: 'string' }, seconds: { type: 'string' }, ...socketOption },
    takes: [1, 1],
    async run({ output, positionals: [file = ''], text }) {
      const events = wholeNumber('events', text('events'), { least: 1, most: 1_000_000, otherwise: 1_000 });
      const seconds = wholeNumber('seconds', text('seconds'), { least: 1, most: 3_600, otherwise: 30 });
      const args = ['events', 'record', '--events', String(events), '--seconds', String(seconds), file];
      return withAgent(socketPath(text('socket')), args, async (client) => {
        const segment = await client.record({ events, timeoutMs: seconds * 1000 });
        try {
          writeFileSync(file, segment, { mode: 0o600 });
        } catch (cause) {
          throw new CliError(
            `${file} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}.`,
            [],
            1,
            { cause },
          );
        }
        output.line(
          `${cell(file)}: ${segment.length} bytes; weir filter test --events ${cell(file)} FOLDER runs a filter over it`,
        );
        return undefined;
      });
    },
  },
  {
    name: 'probe',
    parameters: '[-o text|json]',
    summary: 'say what this kernel offers, and what it refuses and why',
    options: { output: { type: 'string', short: 'o' } },
    takes: [0, 0],
    async run({ output, text }) {
      const json = wantsJson(text('output'), 'text');
      prepareSudo('Asking the kernel what it loads');
      const command = [...(isRoot() ? [] : ['sudo', '-n', '--']), process.execPath, probeEntry];
      const [program = '', ...rest] = command;
      const result = spawnSync(program, rest, { encoding: 'utf8' });
      if (result.status !== 0) {
        const reason =
          (result.stderr ?? '')
            .trim()
            .split('\n')
            .find((line) => /Error/.test(line)) ?? '';
        throw new CliError(`The kernel could not be asked: ${printable(reason)}`, [
          'npm run build builds what it takes.',
        ]);
      }
      const answer = JSON.parse(result.stdout) as ProbeAnswer;
      if (json) {
        output.line(jsonText(answer));
        return undefined;
      }
      output.line(`kernel ${cell(answer.kernelRelease)} on ${cell(answer.architecture)}`);
      const rights = Object.entries(answer.capabilities)
        .filter(([, has]) => has)
        .map(([name]) => name);
      output.line(`rights: ${rights.length === 0 ? 'none' : rights.join(', ')}`);
      output.line(
        `security modules: ${answer.activeLsms?.map(cell).join(', ') ?? 'not said'}${answer.bpfLsmActive ? '' : ' (bpf is not active: policies with lsmhooks are refused)'}`,
      );
      for (const [name, { ok, reason }] of Object.entries(answer.abilities)) {
        output.line(`${ok ? 'yes' : 'no '} ${name}${ok ? '' : `: ${cell(reason)}`}`);
      }
      if (answer.nothingLoadsBecause !== null) {
        output.line(
          `The agent cannot run here: ${cell(answer.nothingLoadsBecause)}. weir up --vm works all the same.`,
        );
        return 1;
      }
      return undefined;
    },
  },
];
