// SPDX-License-Identifier: Apache-2.0
// Owns the manifest of a filter: the JSON in the custom section `weir.manifest`, and what makes it valid. No schema
// library here: the same code runs in the agent, the control plane and a Workers runtime.
import { EventKind } from '@weir/schema';

/** The version of the filter ABI that this code speaks. docs/filter-abi.md says what each version means. */
export const ABI_VERSION = 1;

/** Name of the custom section that holds the manifest. */
export const MANIFEST_SECTION = 'weir.manifest';

/** The largest manifest, in bytes. */
export const MANIFEST_BYTES_MAX = 16 * 1024;

/** The kinds that a manifest can name in `binds.kinds`. */
export type BindableKind = Exclude<keyof typeof EventKind, 'none' | 'alert' | 'rateLimitInfo'>;

export interface FilterManifest {
  /** Version of the filter ABI that the module was built for. */
  abi: number;
  /** A DNS label: lower-case letters, digits and hyphens, at most 63. Labels are put under `filter.<name>.`. */
  name: string;
  /** Any version text without blanks, at most 64 characters. */
  version: string;
  description: string;
  /** What happens to the events that it is bound to once it is quarantined: they go on (open), or are held back (closed). */
  failMode: 'open' | 'closed';
  /** Which events it judges. An empty list does not restrict; all lists must agree. */
  binds: {
    kinds: BindableKind[];
    /** Names of policies. With any, events that come from no policy are not judged. */
    policies: string[];
    /** Names of functions, LSM hooks, tracepoint events or symbols. With any, only events of hooks are judged. */
    hooks?: string[];
    /** `name=value`: events of processes in pods, or of nodes, that have one of these labels. */
    labels?: string[];
  };
  /** Labels that it may put on events, without the prefix. */
  labels: string[];
  /** Fields that it may have masked; all of them are masked on an event on which it fails. */
  redacts: RedactableField[];
  /** What it needs beside the events: `labels` are those that earlier filters put on them. */
  reads: ReadableField[];
  /** What it may use, where that is not what the host gives by default. The host has caps. */
  budget?: FilterBudget;
}

/** Fuel of one event; average fuel and average processor time (ns) of an event, beyond which a filter is stopped. */
export const budgetFields = ['fuelPerEvent', 'averageFuel', 'averageNs'] as const;
export type BudgetField = (typeof budgetFields)[number];
export type FilterBudget = Partial<Record<BudgetField, number>>;
/** The largest number that a budget can have. */
const BUDGET_MAX = 2 ** 30;

/** Fields that a filter can have masked: of the process and its ancestors, or of the hook. */
export const redactableFields = [
  'process.arguments',
  'process.environment',
  'process.cwd',
  'arguments',
] as const;
export type RedactableField = (typeof redactableFields)[number];

export const readableFields = ['labels'] as const;
export type ReadableField = (typeof readableFields)[number];

/** Kinds that filters judge: alerts come from filters, and rate-limit notes are the exporter's own. */
export const bindableKinds: readonly BindableKind[] = (
  Object.keys(EventKind) as (keyof typeof EventKind)[]
).filter((name): name is BindableKind => name !== 'none' && name !== 'alert' && name !== 'rateLimitInfo');

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const versionPattern = /^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$/;
const labelPattern = /^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$/;
/** `error` is the host's own label: it says why a filter failed on an event. */
const reservedLabels = ['error'];
const bindFields = ['kinds', 'policies', 'hooks', 'labels'];
const knownFields = [
  'abi',
  'name',
  'version',
  'description',
  'failMode',
  'binds',
  'labels',
  'redacts',
  'reads',
  'budget',
];

export type ManifestResult = { ok: true; manifest: FilterManifest } | { ok: false; reason: string };

function strings(value: unknown, where: string, most: number): string[] | string {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return `${where} must be a list of strings`;
  if (value.length > most) return `${where} has ${value.length} entries; at most ${most} are allowed`;
  for (const [index, entry] of value.entries()) {
    if (typeof entry !== 'string') return `${where}[${index}] must be a string`;
    if (value.indexOf(entry) !== index) return `${where}[${index}] repeats ${JSON.stringify(entry)}`;
  }
  return value as string[];
}

function oneOf<T extends string>(value: unknown, where: string, known: readonly T[]): T[] | string {
  const given = strings(value, where, known.length);
  if (typeof given === 'string') return given;
  for (const [index, entry] of given.entries()) {
    if (!(known as readonly string[]).includes(entry)) {
      return `${where}[${index}] is ${JSON.stringify(entry)}; known are ${known.join(', ')}`;
    }
  }
  return given as T[];
}

function budgetFrom(value: unknown): FilterBudget | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return `budget must be an object with ${budgetFields.join(', ')}`;
  }
  for (const [field, number] of Object.entries(value)) {
    if (!(budgetFields as readonly string[]).includes(field)) {
      return `budget.${field} is not known; known are ${budgetFields.join(', ')}`;
    }
    if (!Number.isInteger(number) || number < 1 || number > BUDGET_MAX) {
      return `budget.${field} must be a whole number from 1 to ${BUDGET_MAX}`;
    }
  }
  return { ...value };
}

/** Checks a manifest that was read from JSON, and fills in what may be left out. */
export function checkManifest(value: unknown): ManifestResult {
  const refuse = (reason: string): ManifestResult => ({ ok: false, reason });
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refuse('the manifest must be a JSON object');
  }
  const fields = value as Record<string, unknown>;
  for (const key of Object.keys(fields)) {
    if (!knownFields.includes(key)) {
      return refuse(`${JSON.stringify(key)} is no field of a manifest; known are ${knownFields.join(', ')}`);
    }
  }
  const { abi, name, version, description = '', failMode = 'open', binds = {} } = fields;
  if (typeof abi !== 'number' || !Number.isInteger(abi)) return refuse('abi must be a whole number');
  if (typeof name !== 'string' || !namePattern.test(name)) {
    return refuse('name must be 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end');
  }
  if (typeof version !== 'string' || !versionPattern.test(version)) {
    return refuse('version must be 1 to 64 letters, digits, dots, plus signs and hyphens');
  }
  if (typeof description !== 'string' || description.length > 1024) {
    return refuse('description must be a string of at most 1024 characters');
  }
  if (failMode !== 'open' && failMode !== 'closed') return refuse('failMode must be "open" or "closed"');
  if (typeof binds !== 'object' || binds === null || Array.isArray(binds)) {
    return refuse('binds must be an object with the lists kinds and policies');
  }
  for (const key of Object.keys(binds)) {
    if (!bindFields.includes(key)) {
      return refuse(`binds.${key} is not known; binds has ${bindFields.join(', ')}`);
    }
  }
  const kinds = strings((binds as Record<string, unknown>).kinds, 'binds.kinds', 32);
  if (typeof kinds === 'string') return refuse(kinds);
  for (const [index, kind] of kinds.entries()) {
    if (!(bindableKinds as readonly string[]).includes(kind)) {
      return refuse(
        `binds.kinds[${index}] is ${JSON.stringify(kind)}; kinds are ${bindableKinds.join(', ')}`,
      );
    }
  }
  const policies = strings((binds as Record<string, unknown>).policies, 'binds.policies', 256);
  if (typeof policies === 'string') return refuse(policies);
  for (const [index, policy] of policies.entries()) {
    if (policy === '' || policy.length > 253) {
      return refuse(`binds.policies[${index}] must be the name of a policy, 1 to 253 characters`);
    }
  }
  const hooks = strings((binds as Record<string, unknown>).hooks, 'binds.hooks', 256);
  if (typeof hooks === 'string') return refuse(hooks);
  for (const [index, hook] of hooks.entries()) {
    if (hook === '' || hook.length > 255) {
      return refuse(`binds.hooks[${index}] must be the name of a function or hook, 1 to 255 characters`);
    }
  }
  const boundLabels = strings((binds as Record<string, unknown>).labels, 'binds.labels', 64);
  if (typeof boundLabels === 'string') return refuse(boundLabels);
  for (const [index, label] of boundLabels.entries()) {
    if (!/^[^=]+=/.test(label) || label.length > 512) {
      return refuse(`binds.labels[${index}] must be name=value, at most 512 characters`);
    }
  }
  const labels = strings(fields.labels, 'labels', 64);
  if (typeof labels === 'string') return refuse(labels);
  for (const [index, label] of labels.entries()) {
    if (!labelPattern.test(label)) {
      return refuse(
        `labels[${index}] is ${JSON.stringify(label)}: 1 to 63 lower-case letters, digits, _ and -, a letter or digit at either end`,
      );
    }
    if (reservedLabels.includes(label))
      return refuse(`labels[${index}] is ${label}, which the host keeps for itself`);
  }
  const redacts = oneOf(fields.redacts, 'redacts', redactableFields);
  if (typeof redacts === 'string') return refuse(redacts);
  const reads = oneOf(fields.reads, 'reads', readableFields);
  if (typeof reads === 'string') return refuse(reads);
  const budget = fields.budget === undefined ? undefined : budgetFrom(fields.budget);
  if (typeof budget === 'string') return refuse(budget);
  const manifest: FilterManifest = {
    abi,
    name,
    version,
    description,
    failMode,
    binds: {
      kinds: kinds as BindableKind[],
      policies,
      ...(hooks.length === 0 ? {} : { hooks }),
      ...(boundLabels.length === 0 ? {} : { labels: boundLabels }),
    },
    labels,
    redacts,
    reads,
    ...(budget === undefined ? {} : { budget }),
  };
  return { ok: true, manifest };
}
