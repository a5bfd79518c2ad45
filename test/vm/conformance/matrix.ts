// SPDX-License-Identifier: Apache-2.0
// Owns the conformance matrix: hook kind × argument type × operator × action. What a cell says as a selector, what a
// process does that it means and another that it does not; and what the planner says of it.
import { PolicyError, plan, resolveArgumentTypes, typeInfo, unsupported, validate } from '@weir/policy';
import { actionNames, argumentOperatorNames, policyOfDocument, typeNames } from '@weir/policy/testing';
import { type Carrier, type HookKind, hookKinds } from './carrier.js';
import { carriers } from './carriers.js';

export { hookKinds };
export const kinds = Object.keys(hookKinds) as HookKind[];
/** Reading the argument, without a condition on it. */
export const noOperator = '';
export const operators: readonly string[] = [noOperator, ...argumentOperatorNames];
export const actions: readonly string[] = actionNames;
/** Of spellings of one type the first stands for all. */
export const types: readonly string[] = typeNames.filter((name, at) => {
  const info = typeInfo(name);
  return typeNames.findIndex((other) => typeInfo(other)?.type === info?.type) === at;
});
export const program = '/weir/bin/cells';
/** What calls return that are denied: an errno that none of the deeds returns by itself. */
export const deniedError = -125;
const signal = 12;
/** The function whose callers ask the enforcers. */
export const askedBy = 'security_task_setioprio';
/** Where the numbers of cells begin: they are descriptors and ports as well. */
export const firstCell = 100;

export interface Cell {
  readonly carrier: Carrier;
  readonly type: string;
  readonly operator: string;
  readonly action: string;
  readonly number: number;
  /** Of its argument in the policy, where that reads it as several types. */
  readonly position?: number;
  /** Of its policy among those that are in force together; 0 by default. */
  readonly policy?: number;
}

interface Term {
  readonly index: number;
  readonly operator: string;
  readonly values: readonly string[];
}

/** What stands in a term, and what a process passes that it holds for, and another for which it does not. */
interface Trial {
  readonly values: readonly string[];
  readonly yes: readonly string[];
  readonly no: readonly string[];
  /** Values of the same operator that hold for nothing that can be passed, where `no` cannot be done. */
  readonly opposite?: readonly string[];
  /** Where the address that is asked for is what tells cells apart otherwise. */
  readonly mark?: Term;
  /** The same of who does something else, where that is told by another address. */
  readonly markOfOther?: Term;
}

function integerTrial(operator: string, negative: boolean, position = 0): Trial {
  const trial = (values: readonly string[], yes: number, no: number): Trial => ({
    values,
    yes: [String(yes)],
    no: [String(no)],
  });
  switch (operator) {
    case 'NotEqual':
    case 'NotIn':
      return trial(['77', '79'], 78, 77);
    case 'GT':
      return negative ? trial(['-2'], -1, -3) : trial(['70'], 71, 70);
    case 'LT':
      return negative ? trial(['-1'], -2, 1) : trial(['70'], 69, 70);
    case 'InRange':
      return negative ? trial(['-9:-7'], -8, 8) : trial(['60:70'], 65, 71);
    case 'NotInRange':
      return trial(['60:70'], 71, 65);
    case 'InMap':
      return trial(['5', '60:70'], 65, 71);
    case 'NotInMap':
      return trial(['5', '60:70'], 71, 5);
    case 'Mask':
      return trial(['8'], 12, 4);
    case 'CelExpr':
      return trial([`arg${position} == 77`], 77, 78);
    default:
      return trial(['77', '79'], 77, 78);
  }
}

/** Texts that begin with the mark of their cell. */
function textTrial(operator: string, mark: string): Trial {
  const [yes, no] = [`${mark}yes`, `${mark}no`];
  const trial = (...values: string[]): Trial => ({ values, yes: [yes], no: [no] });
  switch (operator) {
    case 'NotEqual':
    case 'NotIn':
      return trial(no, `${mark}other`);
    case 'Prefix':
      return trial(`${mark}ye`);
    case 'NotPrefix':
      return trial(`${mark}n`);
    case 'Postfix':
      return trial('yes', 'yep');
    case 'NotPostfix':
      return trial('no');
    case 'SubString':
      return trial('_ye');
    case 'SubStringIgnCase':
      return trial('_YE');
    case 'CelExpr':
      return trial(`arg0 == "${yes}"`);
    case 'Family':
      return { values: ['AF_UNIX'], yes: [yes], no: [no], opposite: ['AF_INET'] };
    default:
      return trial(yes, `${mark}yep`);
  }
}

const fileKinds: Readonly<Record<string, string>> = { r: 'reg', d: 'dir', p: 'fifo', b: 'blk' };

function pathTrial(operator: string, mark: string, carrier: Carrier): Trial {
  const text = textTrial(operator, mark);
  if (!/FileType$/.test(operator)) return { ...text, yes: ['r', ...text.yes], no: ['r', ...text.no] };
  const [meant, other] = carrier.files ?? ['r', 'd'];
  const negated = operator.startsWith('Not');
  return {
    values: [fileKinds[negated ? other : meant] ?? ''],
    yes: [meant, `${mark}yes`],
    no: [carrier.files === undefined ? meant : other, `${mark}no`],
    opposite: [fileKinds[negated ? meant : other] ?? ''],
  };
}

/** Names of functions, which cannot bear a mark. */
function functionTrial(operator: string): Trial {
  const values: Readonly<Record<string, readonly string[]>> = {
    NotEqual: ['vfs_unlink'],
    NotIn: ['vfs_unlink'],
    Prefix: ['vfs_r'],
    NotPrefix: ['vfs_u'],
    Postfix: ['_rmdir'],
    NotPostfix: ['_unlink'],
    SubString: ['_rm'],
    SubStringIgnCase: ['_RM'],
    CelExpr: ['arg0 == "vfs_rmdir"'],
  };
  return { values: values[operator] ?? ['vfs_rmdir'], yes: ['vfs_rmdir'], no: ['vfs_unlink'] };
}

/** Sets of capabilities: numbers, of which the kernel knows 41 bits. */
function capabilityTrial(operator: string, { index, types: [type] }: Carrier): Trial {
  if (operator !== 'CapabilitiesGained') return integerTrial(operator, false);
  const newer = type === 'cred' ? '2' : index === 4 ? '3' : '4';
  return { values: [newer], yes: ['77', 'yes'], no: ['77', 'no'] };
}

function syscallTrial(operator: string): Trial {
  const negated = operator.startsWith('Not');
  const [prctl, umask] = [['157'], ['95']];
  return { values: [negated ? 'umask' : 'prctl'], yes: prctl, no: umask };
}

const addressOf = (group: number, number: number) => `127.${group}.${number >> 8}.${number & 255}`;

/** FAMILY PROTOCOL CONNECTED SOURCE PORT DESTINATION PORT, as cells.c takes them. */
function socketTrial(operator: string, number: number, carrier: Carrier, index: number): Trial {
  const [source, destination, other] = [1, 2, 3].map((group) => addressOf(group, number));
  const isAddress = carrier.types.includes('sockaddr');
  const port = 3000 + number;
  const base = {
    family: '4',
    protocol: 'udp',
    connected: 'yes',
    source,
    sourcePort: 2000,
    destination,
    destinationPort: port,
  };
  const parts = (change: Partial<Record<keyof typeof base, string | number | undefined>>) =>
    Object.values({ ...base, ...change }).map(String);
  const by = (name: string, value: string | number | undefined) => ({
    mark: { index, operator: name, values: [String(value)] },
  });
  const elsewhere = {
    yes: parts({}),
    no: parts({ destination: other }),
    ...by('DAddr', destination),
    markOfOther: by('DAddr', other).mark,
  };
  const negated = /^Not/.test(operator);
  const plain = operator.replace(/^Not/, '');
  // An address by itself has one end: it is meant by both spellings.
  const end = isAddress || plain.startsWith('D') ? 'destination' : 'source';
  switch (plain) {
    case 'SAddr':
    case 'DAddr':
      return {
        values: [String(negated ? other : base[end])],
        yes: parts({}),
        no: parts({ [end]: other }),
        ...(end === 'destination' && !isAddress ? by('SAddr', source) : by('DPort', port)),
      };
    case 'SPort':
    case 'DPort': {
      const [meant, another] = [base[`${end}Port`], 999];
      return {
        values: [String(negated ? another : meant)],
        yes: parts({}),
        no: parts({ [`${end}Port`]: another }),
        ...by('DAddr', destination),
      };
    }
    case 'SPortPriv':
    case 'DPortPriv': {
      const [high, low] = [parts({}), parts({ [`${end}Port`]: 600 })];
      return { values: [], yes: negated ? high : low, no: negated ? low : high, ...by('DAddr', destination) };
    }
    case 'Family': {
      const ipv6 = carrier.realIpv6 === true ? { source: '::1', destination: '::1' } : {};
      return {
        values: ['AF_INET'],
        yes: parts({}),
        no: parts({ family: '6', ...ipv6 }),
        ...by('DPort', port),
      };
    }
    case 'Protocol':
      return carrier.opposite?.includes(plain) === true
        ? { values: ['IPPROTO_TCP'], opposite: ['IPPROTO_UDP'], ...elsewhere }
        : {
            values: ['IPPROTO_UDP'],
            yes: parts({}),
            no: parts({ protocol: 'lite' }),
            ...by('DAddr', destination),
          };
    case 'State':
      return carrier.opposite?.includes(plain) === true
        ? { values: ['TCP_CLOSE', 'TCP_SYN_SENT'], opposite: ['TCP_LISTEN'], ...elsewhere }
        : {
            values: ['TCP_ESTABLISHED'],
            yes: parts({}),
            no: parts({ connected: 'no' }),
            ...by('SAddr', source),
          };
    default:
      return { values: ['arg0 == 77'], yes: parts({}), no: parts({}), ...by('DAddr', destination) };
  }
}

function trialOf(cell: Cell, folder: string): Trial {
  const { carrier, operator, number } = cell;
  const mark = `${carrier.values === 'path' || carrier.inFolder === true ? `${folder}/` : ''}c${number}_`;
  switch (carrier.values) {
    case 'integer':
      return integerTrial(
        operator,
        carrier.negative === true && typeInfo(cell.type)?.signed === true,
        cell.position,
      );
    case 'syscall':
      return syscallTrial(operator);
    case 'text': {
      // A name of a Unix socket that lies in no folder begins with "@".
      return textTrial(operator, cell.type === 'sockaddr_un' ? `@${mark}` : mark);
    }
    case 'path':
      return pathTrial(operator, mark, carrier);
    case 'function':
      return functionTrial(operator);
    case 'capabilities':
      return capabilityTrial(operator, carrier);
    case 'socket':
      return socketTrial(operator, number, carrier, carrier.index);
    case 'none':
      return { values: [], yes: ['77'], no: ['77'] };
  }
}

/** The name of the program by which a cell's process is told. */
export function linkOf(folder: string, number: number): string {
  return `${folder}/run${number}`;
}

/** Whether everything that a process could do on the hook holds: then another selector says the opposite. */
function hasOpposite(cell: Cell): boolean {
  return cell.carrier.opposite?.includes(cell.operator) === true;
}

/** Terms by which a cell is told from the others; `which` narrows it to one of its processes. */
function markOf(
  cell: Cell,
  folder: string,
  trial: Trial,
  which: '' | 'yes' | 'no',
): Record<string, object[]> {
  const { carrier, number, type } = cell;
  switch (carrier.mark) {
    case 'number': {
      const index = carrier.others?.[0]?.index;
      return { matchArgs: [{ index, operator: 'Equal', values: [String(number)] }] };
    }
    case 'binary':
      return { matchBinaries: [{ operator: 'In', values: [linkOf(folder, number)] }] };
    case 'address': {
      const { mark, markOfOther = mark } = trial;
      if (mark === undefined || markOfOther === undefined) return {};
      const both = { ...mark, values: [...new Set([...mark.values, ...markOfOther.values])] };
      return { matchArgs: [which === '' ? both : which === 'no' ? markOfOther : mark] };
    }
    case 'prefix': {
      const base = `${carrier.values === 'path' || carrier.inFolder === true ? `${folder}/` : ''}c${number}_`;
      const text = `${type === 'sockaddr_un' ? '@' : ''}${base}${which}`;
      return { matchArgs: [{ index: carrier.index, operator: 'Prefix', values: [text] }] };
    }
  }
}

function actionOf({ action, carrier }: Cell): object {
  switch (action) {
    case 'Signal':
      return { action, argSig: signal };
    case 'Override':
    case 'NotifyEnforcer':
      return { action, argError: deniedError };
    case 'TrackSock':
    case 'UntrackSock':
      return { action, argSock: carrier.index };
    case 'GetUrl':
      return { action, argUrl: 'http://127.0.0.1:9/' };
    case 'DnsLookup':
      return { action, argFqdn: 'weir.invalid' };
    case 'Set':
      return { action, argIndex: 1, argValue: 7 };
    default:
      return { action };
  }
}

type Selector = Record<string, object[]>;

/** Puts terms on the argument and on others together; of a return they stand apart. */
function selectorOf(cell: Cell, mark: Selector, term: object | undefined, action: object): Selector {
  const isReturn = cell.carrier.kind === 'return';
  const onReturn = isReturn && cell.carrier.mark === 'prefix';
  const marks = mark.matchArgs ?? [];
  const args = [...(onReturn ? [] : marks), ...(isReturn || term === undefined ? [] : [term])];
  const returned = [...(onReturn ? marks : []), ...(isReturn && term !== undefined ? [term] : [])];
  return {
    ...mark,
    matchArgs: args,
    ...(isReturn ? { matchReturnArgs: returned, matchReturnActions: [action] } : { matchActions: [action] }),
  };
}

/** Where a cell's argument is read of several that are of other types, it is named by its position. */
function argumentOf({ carrier, operator, position }: Cell): object {
  // An expression names its arguments itself.
  if (operator === 'CelExpr') return {};
  return position === undefined ? { index: carrier.index } : { args: [position] };
}

/** The selectors of a cell: the first is what it says, the others are of its making. */
export function selectorsOf(cell: Cell, folder: string): Selector[] {
  const trial = trialOf(cell, folder);
  const term = (values: readonly string[]) =>
    cell.operator === noOperator ? undefined : { ...argumentOf(cell), operator: cell.operator, values };
  const action = actionOf(cell);
  const select = (which: '' | 'yes' | 'no', values: readonly string[]) =>
    selectorOf(cell, markOf(cell, folder, trial, which), term(values), action);
  const selectors =
    hasOpposite(cell) && trial.opposite !== undefined
      ? [select('yes', trial.values), select('no', trial.opposite)]
      : [select('', trial.values)];
  // Of what is not told nothing is seen, unless another selector tells of everything else.
  if (cell.action === 'NoPost')
    selectors.push(selectorOf(cell, markOf(cell, folder, trial, ''), undefined, { action: 'Post' }));
  return selectors;
}

/** What a process does that the cell means, and what another does, as lines of cells.c. */
export function deedsOf(cell: Cell, folder: string): readonly [yes: string, no: string] {
  const { carrier, number, action } = cell;
  const trial = trialOf(cell, folder);
  const flags = [
    ...(carrier.mark === 'binary' ? ['x'] : []),
    ...(action === 'Sigkill' ? ['k'] : []),
    ...(action === 'CleanupEnforcerNotification' ? [`a${cell.policy ?? 0}`] : []),
  ].join('');
  const lineOf = (parts: readonly string[], mark: number) => {
    const path = `${folder}/c${number}`;
    const passed =
      carrier.mark === 'number'
        ? [...parts, String(mark), path]
        : carrier.values === 'text'
          ? [...parts, path]
          : parts;
    return [flags === '' ? '-' : flags, linkOf(folder, mark), ...carrier.deed(passed)].join('\t');
  };
  // Without a condition another cell's process is the one that is not meant.
  if (cell.operator !== noOperator) return [lineOf(trial.yes, number), lineOf(trial.no, number)];
  const other = { ...cell, number: firstCell - 1 };
  return [lineOf(trial.yes, number), lineOf(trialOf(other, folder).yes, other.number)];
}

/** The hook of a policy with these selectors, in the list that it belongs to. */
function hookOf(
  carrier: Carrier,
  types: readonly string[],
  selectors: readonly Selector[],
): Record<string, object[]> {
  const { kind, hook, index, more = {}, others = [] } = carrier;
  const read = types.map((type) => ({ index, type, ...more }));
  const args = kind === 'return' ? others : [...read, ...others];
  const common = { ...(args.length > 0 ? { args } : {}), selectors };
  const [before = '', after = ''] = hook.split(':');
  switch (kind) {
    case 'function':
      return { kprobes: [{ call: hook, syscall: false, ...common }] };
    case 'syscall':
      return { kprobes: [{ call: hook, syscall: true, ...common }] };
    case 'return':
      return {
        kprobes: [
          {
            call: hook,
            syscall: hook.startsWith('sys_'),
            return: true,
            returnArg: { index: 0, type: types[0] },
            ...common,
          },
        ],
      };
    case 'fentry':
      return { fentries: [{ call: hook, syscall: false, ...common }] };
    case 'lsm':
      return { lsmhooks: [{ hook, ...common }] };
    case 'tracepoint':
      return { tracepoints: [{ subsystem: before, event: after, ...common }] };
    case 'raw':
      return { tracepoints: [{ subsystem: before, event: after, raw: true, ...common }] };
    case 'uprobe':
      return { uprobes: [{ path: program, symbols: [hook], ...common }] };
    case 'usdt':
      return { usdts: [{ path: program, provider: before, name: after, ...common }] };
  }
}

/** Asks the enforcers, in the policy of a cell that takes that back: as cells.c asks for a policy by its number. */
function asker(policy: number) {
  const priority = ((1 + Math.floor(policy / 8)) << 13) | (policy % 8);
  return {
    call: askedBy,
    syscall: false,
    args: [{ index: 1, type: 'int' }],
    selectors: [
      {
        matchArgs: [{ index: 1, operator: 'Equal', values: [String(priority)] }],
        matchActions: [{ action: 'NotifyEnforcer', argError: deniedError }],
      },
    ],
  };
}

/** A policy of one hook, whose selectors are those of cells. */
export function policyOfCells(
  name: string,
  carrier: Carrier,
  types: readonly string[],
  selectors: readonly Selector[],
  withEnforcers: boolean,
  number = 0,
): object {
  const spec = hookOf(carrier, types, selectors);
  if (withEnforcers) {
    spec.enforcers = [{ calls: ['security_task_getsid'] }];
    // Last, so that the hook of the matrix has the number 0.
    spec.kprobes = [...(spec.kprobes ?? []), asker(number)];
  }
  return { apiVersion: 'cilium.io/v1alpha1', kind: 'TracingPolicy', metadata: { name }, spec };
}

export function notifies(action: string): boolean {
  return /Enforcer/.test(action);
}

/** What the planner says of a policy: undefined where it plans it, else why not. */
function refusalOf(document: object): string | undefined {
  try {
    // What a kernel would say of the hooks whose argument the matrix leaves to it: programs have no types.
    const { policy } = resolveArgumentTypes(policyOfDocument(document), ({ kind }) =>
      kind === 'syscall' || kind === 'user' ? undefined : { type: 'uint64' },
    );
    const [first] = [...validate(policy).errors, ...unsupported(policy)];
    if (first !== undefined) return first.message;
    plan([{ id: 1, policy }]);
    return undefined;
  } catch (error) {
    if (error instanceof PolicyError) return error.issues[0]?.message ?? error.message;
    throw error;
  }
}

/** Why the planner refuses a cell; undefined where it takes it. */
export function cellRefusal(
  carrier: Carrier,
  type: string,
  operator: string,
  action: string,
): string | undefined {
  const cell: Cell = { carrier, type, operator, action, number: firstCell };
  return refusalOf(policyOfCells('cell', carrier, [type], selectorsOf(cell, '/cells'), notifies(action)));
}

/** The carrier of a type on a kind of hook, if there is one. */
export function carrierOf(kind: HookKind, type: string): Carrier | undefined {
  return carriers.find((carrier) => carrier.kind === kind && carrier.types.includes(type));
}

/** A hook of a kind as the planner would see it, for types that no hook of the kind passes. */
export function nominalCarrier(kind: HookKind, type: string): Carrier {
  const hooks: Readonly<Record<HookKind, string>> = {
    function: 'vfs_open',
    syscall: 'sys_close',
    return: 'vfs_open',
    fentry: 'vfs_open',
    lsm: 'file_open',
    tracepoint: 'sched:sched_process_exec',
    raw: 'sched:sched_process_exec',
    uprobe: 'cell_value',
    usdt: 'weir:cell',
  };
  const valuesOfFamily: Readonly<Partial<Record<string, Carrier['values']>>> = {
    text: 'text',
    path: 'path',
    socket: 'socket',
    unix: 'text',
    name: 'text',
    capabilities: 'capabilities',
    credentials: 'capabilities',
    syscall: 'syscall',
  };
  return {
    kind,
    types: [type],
    hook: hooks[kind],
    index: kind === 'tracepoint' ? 4 : 0,
    mark: 'binary',
    values: valuesOfFamily[typeInfo(type)?.family ?? ''] ?? 'integer',
    deed: () => [],
  };
}
