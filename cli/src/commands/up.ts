// SPDX-License-Identifier: Apache-2.0
// Owns `weir up`: from nothing to events, an archive query and a process tree, without a question in between.
import { spawnSync } from 'node:child_process';
import { AgentClient } from '@weir/agent/client';
import { ControlPlaneClient } from '@weir/control-plane/client';
import { type Command, oneOf, wholeNumber } from '../command.js';
import { CliError, usageError } from '../errors.js';
import { readInput } from '../files.js';
import type { Output } from '../output.js';
import { cell } from '../output.js';
import {
  isRunning,
  makeFolder,
  type Places,
  type ProcessIdentity,
  places,
  readCredentials,
  readState,
  type State,
  writeState,
} from '../state.js';
import { agentReady, pinFolder, showReport, startAgent, waitForReport } from '../up/agent.js';
import { showArchive } from '../up/archive.js';
import { startControlPlane } from '../up/control-plane.js';
import { type DemoResult, demoMarker, runDemo } from '../up/demo.js';
import { checkHost, surroundings } from '../up/host.js';
import { delay, end, prepareSudo, runsStill, until } from '../up/processes.js';
import { putSamples } from '../up/samples.js';
import { startGuest } from '../up/vm.js';
import { DemoWatch } from '../up/watch.js';

interface UpOptions {
  readonly vm: boolean;
  readonly enforce: boolean;
  readonly kernel: string;
  /** How long to go on after the demonstration; undefined until ctrl-c. */
  readonly goOnMs: number | undefined;
}

/** What the demonstration's shells leave running (an `rm`) is shown before the archive is asked. */
const settleMs = 1_000;

/** How long the first event may take to be shown, and after the demonstration the last of it, on a busy machine. */
const viewMs = 30_000;

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
  let stopping = false;
  try {
    const controlPlane = await startControlPlane(at, 'demo');
    controlPlane.child.once('exit', () => {
      if (!stopping) output.note(`the control plane has ended; its log: ${cell(at.controlPlaneLog)}`);
    });
    closers.push(() => ended('The control plane', controlPlane.identity, output));
    const state: State = {
      url: controlPlane.url,
      controlPlane: controlPlane.identity,
      agent: undefined,
      socket: options.vm ? undefined : at.socket,
      pinFolder: options.vm ? before?.pinFolder : pinFolder(at),
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
    const watch = new DemoWatch(marker);
    const run = {
      options,
      at,
      client,
      state,
      sequence: samples.sequence,
      marker,
      watch,
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
    stopping = true;
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
  /** Sees each line that is shown. */
  readonly watch: DemoWatch;
  readonly token: string;
}

/** An agent whose events are being shown. */
interface Show {
  /** Shows events until `hide`; resolves when the first has come, so that what follows is seen. Is false where none came. */
  view(): Promise<boolean>;
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
  closers.push(() => ended('The agent', agent.identity, output));
  writeState(at, { ...run.state, agent: agent.identity });
  const mode = options.enforce
    ? 'ENFORCING: it kills and denies'
    : 'in monitor mode: it only says what it would have done';
  const found = await agentReady(at, client, run.sequence, agent, { sinceMs: run.state.startedMs, signal });
  output.line(`agent: ${cell(found.id)} on ${cell(found.node)}, ${mode}`);
  showReport(output, found);
  let shown: AbortController | undefined;
  const hide = async () => shown?.abort();
  closers.push(hide);
  const over = new AbortController();
  agent.child.once('exit', () => over.abort());
  return {
    view: async () => {
      const stop = new AbortController();
      shown = stop;
      let live = false;
      void follow(at.socket, stop.signal, output, (line) => {
        live = true;
        run.watch.see(line);
      });
      const first = await until(
        viewMs,
        () => {
          if (live) return true;
          spawnSync('/bin/true'); // something must happen for an event to come
          return undefined;
        },
        signal,
        200,
      );
      return first === true;
    },
    hide,
    demo: () => runDemo(run.marker, { guest: false }),
    ended: over.signal,
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
      onShown: (line) => run.watch.see(line),
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
  const over = new AbortController();
  void guest.ended.then(() => over.abort());
  return {
    // Events come already: the guest is ready when the first has.
    view: async () => {
      guest.show(true);
      return true;
    },
    hide: async () => guest.show(false),
    demo: () => guest.demo(signal),
    ended: over.signal,
  };
}

async function demonstrate(show: Show, run: Run, output: Output, signal: AbortSignal): Promise<void> {
  output.line();
  output.line('live events:');
  const live = await show.view();
  const results = await show.demo();
  const finishedMs = Date.now();
  // All of it, not only what a busy machine has got to.
  const all = await until(viewMs, () => (run.watch.ended >= results.length ? true : undefined), signal);
  if (all === undefined && !signal.aborted) {
    output.note(
      `${live ? 'not all of what was done' : 'no event'} was shown in ${viewMs / 1000} s; going on. The archive has it, see below`,
    );
  }
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

/** Shows events until it is told to stop, or the agent ends. */
async function follow(
  socket: string,
  signal: AbortSignal,
  output: Output,
  seen: (line: string) => void,
): Promise<void> {
  try {
    // The agent makes compact lines harmless.
    for await (const line of new AgentClient(socket).events({ format: 'compact' }, signal)) {
      output.line(line);
      seen(line);
    }
  } catch (cause) {
    if (!signal.aborted)
      output.note(`the live view ended: ${cell(cause instanceof Error ? cause.message : String(cause))}`);
  }
}

/** Ends a process of ours, and says so where that failed. */
async function ended(what: string, identity: ProcessIdentity, output: Output): Promise<void> {
  if ((await end(identity)) !== 'running') return;
  const { message, hints } = runsStill(what, identity);
  for (const line of [message, ...hints]) output.note(line);
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
