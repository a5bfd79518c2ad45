// SPDX-License-Identifier: Apache-2.0
// Owns `weir agents`, `weir agent …`, `weir release …`, `weir token …` and `weir audit`.
import { type Command, oneOf, wantsJson, wholeNumber } from '../command.js';
import { usageError } from '../errors.js';
import { readInput } from '../files.js';
import { filterLine } from '../filter-line.js';
import { ago, cell, table, time } from '../output.js';
import { connect } from '../state.js';

const outputOption = { output: { type: 'string', short: 'o' } } as const;

/** `NAME@VERSION` */
function parsePart(text: string, what: string): { name: string; version: string } {
  const match = /^(.+)@([^@]+)$/.exec(text);
  if (match === null) throw usageError(`${what} must be written NAME@VERSION, not "${text}".`);
  return { name: match[1] ?? '', version: match[2] ?? '' };
}

export const fleetCommands: readonly Command[] = [
  {
    name: 'agents',
    parameters: '[-o table|json]',
    summary: 'list agents, and which release each runs',
    options: outputOption,
    takes: [0, 0],
    async run({ output, text }) {
      const agents = await connect().agents();
      if (wantsJson(text('output'))) output.json(agents);
      else {
        const now = Date.now();
        const rows = agents.map((agent) => [
          agent.id,
          agent.cluster,
          agent.node,
          agent.revokedMs !== undefined ? 'revoked' : (agent.releaseSequence ?? '-'),
          ago(agent.lastSeenMs, now),
        ]);
        for (const line of table(['AGENT', 'CLUSTER', 'NODE', 'RELEASE', 'SEEN'], rows)) output.line(line);
      }
      return undefined;
    },
  },
  {
    name: 'agent show',
    parameters: '[-o text|json] ID',
    summary: 'show what an agent reported last: what is attached, refused, lost',
    options: outputOption,
    takes: [1, 1],
    async run({ output, positionals: [id = ''], text }) {
      const agent = await connect().agent(id);
      if (wantsJson(text('output'))) {
        output.json(agent);
        return undefined;
      }
      const { report } = agent;
      output.line(`${cell(agent.id)} on ${cell(agent.node)} in ${cell(agent.cluster)}`);
      if (report === undefined) {
        output.line('has not reported yet');
        return undefined;
      }
      output.line(
        `release ${report.releaseSequence}, reported ${ago(agent.reportedMs, Date.now())}, kernel ${cell(report.kernel)}`,
      );
      for (const policy of report.policies) {
        const reason = policy.reason === undefined ? '' : `: ${cell(policy.reason)}`;
        output.line(`policy ${cell(policy.name)} ${policy.state}${reason}`);
        for (const hook of policy.hooks) {
          const how = hook.attached
            ? `attached${hook.by === undefined ? '' : ` by ${cell(hook.by)}`}`
            : `not attached: ${cell(hook.reason)}`;
          output.line(`  ${cell(hook.name)} ${how}`);
        }
      }
      for (const filter of report.filters) {
        const { name, version, state, code, reason, statistics } = filter;
        output.line(filterLine({ ...statistics, name, version, state, code, reason }));
      }
      for (const [stage, count] of Object.entries(report.losses)) output.line(`lost ${cell(stage)} ${count}`);
      for (const error of report.errors) output.line(`error ${cell(error.code)}: ${cell(error.message)}`);
      return undefined;
    },
  },
  {
    name: 'agent revoke',
    parameters: 'ID',
    summary: 'refuse an agent from now on',
    takes: [1, 1],
    async run({ output, positionals: [id = ''] }) {
      await connect().revokeAgent(id);
      output.line(`${cell(id)} is revoked`);
      return undefined;
    },
  },
  {
    name: 'release show',
    parameters: '[-o text|json]',
    summary: 'show the release in force',
    options: outputOption,
    takes: [0, 0],
    async run({ output, text }) {
      const release = await connect().release();
      if (wantsJson(text('output'))) {
        output.json(release);
        return undefined;
      }
      output.line(`release ${release.sequence} since ${time(release.createdMs)} (${release.digest})`);
      for (const policy of release.content.policies)
        output.line(`policy ${cell(policy.name)}@${policy.version}`);
      for (const filter of release.content.filters)
        output.line(`filter ${cell(filter.name)}@${cell(filter.version)}`);
      for (const [key, value] of Object.entries(release.content.settings ?? {}))
        output.line(`setting ${cell(key)} = ${cell(value)}`);
      return undefined;
    },
  },
  {
    name: 'release list',
    parameters: '[-o table|json]',
    summary: 'list the releases that were in force',
    options: outputOption,
    takes: [0, 0],
    async run({ output, text }) {
      const releases = await connect().releases();
      if (wantsJson(text('output'))) output.json(releases);
      else {
        const rows = releases.map((release) => [
          release.sequence,
          time(release.createdMs),
          release.createdBy,
          release.content.policies.length,
          release.content.filters.length,
          release.digest,
        ]);
        for (const line of table(['RELEASE', 'SINCE', 'BY', 'POLICIES', 'FILTERS', 'DIGEST'], rows))
          output.line(line);
      }
      return undefined;
    },
  },
  {
    name: 'release put',
    parameters: '[--expect SEQUENCE] FILE.json',
    summary: 'put a whole set in force: {"policies":[{"name","version"}],"filters":[…],"settings":{}}',
    options: { expect: { type: 'string' } },
    takes: [1, 1],
    async run({ output, positionals: [path = ''], text }) {
      const expectedText = text('expect');
      const expectedSequence = wholeNumber('expect', expectedText, { least: 0, most: 2 ** 31, otherwise: 0 });
      let content: Parameters<ReturnType<typeof connect>['putRelease']>[0];
      try {
        content = JSON.parse(readInput(path).text) as typeof content;
      } catch (cause) {
        if (!(cause instanceof SyntaxError)) throw cause;
        throw usageError(`${path} is no JSON: ${cause.message}.`);
      }
      const release = await connect().putRelease({
        ...content,
        ...(expectedText === undefined ? {} : { expectedSequence }),
      });
      output.line(`release ${release.sequence} is in force`);
      return undefined;
    },
  },
  {
    name: 'release remove-filter',
    parameters: 'NAME@VERSION',
    summary: 'take a filter out of force',
    takes: [1, 1],
    async run({ output, positionals: [part = ''] }) {
      const { name, version } = parsePart(part, 'The filter');
      const client = connect();
      const { sequence, content } = await client.release();
      const filters = content.filters.filter((filter) => filter.name !== name || filter.version !== version);
      if (filters.length === content.filters.length)
        throw usageError(`Release ${sequence} has no filter ${part}.`);
      const release = await client.putRelease({ ...content, filters, expectedSequence: sequence });
      output.line(`release ${release.sequence} is in force, without ${cell(part)}`);
      return undefined;
    },
  },
  {
    name: 'token create',
    parameters:
      '--role admin|bootstrap|reader [--cluster NAME] [--label NAME=VALUE]... [--days N] [DESCRIPTION]',
    summary: 'make a token; it is shown once',
    options: {
      role: { type: 'string' },
      cluster: { type: 'string' },
      label: { type: 'string', multiple: true },
      days: { type: 'string' },
    },
    takes: [0, 1],
    async run({ output, positionals: [description = ''], text, list }) {
      if (text('role') === undefined) throw usageError('--role is missing: admin, bootstrap or reader.');
      const role = oneOf('role', text('role'), ['admin', 'bootstrap', 'reader'], 'reader');
      const days = wholeNumber('days', text('days'), { least: 1, most: 3650, otherwise: 0 });
      const labels = Object.fromEntries(
        list('label').map((label) => {
          const at = label.indexOf('=');
          if (at < 1) throw usageError(`--label must be written NAME=VALUE, not "${label}".`);
          return [label.slice(0, at), label.slice(at + 1)];
        }),
      );
      const cluster = text('cluster');
      const { token, secret } = await connect().createToken({
        role,
        description,
        ...(cluster === undefined ? {} : { cluster }),
        ...(list('label').length === 0 ? {} : { labels }),
        ...(days === 0 ? {} : { expiresMs: Date.now() + days * 86_400_000 }),
      });
      output.line(secret);
      output.note(`id ${token.id}; it is shown only now`);
      return undefined;
    },
  },
  {
    name: 'token list',
    parameters: '[-o table|json]',
    summary: 'list tokens, without their secrets',
    options: outputOption,
    takes: [0, 0],
    async run({ output, text }) {
      const tokens = await connect().tokens();
      if (wantsJson(text('output'))) output.json(tokens);
      else {
        const rows = tokens.map((token) => [
          token.id,
          token.role,
          token.cluster ?? token.agentId ?? '',
          token.revokedMs !== undefined
            ? 'revoked'
            : token.expiresMs !== undefined
              ? `until ${time(token.expiresMs)}`
              : '',
          token.description,
        ]);
        for (const line of table(['TOKEN', 'ROLE', 'OF', 'STATE', 'DESCRIPTION'], rows)) output.line(line);
      }
      return undefined;
    },
  },
  {
    name: 'token revoke',
    parameters: 'ID',
    summary: 'refuse a token from now on',
    takes: [1, 1],
    async run({ output, positionals: [id = ''] }) {
      await connect().revokeToken(id);
      output.line(`${cell(id)} is revoked`);
      return undefined;
    },
  },
  {
    name: 'audit',
    parameters: '[-o table|json]',
    summary: 'list who changed what',
    options: outputOption,
    takes: [0, 0],
    async run({ output, text }) {
      const entries = await connect().audit();
      if (wantsJson(text('output'))) output.json(entries);
      else {
        const rows = entries.map((entry) => [
          time(entry.timeMs),
          entry.actor,
          entry.role,
          entry.action,
          entry.subject,
          entry.details,
        ]);
        for (const line of table(['TIME', 'TOKEN', 'ROLE', 'ACTION', 'SUBJECT', 'DETAILS'], rows))
          output.line(line);
      }
      return undefined;
    },
  },
];
