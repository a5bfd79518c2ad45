// SPDX-License-Identifier: Apache-2.0
// Owns `weir policy …`.
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import type { ControlPlaneClient } from '@weir/control-plane/client';
import {
  Btf,
  BtfError,
  check,
  factsOfBtf,
  formatIssue,
  type KernelFacts,
  PolicyError,
  parsePolicies,
} from '@weir/policy';
import { printable } from '@weir/segment';
import { type Command, wantsJson } from '../command.js';
import { usageError } from '../errors.js';
import { readFiles, readInput } from '../files.js';
import { runningFacts } from '../kernel-facts.js';
import { cell, type Output, table, time } from '../output.js';
import { connect } from '../state.js';
import { socketOption } from './agent-socket.js';
import { listHooks } from './policy-hooks.js';

/** Functions of this kernel, where /proc/kallsyms names them, and whether a module has them. */
function kernelFunctions(): ReadonlyMap<string, boolean> | undefined {
  const path = '/proc/kallsyms';
  if (!existsSync(path)) return undefined;
  const names = new Map<string, boolean>();
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const [, type, name, module] = line.split(/\s/);
    if (name !== undefined && /^[tTwW]$/.test(type ?? '')) names.set(name, module !== undefined);
  }
  return names.size === 0 ? undefined : names;
}

/** The types of the kernel that this runs on, where it tells them. */
function kernelTypes(): Btf | undefined {
  const path = '/sys/kernel/btf/vmlinux';
  if (!existsSync(path)) return undefined;
  try {
    return Btf.read(readFileSync(path));
  } catch (cause) {
    // Types in a form that is not known here: then less is told.
    if (cause instanceof BtfError) return undefined;
    throw cause;
  }
}

/** What is known of the kernel that this runs on, by the names of its functions and by its types. */
function runningKernel(isLeftOut: boolean): KernelFacts {
  if (isLeftOut) return {};
  return { ...runningFacts(kernelFunctions(), kernelTypes(), release()), hasTracepoint };
}

/** What is known of a kernel by a file of its types. */
function kernelOf(path: string): KernelFacts {
  const { bytes } = readInput(path);
  try {
    return factsOfBtf(Btf.read(bytes), printable(path));
  } catch (cause) {
    if (!(cause instanceof BtfError)) throw cause;
    throw usageError(
      `${printable(path)} ${cause.message}.`,
      'weir policy check --btf /sys/kernel/btf/vmlinux FILE',
    );
  }
}

/** Tracepoints of this kernel, as far as tracefs is mounted and can be read. */
function hasTracepoint({ subsystem, event, raw }: { subsystem: string; event: string; raw: boolean }) {
  // A raw one can be there without an event in tracefs.
  if (raw) return undefined;
  const root = ['/sys/kernel/tracing/events', '/sys/kernel/debug/tracing/events'].find(existsSync);
  return root === undefined ? undefined : existsSync(`${root}/${subsystem}/${event}`);
}

/** Sends a policy, and tells what became of it. */
export async function addPolicy(
  client: ControlPlaneClient,
  { path, text }: { readonly path: string; readonly text: string },
  release: boolean,
  output: Output,
): Promise<void> {
  const { policy, created, warnings, releaseSequence } = await client.createPolicy(text, { release });
  const said = created ? 'version' : 'is there already, version';
  const released = releaseSequence === undefined ? '' : `, in force with release ${releaseSequence}`;
  output.line(`${cell(policy.name)}: ${said} ${policy.version}${released}`);
  for (const warning of warnings) {
    output.note(`${printable(path)}: warning: ${cell(warning.path)}: ${cell(warning.message)}`);
  }
}

export const policyCommands: readonly Command[] = [
  {
    name: 'policy check',
    parameters: '[--no-kernel | --btf FILE] FILE...',
    summary: 'say what policies would do, and what is wrong with them',
    help: [
      'It asks the kernel that it runs on, by its types; --no-kernel asks none, --btf FILE another, by a copy of',
      '/sys/kernel/btf/vmlinux from the node that is meant.',
    ],
    options: { 'no-kernel': { type: 'boolean' }, btf: { type: 'string' } },
    takes: [1, 1000],
    async run({ output, positionals, flag, text }) {
      const btf = text('btf');
      if (btf !== undefined && flag('no-kernel'))
        throw usageError('--btf names a kernel, and --no-kernel asks for none.', 'weir policy check --help');
      const facts = btf === undefined ? runningKernel(flag('no-kernel')) : kernelOf(btf);
      let wrong = 0;
      for (const { path, bytes } of readFiles(positionals, /\.ya?ml$/)) {
        try {
          for (const policy of parsePolicies(bytes)) {
            const result = check(policy, facts);
            if (!result.ok) wrong++;
            output.line(`${printable(path)}:`);
            for (const line of result.text.trimEnd().split('\n')) output.line(`  ${line}`);
          }
        } catch (cause) {
          if (!(cause instanceof PolicyError)) throw cause;
          wrong++;
          output.line(`${printable(path)}:`);
          for (const issue of cause.issues) output.line(`  ${printable(formatIssue(issue))}`);
        }
      }
      return wrong > 0 ? 1 : undefined;
    },
  },
  {
    name: 'policy add',
    parameters: '[--no-release] FILE...',
    summary: 'send policies to the control plane, and put them in force',
    options: { 'no-release': { type: 'boolean' } },
    takes: [1, 1000],
    async run({ output, positionals, flag }) {
      const client = connect();
      for (const file of readFiles(positionals, /\.ya?ml$/))
        await addPolicy(client, file, !flag('no-release'), output);
      return undefined;
    },
  },
  {
    name: 'policy list',
    parameters: '[-o table|json] [--hooks [--measure SECONDS] [--socket PATH]]',
    summary: 'list the policies of the control plane, or what those on this machine have done',
    help: [
      '--hooks asks the agent of this machine: by policy and hook, calls at which the hook ran (hits), calls that',
      'matched, events sent and held back by rate limits, calls denied or signalled, events lost (drops), errors, terms',
      'that could not be decided, and kernel memory. --measure measures the time of a run for so long.',
    ],
    options: {
      output: { type: 'string', short: 'o' },
      hooks: { type: 'boolean' },
      measure: { type: 'string' },
      ...socketOption,
    },
    takes: [0, 0],
    async run({ output, text, flag }) {
      if (flag('hooks')) return listHooks(output, text);
      for (const name of ['measure', 'socket'])
        if (text(name) !== undefined)
          throw usageError(`--${name} belongs to --hooks.`, 'weir policy list --hooks');
      const policies = await connect().policies();
      if (wantsJson(text('output'))) output.json(policies);
      else {
        const rows = policies.map((policy) => [
          policy.name,
          policy.namespace ?? '',
          policy.version,
          policy.retiredMs !== undefined ? 'retired' : policy.enabled ? 'in force' : 'stored',
          time(policy.createdMs),
        ]);
        for (const line of table(['NAME', 'NAMESPACE', 'VERSION', 'STATE', 'CREATED'], rows))
          output.line(line);
      }
      return undefined;
    },
  },
  {
    name: 'policy show',
    parameters: '[--namespace NAME] NAME',
    summary: 'print a policy as it was sent',
    options: { namespace: { type: 'string' } },
    takes: [1, 1],
    async run({ output, positionals: [name = ''], text }) {
      const namespace = text('namespace');
      const { source } = await connect().policy(name, namespace === undefined ? {} : { namespace });
      for (const line of source.trimEnd().split('\n')) output.line(printable(line));
      return undefined;
    },
  },
  {
    name: 'policy delete',
    parameters: '[--namespace NAME] NAME...',
    summary: 'take policies out of force; their versions stay in history',
    options: { namespace: { type: 'string' } },
    takes: [1, 1000],
    async run({ output, positionals, text }) {
      const client = connect();
      const namespace = text('namespace');
      for (const name of positionals) {
        const { releaseSequence } = await client.retirePolicy(
          name,
          namespace === undefined ? {} : { namespace },
        );
        output.line(`${cell(name)}: no longer in force since release ${releaseSequence}`);
      }
      return undefined;
    },
  },
];
