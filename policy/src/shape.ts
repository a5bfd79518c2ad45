// SPDX-License-Identifier: Apache-2.0
// Owns the shape of a policy document: every field of the whole language, its kind and its bounds, as zod schemas.
// Operators come out in their one canonical spelling. What fields mean together is judged in `validate.ts`.
import { z } from 'zod';
import {
  actionNames,
  argumentOperatorNames,
  binaryOperators,
  findArgumentOperator,
  findOperator,
  namespaceNames,
  setOperators,
  typeInfo,
  typeNames,
} from './names.js';
import { quote, suggestion } from './nearest.js';

/** Bounds on lists and texts. A policy past one is refused with the bound named. */
export const shapeLimits = {
  hooks: 1024,
  selectors: 512,
  /** matchArgs and its like in one selector. */
  terms: 64,
  values: 100_000,
  valueCharacters: 4096,
  arguments: 6,
  /** Functions in a list; a kernel has fewer system calls than 600. */
  listValues: 4096,
  messageCharacters: 256,
  tags: 16,
  nameCharacters: 253,
} as const;

const text = z.string().max(shapeLimits.valueCharacters);
const name = z.string().min(1).max(shapeLimits.nameCharacters);
const index = z.int().min(0).max(63);
const values = z.array(text).max(shapeLimits.values);

/** A word out of a list, in any letter case and spelling, brought to its canonical form. */
function word<Name extends string>(
  what: string,
  names: readonly Name[],
  find: (text: string) => Name | undefined = (given) => findOperator(given, names),
  hint: (given: string) => string = (given) => suggestion(given, names),
) {
  return z.string().transform((given, context): Name => {
    const found = find(given);
    if (found !== undefined) return found;
    context.addIssue({
      code: 'custom',
      message: `${quote(given)} is no ${what}: ${hint(given)}`,
      params: { policyCode: what === 'operator' ? 'wrong-operator' : 'wrong-value' },
    });
    return z.NEVER;
  });
}

const argumentTypeName = z.string().transform((given, context): string => {
  if (typeInfo(given) !== undefined) return given;
  context.addIssue({
    code: 'custom',
    message: `${quote(given)} is no argument type: ${suggestion(given, typeNames)}`,
  });
  return z.NEVER;
});

const argument = z.strictObject({
  index: index,
  type: argumentTypeName.default('auto'),
  label: text.optional(),
  resolve: text.optional(),
  btfType: text.optional(),
  btfTypeModule: text.optional(),
  sizeArgIndex: z.int().min(0).max(64).optional(),
  returnCopy: z.boolean().optional(),
  maxData: z.boolean().optional(),
  source: z.enum(['current_task', 'pt_regs']).optional(),
});

/** `data` reads beyond the arguments: its entries need no index. */
const dataArgument = argument.extend({ index: index.default(0) });

const argumentTerm = z.strictObject({
  index: index.optional(),
  args: z.array(index).max(shapeLimits.arguments).optional(),
  operator: word('operator', argumentOperatorNames, findArgumentOperator),
  values: values.default([]),
});

const binaryTerm = z.strictObject({
  operator: word('operator', binaryOperators),
  values: values.min(1),
  followChildren: z.boolean().optional(),
});

const pidTerm = z.strictObject({
  operator: word('operator', setOperators),
  values: values.min(1),
  isNamespacePID: z.boolean().optional(),
  followForks: z.boolean().optional(),
});

const namespaceTerm = z.strictObject({
  namespace: word('namespace', namespaceNames),
  operator: word('operator', setOperators),
  values: values.min(1),
});

const namespaceChangeTerm = z.strictObject({
  operator: word('operator', setOperators),
  values: z.array(word('namespace', namespaceNames)).min(1).max(namespaceNames.length),
});

const capabilityTerm = z.strictObject({
  type: word('kind of capability set', ['Effective', 'Inheritable', 'Permitted'] as const).default(
    'Effective',
  ),
  operator: word('operator', setOperators),
  isNamespaceCapability: z.boolean().optional(),
  values: values.min(1),
});

const labelSelector = z.strictObject({
  matchLabels: z.record(z.string(), text).optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: name,
        operator: word('operator', ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const),
        values: values.optional(),
      }),
    )
    .max(shapeLimits.terms)
    .optional(),
});

const workloadTerm = z.strictObject({
  podSelector: labelSelector.optional(),
  containerSelector: labelSelector.optional(),
  hostSelector: labelSelector.nullable().optional(),
});

/** Actions that the language had once, for a type that needs them no more. */
function actionHint(given: string): string {
  return /^(follow|unfollow|copy)fd$/i.test(given)
    ? 'leave it out, with its argFd and argName; an argument of the type fd is known by the path of the open file without it'
    : suggestion(given, actionNames);
}

const action = z.strictObject({
  action: word('action', actionNames, undefined, actionHint),
  rateLimit: z
    .union([z.string(), z.int().min(0)], { error: 'wants text such as "5", "5s", "1m" or "1h"' })
    .optional(),
  rateLimitScope: word('scope of a rate limit', ['thread', 'process', 'global'] as const).optional(),
  kernelStackTrace: z.boolean().optional(),
  userStackTrace: z.boolean().optional(),
  imaHash: z.boolean().optional(),
  argSig: z.int().optional(),
  argError: z.int().optional(),
  argRegs: z.array(text).max(32).optional(),
  argNewSymbol: text.optional(),
  argNewAddr: z.union([z.int().min(0), text]).optional(),
  argNewOffset: z.union([z.int().min(0), text]).optional(),
  argSock: index.optional(),
  argUrl: text.optional(),
  argFqdn: text.optional(),
  argIndex: index.optional(),
  argValue: z.union([z.int(), text]).optional(),
});

const selectorParts = {
  label: text.optional(),
  matchArgs: z.array(argumentTerm).max(shapeLimits.terms).optional(),
  matchData: z.array(argumentTerm).max(shapeLimits.terms).optional(),
  matchReturnArgs: z.array(argumentTerm).max(shapeLimits.terms).optional(),
  matchBinaries: z.array(binaryTerm).max(shapeLimits.terms).optional(),
  matchParentBinaries: z.array(binaryTerm).max(shapeLimits.terms).optional(),
  matchPIDs: z.array(pidTerm).max(shapeLimits.terms).optional(),
  matchNamespaces: z.array(namespaceTerm).max(shapeLimits.terms).optional(),
  matchNamespaceChanges: z.array(namespaceChangeTerm).max(shapeLimits.terms).optional(),
  matchCapabilities: z.array(capabilityTerm).max(shapeLimits.terms).optional(),
  matchCapabilityChanges: z.array(capabilityTerm).max(shapeLimits.terms).optional(),
  matchWorkloads: z.array(workloadTerm).max(shapeLimits.terms).optional(),
  matchActions: z.array(action).max(shapeLimits.terms).optional(),
  matchReturnActions: z.array(action).max(shapeLimits.terms).optional(),
};
const macro = z.strictObject(selectorParts);
const selector = z.strictObject({
  ...selectorParts,
  macros: z.array(name).max(shapeLimits.terms).optional(),
});

const common = {
  message: z.string().max(shapeLimits.messageCharacters).optional(),
  tags: z.array(text).max(shapeLimits.tags).optional(),
  args: z.array(argument).max(shapeLimits.arguments).optional(),
  selectors: z.array(selector).max(shapeLimits.selectors).optional(),
};
const ignore = z.strictObject({ callNotFound: z.boolean().optional() });
const returnArgument = argument.extend({ index: index.default(0) });

const kprobe = z.strictObject({
  call: name,
  /** True where it is not written, unless the name is that of no system call (`published.ts`). */
  syscall: z.boolean().optional(),
  return: z.boolean().optional(),
  data: z.array(dataArgument).max(shapeLimits.arguments).optional(),
  returnArg: returnArgument.optional(),
  returnArgAction: word('action at the return', ['Post', 'TrackSock', 'UntrackSock'] as const).optional(),
  ignore: ignore.optional(),
  ...common,
});

const tracepoint = z.strictObject({
  subsystem: name,
  event: name,
  raw: z.boolean().optional(),
  ...common,
});

const lsmHook = z.strictObject({ hook: name, ...common });

const addresses = z.array(z.union([z.int().min(0), text])).max(shapeLimits.hooks);
const uprobe = z.strictObject({
  path: text,
  symbols: z.array(name).max(shapeLimits.hooks).optional(),
  /** What `symbols` was before there could be several (`published.ts`). */
  symbol: name.optional(),
  offsets: addresses.optional(),
  addrs: addresses.optional(),
  refCtrOffsets: addresses.optional(),
  btfPath: text.optional(),
  return: z.boolean().optional(),
  returnArg: returnArgument.optional(),
  data: z.array(dataArgument).max(shapeLimits.arguments).optional(),
  binaryDigests: z.array(text).max(shapeLimits.hooks).optional(),
  ignore: ignore.optional(),
  ...common,
});

const usdt = z.strictObject({
  path: text,
  provider: name,
  name: name,
  btfPath: text.optional(),
  ...common,
});

const list = z.strictObject({
  name: name,
  type: z.enum(['syscalls', 'generated_syscalls', 'generated_ftrace']).optional(),
  values: z.array(text).max(shapeLimits.listValues).optional(),
  pattern: text.optional(),
  validated: z.boolean().optional(),
});

export const optionNames = [
  'policy-mode',
  'override-method',
  'disable-kprobe-multi',
  'disable-uprobe-multi',
  'uprobe-heap-size',
  'match-binaries',
  'on-undecided',
] as const;

const option = z.strictObject({
  name: word('option', optionNames),
  value: z.union([z.string(), z.boolean().transform(String)]),
});

export const specSchema = z.strictObject({
  kprobes: z.array(kprobe).max(shapeLimits.hooks).optional(),
  fentries: z.array(kprobe).max(shapeLimits.hooks).optional(),
  tracepoints: z.array(tracepoint).max(shapeLimits.hooks).optional(),
  lsmhooks: z.array(lsmHook).max(shapeLimits.hooks).optional(),
  uprobes: z.array(uprobe).max(shapeLimits.hooks).optional(),
  usdts: z.array(usdt).max(shapeLimits.hooks).optional(),
  lists: z.array(list).max(shapeLimits.hooks).optional(),
  loader: z.boolean().optional(),
  enforcers: z
    .array(z.strictObject({ calls: z.array(name).min(1).max(shapeLimits.hooks) }))
    .max(shapeLimits.hooks)
    .optional(),
  podSelector: labelSelector.optional(),
  containerSelector: labelSelector.optional(),
  hostSelector: labelSelector.nullable().optional(),
  nodeSelector: labelSelector.optional(),
  options: z.array(option).max(optionNames.length).optional(),
  selectorsMacros: z.record(name, macro).optional(),
});

/** What Kubernetes itself writes into `metadata` is let through: a policy may come from `kubectl get -o yaml`. */
const metadata = z.looseObject({
  name: z
    .string()
    .min(1)
    .max(shapeLimits.nameCharacters)
    .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, {
      error:
        'wants a Kubernetes name: small letters, digits, "-" and ".", beginning and ending with a letter or digit',
    }),
  namespace: z
    .string()
    .max(63)
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, {
      error: 'wants the name of a namespace: small letters, digits and "-"',
    })
    .optional(),
  annotations: z.record(z.string(), z.string()).nullable().optional(),
  labels: z.record(z.string(), z.string()).nullable().optional(),
});

export const documentSchema = z.strictObject({
  apiVersion: z.literal('cilium.io/v1alpha1'),
  kind: word('kind of policy', ['TracingPolicy', 'TracingPolicyNamespaced'] as const),
  metadata: metadata,
  spec: specSchema,
  status: z.unknown().optional(),
});

export type Spec = z.output<typeof specSchema>;
export type Kprobe = z.output<typeof kprobe>;
/** What functions have beside their arguments, those of the kernel and of programs. */
export type CalledFields = Pick<Kprobe, 'return' | 'returnArg' | 'data'> &
  Partial<Pick<Kprobe, 'returnArgAction'>>;
export type LsmHook = z.output<typeof lsmHook>;
export type Tracepoint = z.output<typeof tracepoint>;
export type Uprobe = z.output<typeof uprobe>;
export type Usdt = z.output<typeof usdt>;
export type Selector = z.output<typeof selector>;
export type Macro = z.output<typeof macro>;
export type Argument = z.output<typeof argument>;
export type ArgumentTerm = z.output<typeof argumentTerm>;
export type BinaryTerm = z.output<typeof binaryTerm>;
export type NamespaceTerm = z.output<typeof namespaceTerm>;
export type LabelSelector = z.output<typeof labelSelector>;
export type PidTerm = z.output<typeof pidTerm>;
export type CapabilityTerm = z.output<typeof capabilityTerm>;
export type Action = z.output<typeof action>;
export type List = z.output<typeof list>;

interface ShapeNode {
  readonly def: {
    readonly type: string;
    readonly innerType?: ShapeNode;
    readonly element?: ShapeNode;
    readonly valueType?: ShapeNode;
    readonly shape?: Readonly<Record<string, ShapeNode>>;
  };
}

/** Names of the fields that may stand at a path, empty where none may. */
export function fieldNamesAt(path: readonly PropertyKey[]): readonly string[] {
  const unwrap = (node: ShapeNode | undefined): ShapeNode | undefined => {
    let current = node;
    while (current?.def.innerType !== undefined) current = current.def.innerType;
    return current;
  };
  let node = unwrap(documentSchema as unknown as ShapeNode);
  for (const key of path) {
    const { shape, element, valueType } = node?.def ?? {};
    node = unwrap(
      shape !== undefined && Object.hasOwn(shape, key) ? shape[key as string] : (element ?? valueType),
    );
    if (node === undefined) return [];
  }
  return Object.keys(node?.def.shape ?? {});
}
