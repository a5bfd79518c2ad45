// SPDX-License-Identifier: Apache-2.0
// Owns what the agent's Unix socket answers. Plain types: the command line uses them too.

export interface PolicyStatus {
  readonly name: string;
  readonly namespace: string;
  readonly state: 'loaded' | 'partial' | 'refused' | 'skipped';
  readonly mode: 'enforce' | 'monitor';
  /** The mode was set by hand, whatever the policy's own option says. */
  readonly modeIsSet?: boolean;
  readonly reason?: string;
  /** Functions that it is attached to. */
  readonly hooks: readonly string[];
  /** Functions that this kernel has not, and without which the policy does. */
  readonly skippedHooks: readonly string[];
  /** System calls that take effect on this kernel though their caller is killed, and why, in words. */
  readonly unprevented?: readonly string[];
  readonly digest?: string;
}

export interface FilterState {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly state: 'loaded' | 'refused' | 'quarantined';
  /** Of a quarantine: timeout, budget, traps, load, lying, crash. */
  readonly code?: string;
  readonly reason?: string;
  readonly events: number;
  readonly kept: number;
  readonly dropped: number;
  readonly traps: number;
  readonly alerts: number;
  readonly cpuNs: number;
  readonly memoryBytes: number;
  readonly fuel: number;
  /** Events that it held back: it fails closed, and is in quarantine. They are lost. */
  readonly heldBack: number;
  /** Labels that its manifest does not declare: left out. */
  readonly labelsRefused: number;
  /** Lines of its log beyond the limit: left out. */
  readonly logLinesLost: number;
}

export interface FilterLogLine {
  readonly filter: string;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly text: string;
  readonly timeMs: number;
}

/** What became of one kind of action that the agent does for a policy, since the agent started. */
export interface ActionState {
  readonly policy: string;
  readonly namespace: string;
  readonly action: string;
  readonly done: number;
  readonly failed: number;
  /** Over the policy's rate. */
  readonly rateLimited: number;
  /** No room among those that wait. */
  readonly noRoom: number;
  /** Why the last one failed. */
  readonly lastError?: string;
}

export interface AgentStatus {
  readonly agentVersion: string;
  readonly pid: number;
  readonly node: string;
  readonly cluster: string;
  readonly kernel: string;
  readonly bootId: string;
  readonly startedMs: number;
  readonly monitor: boolean;
  /** Undefined for an agent that stands alone. */
  readonly controlPlane?: {
    readonly url: string;
    readonly agentId: string;
    readonly connected: boolean;
    readonly error?: string;
    readonly lastContactMs?: number;
  };
  readonly releaseSequence: number;
  readonly policies: readonly PolicyStatus[];
  readonly filters: readonly FilterState[];
  /** What filters logged last, oldest first; at most 100 lines. */
  readonly filterLog: readonly FilterLogLine[];
  /** Ids of the authors' keys that filters must be signed by; undefined where none is asked for. */
  readonly filterKeys?: readonly string[];
  readonly events: {
    /** Numbered by the kernel since the counters were made. */
    readonly produced: number;
    readonly handled: number;
    readonly kept: number;
    readonly dropped: number;
    readonly alerts: number;
  };
  /** Events lost since the agent started, by loss_stage. */
  /** What was found to be changed by another hand: how often, and what is so now. */
  readonly tamper: { readonly count: number; readonly current: readonly string[] };
  readonly losses: Readonly<Record<string, number>>;
  /** Limits by throttle_scope, and who is throttled now; absent where there is no limit. */
  readonly throttles?: {
    readonly limits: Readonly<Record<string, string>>;
    readonly current: readonly {
      readonly scope: string;
      readonly cgroup: string;
      readonly policy: string;
      readonly pid: number;
      readonly heldBack: number;
    }[];
  };
  readonly processes: {
    readonly entries: number;
    readonly entriesMax: number;
    readonly bytesMax: number;
    readonly evicted: number;
    readonly orphans: number;
  };
  readonly ring: { readonly bytes: number; readonly pendingBytes: number };
  readonly spool?: {
    readonly bytes: number;
    readonly bytesMax: number;
    readonly waitingSegments: number;
    readonly appendedRecords: number;
    readonly acknowledgedRecords: number;
  };
  /** What became of actions that the agent does for policies, by policy and kind. */
  readonly actions: readonly ActionState[];
  readonly subscribers: { readonly current: number; readonly droppedEvents: number };
  readonly kernelCounters: Readonly<Record<string, number>>;
  readonly errors: readonly { readonly code: string; readonly message: string; readonly timeMs: number }[];
}

/** A hook, and what the policies on it have done. Counts are those of the hook's programs and policies in force. */
export interface HookState {
  /** The function, the LSM hook or the tracepoint. */
  readonly hook: string;
  /** How its program is attached: fentry, fmod_ret, lsm, … */
  readonly type: string;
  /** Calls at which the program ran, whoever called. */
  readonly hits: number;
  /** Runs that the kernel skipped, as it was in the midst of another. */
  readonly skipped: number;
  /** Terms that could not be decided. */
  readonly undecided: number;
  /** Of a run, where it was measured: see `measureMs`. */
  readonly nsPerRun?: number;
  /** Of the kernel: the program, and what is looked up. */
  readonly memoryBytes: number;
  readonly policies: readonly {
    readonly name: string;
    readonly namespace: string;
    readonly selectors: number;
    /** Absent where the kernel had no room to count. */
    readonly counts?: {
      readonly matches: number;
      readonly posted: number;
      readonly rateLimited: number;
      readonly lost: number;
      readonly enforced: number;
      readonly enforceFailed: number;
      readonly throttled: number;
    };
  }[];
}

/** Parameters of `GET /v1/events`. */
export interface EventsQuery {
  readonly format?: 'json' | 'compact';
  /** Ends after this many. */
  readonly limit?: number;
  /** Only these kinds (`exec`, `kprobe`, …). Otherwise all; as compact text, all but `clone`. */
  readonly kinds?: readonly string[];
  readonly policy?: string;
  readonly colour?: boolean;
}
