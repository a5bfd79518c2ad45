// SPDX-License-Identifier: Apache-2.0
// Owns the agent as a whole: its parts are made here, in their order, and meet nowhere else.
import { mkdirSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { FilterHost, type FilterReport } from '@weir/filter-host';
import { bootId, clockOffsetNs, possibleCpus, RingReader } from '@weir/native';
import {
  LossStage,
  lossStageNames,
  NamespaceKind,
  PROCESS_ENTRY_BYTES,
  readProcessEntry,
} from '@weir/schema';
import { BatchWriter } from '@weir/segment';
import { AgentActions } from './actions/actions.js';
import { takeActions } from './actions/batch.js';
import { refusedActions } from './actions/hosts.js';
import { agentMetrics } from './agent-metrics.js';
import { type AgentConfig, spoolFolder } from './config.js';
import { Desired, SetModeError } from './desired.js';
import { jsonText } from './export/json.js';
import { hookStates } from './hook-states.js';
import { Users } from './identity/users.js';
import { Accounting, type CpuBooks, type CpuLoss, decodeAccounting } from './join/accounting.js';
import { Bindings } from './join/bindings.js';
import { Join } from './join/join.js';
import { lossRecord, tamperRecord, throttleRecord } from './join/own-record.js';
import { knownProcesses } from './known-processes.js';
import { BOOKS_CPUS_MAX, type CountedLosses, Losses, splitBooks } from './losses.js';
import { type Metric, metricsText } from './metrics/prometheus.js';
import { NarrowedPods } from './narrowing/pods.js';
import { NarrowingRules } from './narrowing/rules.js';
import { Pipeline } from './pipeline/pipeline.js';
import {
  HookKernel,
  hostRealPath,
  PolicySet,
  placeOf,
  readHostNamespaces,
  type Workload,
} from './policy/index.js';
import { seedFromProc } from './process/proc.js';
import { isBpfFileSystem, type Sensor } from './process/sensor.js';
import { StackNames } from './process/stack-names.js';
import { ProcessTable } from './process/table.js';
import { loadSensor } from './sensor-refusal.js';
import { AgentSocket } from './socket/server.js';
import type { AgentStatus, FilterLogLine } from './socket/types.js';
import { Spool, type SpoolLossStage } from './spool/index.js';
import { RunningMarker } from './tamper/marker.js';
import { TamperWatch } from './tamper/watch.js';
import { encodeThrottles, throttlesAny } from './throttle/limits.js';
import { type ThrottledMap, Throttles } from './throttle/throttles.js';
import { throttleStatus } from './throttle-status.js';
import { FilterTrust } from './trust.js';

export const agentVersion = '0.1.0';

/** Bounds of a batch. Four slots of 2 MiB carry a million records a second with the judging of others under way. */
const SLOTS = 4;
const BATCH_BYTES_MAX = 2 * 1024 * 1024;
const ANNOTATION_BYTES_MAX = 512 * 1024;
const RECORDS_MAX = 16_384;
/** How often gaps are settled and kernel counters looked at. */
const SETTLE_MS = 1000;
const ERRORS_MAX = 50;
const FILTER_LOG_LINES_MAX = 100;
/** Names of the levels of the filter ABI; 4 is why a filter is about to trap. */
const logLevels: readonly FilterLogLine['level'][] = ['debug', 'info', 'warn', 'error', 'error'];

export interface AgentError {
  readonly code: string;
  readonly message: string;
  readonly timeMs: number;
}

/** Who the agent is to a control plane; the spool is named by it. */
export interface AgentIdentity {
  readonly agentId: string;
  readonly clusterName: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
}

export class Agent {
  readonly config: AgentConfig;
  readonly identity: AgentIdentity;
  readonly desired: Desired;
  readonly spool: Spool | undefined;
  readonly pipeline: Pipeline;
  readonly #sensor: Sensor;
  readonly #ring: RingReader;
  readonly #host: FilterHost;
  readonly #trust: FilterTrust;
  readonly #join: Join;
  readonly #table: ProcessTable;
  readonly #marker: RunningMarker;
  readonly #watch: TamperWatch;
  readonly #actions = new AgentActions();
  readonly #throttles: Throttles;
  readonly #pods: NarrowedPods | undefined;
  readonly #accounting: Accounting;
  readonly #policies: PolicySet | undefined;
  readonly #hookKernel: HookKernel | undefined;
  readonly #bootId: Uint8Array;
  readonly #startedMs = Date.now();
  readonly #losses: Record<string, number> = Object.fromEntries(
    Object.values(lossStageNames).map((name) => [name, 0]),
  );
  readonly #errors: AgentError[] = [];
  readonly #filterLog: FilterLogLine[] = [];
  readonly #lossBooks: Losses;
  /** Runs that the kernel skipped, as they were last looked at. */
  #skipped = { sensor: 0, hooks: 0 };
  #socket: AgentSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Filled in by the sync with a control plane. */
  controlPlane: AgentStatus['controlPlane'];

  private constructor(parts: {
    config: AgentConfig;
    identity: AgentIdentity;
    sensor: Sensor;
    host: FilterHost;
    trust: FilterTrust;
    spool: Spool | undefined;
    bootId: Uint8Array;
    table: ProcessTable;
    pods: NarrowedPods | undefined;
    policies: PolicySet | undefined;
    hookKernel: HookKernel | undefined;
    noPolicies: string;
  }) {
    const { config, identity, sensor, host, spool } = parts;
    this.config = config;
    this.identity = identity;
    this.spool = spool;
    this.#sensor = sensor;
    this.#host = host;
    this.#trust = parts.trust;
    this.#bootId = parts.bootId;
    this.#policies = parts.policies;
    this.#hookKernel = parts.hookKernel;
    this.#table = parts.table;
    this.#pods = parts.pods;
    this.#accounting = new Accounting(Math.min(possibleCpus(), BOOKS_CPUS_MAX), parts.bootId);
    const set = parts.policies;
    const bindings = new Bindings((id) => {
      const binding = set?.binding(id);
      if (binding === undefined) return undefined;
      return {
        bindingId: id,
        eventKind: binding.eventKind,
        policyName: binding.policyName,
        policyNamespace: binding.policyNamespace,
        ...placeOf(binding),
        message: binding.message,
        tags: binding.tags,
        argumentLabels: binding.argumentLabels,
      };
    });
    this.#join = new Join({
      table: this.#table,
      bindings,
      accounting: this.#accounting,
      users: Users.read(),
      bootId: parts.bootId,
      nodeName: config.nodeName,
      clusterName: identity.clusterName,
      nodeLabels: identity.nodeLabels,
      ancestors: config.ancestors,
      recordsMax: RECORDS_MAX,
      batchBytesMax: BATCH_BYTES_MAX,
    });
    this.#join.bootToUnixNs = clockOffsetNs('boottime', 'realtime');
    this.#ring = new RingReader(sensor.maps.events as never, { onReady: () => this.pipeline.ready() });
    this.#lossBooks = new Losses({
      ...(spool === undefined ? {} : { store: spool }),
      say: (stage, count, onTaken) => {
        const sequence = this.pipeline.nextSequence();
        const record = lossRecord(stage, BigInt(count), { timeNs: nowNs(), sequence });
        return this.pipeline.say(record, onTaken) ? sequence : undefined;
      },
      note: (stage, count) => {
        const name = lossStageNames[stage] ?? String(stage);
        this.#losses[name] = (this.#losses[name] ?? 0) + count;
      },
      noteOwn: (count) => {
        this.pipeline.stats.ownLost += count;
      },
      onError: (error) => this.fail('spool', error),
    });
    this.pipeline = new Pipeline({
      ring: this.#ring,
      host,
      join: this.#join,
      accounting: this.#accounting,
      ...(spool === undefined ? {} : { store: this.#lossBooks }),
      recordsMax: RECORDS_MAX,
      batchBytesMax: BATCH_BYTES_MAX,
      annotationBytesMax: ANNOTATION_BYTES_MAX,
      nowNs,
      onError: (error) => this.fail('pipeline', error),
    });
    if (set !== undefined && config.actionHosts.length > 0)
      this.pipeline.onJoined = (batch) => takeActions(batch, (id) => set.binding(id), this.#actions);
    this.pipeline.onLost = (count, stage) => this.#lossBooks.lose(stage, count);
    this.pipeline.onUnjudged = (batch) => this.#lossBooks.lostBatch(batch, LossStage.filter);
    this.#marker = new RunningMarker(config.dataFolder);
    this.#watch = new TamperWatch({
      inspect: async (mend) => (await set?.inspect(mend)) ?? [],
      detached: () => sensor.detached(),
      hasFunctionHooks: () => set?.hasFunctionHooks() ?? false,
      say: (message) => this.#sayTampered(message),
      onError: (error) => this.fail('tamper', error),
      mend: config.mend,
    });
    this.#throttles = new Throttles({
      map: sensor.maps.throttled as ThrottledMap,
      limits: config.throttles,
      policyName: (id) => set?.bindings.policyName(id),
      say: ({ timeNs, ...facts }) =>
        this.pipeline.say(throttleRecord(facts, { timeNs, sequence: this.pipeline.nextSequence() })),
      nowNs,
      onError: (error) => this.fail('throttle', error),
    });
    this.desired = new Desired({
      policies: set,
      noPolicies: parts.noPolicies,
      host,
      trust: parts.trust,
      monitor: config.monitor,
      onError: (code, message) => this.fail(code, message),
    });
  }

  /** Makes the agent, attaches the process sensor and begins to read. @throws with the reason in words */
  static async start(config: AgentConfig, identity: AgentIdentity): Promise<Agent> {
    const trust = new FilterTrust(config.filterKeyPaths);
    if (trust.required) await trust.read();
    mkdirSync(config.dataFolder, { recursive: true, mode: 0o700 });
    const boot = bootId();
    let agent: Agent | undefined;
    const spool = config.spool
      ? await Spool.open({
          folder: spoolFolder(config),
          agentId: identity.agentId,
          bytesMax: config.spoolBytesMax,
          onLoss: (stage) => agent?.spoolLost(stage),
          onError: (error) => agent?.fail('spool', error),
        })
      : undefined;
    const pin =
      config.pinFolder !== undefined && isBpfFileSystem(join(config.pinFolder, '..'))
        ? config.pinFolder
        : undefined;
    const rules = narrowingRules(config);
    const sensor = loadSensor({
      objectPath: join(config.bpfFolder, 'process.bpf.o'),
      ringBytes: config.ringBytes,
      agentPid: process.pid,
      throttles: encodeThrottles(config.throttles),
      ...(rules === undefined ? {} : { narrowing: rules }),
      ...(pin === undefined ? {} : { pinFolder: pin }),
    });
    const host = await FilterHost.create({
      slots: SLOTS,
      batchBytesMax: BATCH_BYTES_MAX,
      annotationBytesMax: ANNOTATION_BYTES_MAX,
      recordsMax: RECORDS_MAX,
      budgetCaps: config.filterBudget,
      acceptance: config.filterLimits,
      onReport: (report) => agent?.filterReport(report),
    });
    const table = new ProcessTable({ processesMax: config.processesMax });
    const hooks = openHooks(config, identity, sensor, table);
    const pods = rules === undefined ? undefined : new NarrowedPods(sensor.narrowingNumbers, rules);
    agent = new Agent({ config, identity, sensor, host, trust, spool, table, pods, bootId: boot, ...hooks });
    await agent.#begin();
    await agent.#listen();
    return agent;
  }

  async #begin(): Promise<void> {
    // Whatever an agent before this one had taken and not accounted for is lost, and is told of.
    const { spool } = this;
    const { accounting, losses } = splitBooks(spool?.recovered.accounting);
    const books = decodeAccounting(accounting, this.#bootId);
    const gone = this.#accounting.resume(books ?? [], this.#sensor.produced());
    if (!this.#sensor.countersPinned) {
      // New counters: numbers go on where the last agent stopped, or ids would come twice.
      this.#sensor.setProduced([...this.#accounting.next]);
    }
    // Without books of this boot, what was numbered before a new spool was made went elsewhere, or nobody wanted it.
    const elsewhere = books === undefined && spool?.recovered.isNew !== false;
    if (elsewhere) this.#accounting.told(gone);
    const counted = this.#countedLosses();
    const goesOn = books !== undefined && this.#sensor.countersPinned;
    this.#lossBooks.resume(
      losses,
      {
        scratchBusy: goesOn ? Math.min(losses.scratchBusy, counted.scratchBusy) : counted.scratchBusy,
        throttled: goesOn ? Math.min(losses.throttled, counted.throttled) : counted.throttled,
      },
      spool?.eventsGivenUp ?? 0,
    );
    // Before the first event: who is killed with it, and before a batch was stored, leaves books all the same.
    if (books === undefined && spool !== undefined) {
      const empty = new BatchWriter({
        bootId: this.#bootId,
        node: this.config.nodeName,
        cluster: this.identity.clusterName,
      });
      await this.#lossBooks.append(empty.finish(), this.#accounting.encode());
    }
    this.#sensor.attach();
    if (this.#marker.begin(this.bootIdText))
      this.#watch.tell('the agent before this one ended without being told to');
    this.#watch.start();
    if (throttlesAny(this.config.throttles)) this.#throttles.start();
    seedFromProc(this.#table);
    if (!elsewhere) this.#loseNumbers(LossStage.agentDown, gone);
    this.pipeline.pump();
    this.#timer = setInterval(() => this.#settle(), SETTLE_MS);
  }

  async #listen(): Promise<void> {
    this.#socket = await AgentSocket.open({
      path: this.config.socketPath,
      owner: this.config.socketOwner,
      json: {
        details: this.config.details,
        ancestors: Math.max(0, this.config.ancestors - 1),
        stackNames: new StackNames(),
      },
      status: () => this.status(),
      metrics: () => metricsText(this.metrics()),
      processes: () => this.processes(),
      observe: (observer) => this.pipeline.observe(observer),
      hooks: (measureMs) => hookStates(this.#policies, measureMs),
      setMode: (policy, mode) =>
        this.desired.setMode(policy, mode).catch((error: unknown) => {
          throw error instanceof SetModeError ? new RangeError(error.message) : error;
        }),
    });
  }

  #sayTampered(message: string): void {
    this.fail('tamper', new Error(message));
    this.pipeline.say(tamperRecord(message, { timeNs: nowNs(), sequence: this.pipeline.nextSequence() }));
  }

  /** Looks for gaps in the numbers, and at what the kernel stage has counted as lost. */
  #settle(): void {
    this.#join.bootToUnixNs = clockOffsetNs('boottime', 'realtime');
    this.#accounting.numbered(this.#sensor.produced(), this.#ring.unreadBytes() === 0);
    this.#loseNumbers(LossStage.ringFull, this.#accounting.settle());
    this.#settleCounters();
    this.pipeline.pump();
  }

  /** Looks at what was lost before it had a number, and tells of all that is not yet told of. */
  #settleCounters(): void {
    const sensor = this.#sensor.skipped();
    const hooks = (this.#policies?.hooks() ?? []).reduce(
      (sum, { program }) => sum + Number(program.recursionMisses),
      0,
    );
    // Counts go with the programs of policies that are taken out of force.
    const skipped = sensor - this.#skipped.sensor + Math.max(0, hooks - this.#skipped.hooks);
    this.#skipped = { sensor, hooks };
    const counted = this.#countedLosses();
    this.#lossBooks.sawScratchBusy(counted.scratchBusy);
    this.#lossBooks.sawThrottled(counted.throttled);
    if (skipped > 0) this.#lossBooks.lose(LossStage.programSkipped, skipped);
    this.#lossBooks.tell();
  }

  /** What the kernel stage has counted of what it lost before it had a number, or held back. */
  #countedLosses(): CountedLosses {
    const counters = this.#sensor.counters();
    return { scratchBusy: counters.scratch_busy ?? 0, throttled: counters.throttled ?? 0 };
  }

  /** Loses numbers of the kernel's: they are in the books with the batch that holds the event of it. */
  #loseNumbers(stage: number, losses: readonly CpuLoss[]): void {
    const count = losses.reduce((sum, loss) => sum + loss.count, 0);
    if (count > 0) this.#lossBooks.tellNumbers(stage, count, () => this.#accounting.told(losses));
  }

  /** What the spool refuses, or has given up. */
  spoolLost(stage: SpoolLossStage): void {
    if (stage === 'upload') this.#lossBooks.gaveUp(this.spool?.eventsGivenUp ?? 0);
    else this.#lossBooks.refused(stage === 'sink' ? LossStage.sink : LossStage.spoolFull);
  }

  fail(code: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#errors.push({ code, message, timeMs: Date.now() });
    if (this.#errors.length > ERRORS_MAX) this.#errors.shift();
    process.stderr.write(
      `weir-agent: ${code}: ${process.env.WEIR_DEBUG === undefined || !(error instanceof Error) ? message : error.stack}\n`,
    );
  }

  filterReport(report: FilterReport): void {
    if (report.type === 'log' || report.type === 'release') {
      const level = report.type === 'log' ? (logLevels[report.level] ?? 'error') : 'info';
      const text = report.type === 'log' ? report.text : report.reason;
      this.#filterLog.push({ filter: report.filter, level, text, timeMs: Date.now() });
      if (this.#filterLog.length > FILTER_LOG_LINES_MAX) this.#filterLog.shift();
      return;
    }
    const who = 'filter' in report ? `filter ${report.filter}: ` : '';
    this.fail(`filter-${report.type}`, `${who}${report.reason}`);
  }

  setRelease(sequence: number): void {
    this.#join.releaseSequence = sequence;
  }

  get bootIdText(): string {
    return Buffer.from(this.#bootId).toString('hex');
  }

  /** Maps of the kernel stage, for programs that share them. */
  get sharedMaps(): Sensor['maps'] {
    return this.#sensor.maps;
  }

  /** What each CPU has numbered, and what became of it. */
  books(): { produced: number } & CpuBooks {
    const produced = this.#sensor.produced().reduce((sum, count) => sum + count, 0);
    return { produced, ...this.#accounting.totals() };
  }

  get losses(): Readonly<Record<string, number>> {
    return this.#losses;
  }

  get errors(): readonly AgentError[] {
    return this.#errors;
  }

  status(): AgentStatus {
    const { stats } = this.pipeline;
    const totals = this.#accounting.totals();
    const spool = this.spool?.stats();
    const table = this.#table.handle.numbers();
    return {
      agentVersion,
      pid: process.pid,
      node: this.config.nodeName,
      cluster: this.identity.clusterName,
      kernel: release(),
      bootId: this.bootIdText,
      startedMs: this.#startedMs,
      monitor: this.config.monitor,
      ...(this.controlPlane === undefined ? {} : { controlPlane: this.controlPlane }),
      releaseSequence: this.#join.releaseSequence,
      policies: this.desired.policies(),
      filters: this.desired.filters(),
      filterLog: this.#filterLog,
      ...(this.#trust.required ? { filterKeys: this.#trust.keys.map(({ id }) => id) } : {}),
      events: {
        produced: this.#sensor.produced().reduce((sum, count) => sum + count, 0),
        handled: totals.handled,
        kept: stats.kept,
        dropped: stats.dropped,
        alerts: stats.alerts,
      },
      losses: { ...this.#losses },
      ...throttleStatus(this.#throttles),
      tamper: { count: this.#watch.count, current: this.#watch.current },
      processes: {
        entries: table.size,
        entriesMax: this.#table.processesMax,
        bytesMax: this.#table.bytesMax,
        evicted: table.evictedRunning,
        orphans: this.#join.orphans,
      },
      ring: { bytes: this.#ring.capacityBytes, pendingBytes: this.#ring.pendingBytes() },
      ...(spool === undefined
        ? {}
        : {
            spool: {
              bytes: spool.bytes,
              bytesMax: spool.bytesMax,
              waitingSegments: spool.sealedSegments,
              appendedRecords: spool.appendedRecords,
              acknowledgedRecords: spool.acknowledgedRecords,
            },
          }),
      actions: this.#actions.counts(),
      subscribers: {
        current: this.#socket?.subscribers ?? 0,
        droppedEvents: this.#socket?.droppedEvents ?? 0,
      },
      kernelCounters: this.#sensor.counters(),
      errors: this.#errors,
    };
  }

  metrics(): Metric[] {
    return agentMetrics({
      status: this.status(),
      stats: this.pipeline.stats,
      join: this.#join,
      keptWithoutKeys: this.desired.keptWithoutKeys,
      stringsRefused: this.#table.handle.numbers().stringsRefused,
      throttles: this.#throttles,
      policies: this.#policies,
    });
  }

  /** The process table, a JSON line each. */
  *processes(): Generator<string> {
    const view = new DataView(this.#table.images.buffer);
    for (const slot of this.#table.slots()) {
      const entry = readProcessEntry(view, slot * PROCESS_ENTRY_BYTES);
      const text = (span: { offset: number; length: number }) =>
        this.#table.textOf(slot, span.offset, span.length);
      yield jsonText({
        pid: entry.pid,
        parent_pid: entry.parentPid,
        start_ns: entry.startNs.toString(),
        exec_ns: entry.execNs.toString(),
        uid: entry.uid,
        binary: text(entry.binary),
        arguments: text(entry.arguments).split('\0'),
        cwd: text(entry.cwd),
        container_id: text(entry.containerId),
        exited: this.#table.isExited(slot),
      });
    }
  }

  /** Prints events to a stream. */
  get socket(): AgentSocket | undefined {
    return this.#socket;
  }

  /** Detaches everything, keeps what was read, and ends. */
  /** Tells which containers there are: exactly these. Without it, policies that select by them are refused. */
  async setWorkloads(workloads: readonly Workload[]): Promise<void> {
    this.#pods?.set(workloads);
    await this.#policies?.setWorkloads(workloads);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#watch.close();
    await this.#socket?.close();
    this.#actions.close();
    // Counts of skipped runs go with the programs.
    this.#settleCounters();
    await this.#policies?.close();
    this.#hookKernel?.close();
    this.#sensor.detach();
    this.#throttles.close();
    await this.pipeline.drained();
    this.#settleCounters();
    await this.#lossBooks.idle();
    await this.pipeline.drained();
    await this.pipeline.stop();
    this.#ring.close();
    await this.#host.close();
    await this.spool?.close();
    this.#sensor.close();
    this.#marker.end();
  }
}

function nowNs(): bigint {
  // hrtime is the monotonic clock; a suspended machine is the difference.
  return process.hrtime.bigint() + clockOffsetNs('monotonic', 'boottime');
}

/** The filters of processes as the kernel is told them; undefined where there are none. @throws {RangeError} */
function narrowingRules({ narrowing }: AgentConfig): NarrowingRules | undefined {
  if (narrowing.allowed.length + narrowing.denied.length === 0) return undefined;
  const inodes = readHostNamespaces();
  const inode = (kind: number) => (inodes[kind] === undefined ? undefined : Number(inodes[kind]));
  return new NarrowingRules(narrowing, {
    hostPidNamespace: inode(NamespaceKind.pid),
    hostMntNamespace: inode(NamespaceKind.mnt),
    realPath: hostRealPath(),
  });
}

/** What policies need of the kernel; where it is not to be had, why. */
function openHooks(
  config: AgentConfig,
  { nodeLabels }: AgentIdentity,
  sensor: Sensor,
  table: ProcessTable,
): { policies: PolicySet | undefined; hookKernel: HookKernel | undefined; noPolicies: string } {
  const kernel = new HookKernel({
    objectPath: join(config.bpfFolder, 'hook.bpf.o'),
    sharedMaps: sensor.maps,
    throttles: throttlesAny(config.throttles),
  });
  try {
    kernel.open();
  } catch (error) {
    kernel.close();
    const reason = error instanceof Error ? error.message : String(error);
    return {
      policies: undefined,
      hookKernel: undefined,
      noPolicies: `no policy can be loaded here: ${reason}`,
    };
  }
  const policies = new PolicySet({
    kernel,
    hostNamespaces: readHostNamespaces(),
    processes: () => knownProcesses(table),
    refusedActions: (policy) => refusedActions(policy, config.actionHosts),
    nodeLabels,
  });
  return { policies, hookKernel: kernel, noPolicies: '' };
}
