// SPDX-License-Identifier: Apache-2.0
// Owns `weir up`: from nothing to events, an archive query and a process tree, without a question in between.
import { type ChildProcess, spawnSync } from 'node:child_process';
import { ControlPlaneClient } from '@weir/control-plane/client';
import { type Command, oneOf, wholeNumber } from '../command.js';
import { CliError, usageError } from '../errors.js';
import { readInput } from '../files.js';
import type { Output } from '../output.js';
import { cell } from '../output.js';
import { startRaised } from '../raise.js';
import {
  isRunning,
  makeFolder,
  type Places,
  places,
  readCredentials,
  readState,
  type State,
  writeState,
} from '../state.js';
import { agentReady, showReport, startAgent, waitForReport } from '../up/agent.js';
import { showArchive } from '../up/archive.js';
import { startControlPlane } from '../up/control-plane.js';
import { type DemoResult, demoMarker, runDemo } from '../up/demo.js';
import { checkHost, surroundings } from '../up/host.js';
import { delay, end, identifyRaised, isRoot, prepareSudo, until } from '../up/processes.js';
import { putSamples } from '../up/samples.js';
import { startGuest } from '../up/vm.js';

interface UpOptions {
  readonly vm: boolean;
  readonly enforce: boolean;
  readonly kernel: string;
  /** How long to go on after the demonstration; undefined until ctrl-c. */
  readonly goOnMs: number | undefined;
}

/** The live view shows the last of it before the archive is asked. */
const settleMs = 1_000;

/** How long the live view may take to be there; a busy machine starts node slowly. */
const viewMs = 20_000;

export const upCommand: Command = {
  name: 'up',
  parameters: '[--vm [--kernel 6.1|6.12]] [--enforce] [--once | --for SECONDS]',
  summary: 'start a control plane and an agent with samples, and show what they see',
  help: [
    'On this machine the samples only say what they would have done. --enforce lets them kill and deny;',
    '--vm runs the agent in a small virtual machine, where they do so anyway and no harm can come of it.',
    '--once ends after the demonstration, --for after so many seconds more; else ctrl-c does.',
    'What is set up is in ./.weir (or WEIR_HOME); weir down removes it.',
  ],
  options: {
    vm: { type: 'boolean' },
    kernel: { type: 'string' },
    enforce: { type: 'boolean' },
    once: { type: 'boolean' },
    for: { type: 'string' },
  },
  takes: [0, 0],
  async run({ output, text, flag }) {
    const kernel = oneOf('kernel', text('kernel'), ['6.1', '6.12'], '6.12');
    if (text('kernel') !== undefined && !flag('vm'))
      throw usageError('--kernel goes with --vm: this machine has its own.');
    const seconds = wholeNumber('for', text('for'), { least: 0, most: 1e6, otherwise: 0 });
    const goOnMs = flag('once') ? 0 : text('for') === undefined ? undefined : seconds * 1000;
    const stop = new AbortController();
    const abort = () => stop.abort();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, abort);
    try {
      return await up({ vm: flag('vm'), enforce: flag('enforce'), kernel, goOnMs }, output, stop.signal);
    } finally {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, abort);
    }
  },
};

async function up(options: UpOptions, output: Output, signal: AbortSignal): Promise<number | undefined> {
  const at = places();
  const before = readState(at);
  if (isRunning(before?.controlPlane) || isRunning(before?.agent)) {
    throw new CliError('weir up runs already.', ['weir status and weir events show it; weir down ends it.']);
  }
  if (!options.vm) {
    checkHost();
    prepareSudo('The agent');
  }
  makeFolder(at);
  const closers: Array<() => Promise<unknown>> = [];
  try {
    const controlPlane = await startControlPlane(at, 'demo');
    closers.push(() => end(controlPlane.identity));
    const state: State = {
      url: controlPlane.url,
      controlPlane: controlPlane.identity,
      agent: undefined,
      socket: options.vm ? undefined : at.socket,
      startedMs: Date.now(),
    };
    writeState(at, state);
    output.line(
      `control plane: ${controlPlane.url}, with SQLite and the archive in ${cell(at.controlPlaneData)}`,
    );
    const credentials = readCredentials(at);
    if (credentials === undefined)
      throw new CliError(`${at.credentialsFile} is not there.`, ['weir down, then weir up, begins anew.']);
    const client = new ControlPlaneClient({ url: controlPlane.url, token: credentials.adminToken });
    const samples = await putSamples(client, at.filterKeyFile, output);
    output.line(
      `samples: ${samples.policies.length} policies and the filter ${samples.filters.join(', ')}, in force as release ${samples.sequence}`,
    );
    const marker = demoMarker();
    const run = {
      options,
      at,
      client,
      state,
      sequence: samples.sequence,
      marker,
      token: credentials.bootstrapToken,
    };
    const show = options.vm
      ? await inGuest(run, output, closers, signal)
      : await onHost(run, output, closers, signal);
    await demonstrate(show, run, output, signal);
    if (!signal.aborted && options.goOnMs !== 0) {
      howToGoOn(output, options);
      await show.view();
      await delay(options.goOnMs ?? 2 ** 31 - 1, AbortSignal.any([signal, show.ended]));
    }
    return undefined;
  } finally {
    output.line();
    output.line('stopping: agent first, it hands over what it holds');
    for (const close of closers.reverse()) await close();
    output.line(`stopped; weir up starts again with the same data, weir down removes ${cell(at.folder)}`);
  }
}

interface Run {
  readonly options: UpOptions;
  readonly at: Places;
  readonly client: ControlPlaneClient;
  readonly state: State;
  readonly sequence: number;
  readonly marker: string;
  readonly token: string;
}

/** An agent whose events are being shown. */
interface Show {
  /** Shows events until `hide`; resolves when the first has come, so that what follows is seen. */
  view(): Promise<void>;
  hide(): Promise<void>;
  demo(): Promise<readonly DemoResult[]>;
  /** Aborted when the agent has ended. */
  readonly ended: AbortSignal;
}

async function onHost(
  run: Run,
  output: Output,
  closers: Array<() => Promise<unknown>>,
  signal: AbortSignal,
): Promise<Show> {
  const { at, client, options } = run;
  const where = surroundings();
  if (where !== undefined)
    output.line(`this is ${where}: whatever its kernel refuses is named below; weir up --vm has all`);
  const agent = await startAgent(at, {
    url: run.state.url,
    bootstrapToken: run.token,
    monitor: !options.enforce,
  });
  closers.push(() => end(agent.identity));
  writeState(at, { ...run.state, agent: agent.identity });
  const mode = options.enforce
    ? 'ENFORCING: it kills and denies'
    : 'in monitor mode: it only says what it would have done';
  const found = await agentReady(at, client, run.sequence, agent, { sinceMs: run.state.startedMs, signal });
  output.line(`agent: ${cell(found.id)} on ${cell(found.node)}, ${mode}`);
  showReport(output, found);
  let view: ChildProcess | undefined;
  const hide = async () => {
    const child = view;
    view = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    const identity = await identifyRaised(child, !isRoot());
    if (identity !== undefined) await end(identity);
    await gone;
  };
  closers.push(hide);
  const ended = new AbortController();
  agent.child.once('exit', () => ended.abort());
  return {
    view: async () => {
      let live = false;
      view = startRaised(['events', '--socket', at.socket], (text) => {
        live = true;
        process.stdout.write(text);
      });
      await until(
        viewMs,
        () => {
          if (live) return true;
          spawnSync('/bin/true');
          return undefined;
        },
        signal,
        200,
      );
    },
    hide,
    demo: () => runDemo(run.marker, { guest: false }),
    ended: ended.signal,
  };
}

async function inGuest(
  run: Run,
  output: Output,
  closers: Array<() => Promise<unknown>>,
  signal: AbortSignal,
): Promise<Show> {
  const { client, options } = run;
  output.line(`booting a guest with Linux ${options.kernel}; the first time takes a minute or two`);
  const guest = await startGuest(
    {
      url: run.state.url,
      token: run.token,
      marker: run.marker,
      kernel: options.kernel,
      filterKey: readInput(`${run.at.filterKeyFile}.pub`).text,
    },
    output,
  );
  closers.push(() => guest.close());
  await guest.ready(signal);
  const found = await waitForReport(client, run.sequence, {
    sinceMs: run.state.startedMs,
    ended: () => false,
    signal,
  });
  if (found === undefined) throw new CliError('The agent in the guest did not report.');
  output.line(`agent: ${cell(found.id)} on ${cell(found.node)}, in the guest, enforcing`);
  showReport(output, found);
  const ended = new AbortController();
  void guest.ended.then(() => ended.abort());
  return {
    view: async () => guest.show(true),
    hide: async () => guest.show(false),
    demo: () => guest.demo(signal),
    ended: ended.signal,
  };
}

async function demonstrate(show: Show, run: Run, output: Output, signal: AbortSignal): Promise<void> {
  output.line();
  output.line('live events:');
  await show.view();
  const results = await show.demo();
  const finishedMs = Date.now();
  await delay(settleMs, signal);
  await show.hide();
  output.line();
  output.line('that was, among whatever else this machine does:');
  for (const { what, ended } of results) output.line(`  ${what}: ${cell(ended)}`);
  output.line();
  const answered = await showArchive(run.client, run.marker, output, { finishedMs, signal });
  if (!answered && !signal.aborted) {
    throw new CliError('The archive did not get the events in time.', [
      `Logs: ${run.at.controlPlaneLog}, ${run.at.agentLog}`,
    ]);
  }
}

function howToGoOn(output: Output, options: UpOptions): void {
  output.line();
  output.line('To go on, in another terminal:');
  for (const line of [
    ...(options.vm
      ? []
      : ['weir events              live events', 'weir status              what is attached, kept, lost']),
    `weir archive query "SELECT kind, count(*) FROM events GROUP BY ALL"`,
    'weir filter new my-filter; weir filter push my-filter',
    'weir policy add my-policy.yaml',
    'weir down                stop and remove all of it',
  ]) {
    output.line(`  ${line}`);
  }
  output.line();
  output.line('live events, until ctrl-c:');
}
