// SPDX-License-Identifier: Apache-2.0
// Owns what a selector asks of the process alone, as terms of a scope: binaries, process ids, namespaces,
// capabilities.
import { ScopeAttribute } from '@weir/schema';
import { capabilityNames, namespaceKinds } from './names.js';
import type { BinaryLineage, PidLineage } from './plan-types.js';
import type { Located } from './policy.js';
import type { ExpandedSelector } from './selectors.js';
import type { BinaryTerm, CapabilityTerm, NamespaceTerm, PidTerm } from './shape.js';
import type { SetTerm, Term, TextTerm } from './terms.js';
import { textTerm } from './text-term.js';
import { parseInteger } from './values.js';

/** Whether what a scope looks at may change while a process runs, or differ between its threads. */
export function scopeAttributeChanges(attribute: number): boolean {
  switch (attribute) {
    case ScopeAttribute.binary:
    case ScopeAttribute.parentBinary:
    case ScopeAttribute.pid:
    case ScopeAttribute.namespacePid:
    case ScopeAttribute.lineage:
    case ScopeAttribute.parentLineage:
      return false;
    default:
      // A process is in one pid namespace for life; the other kinds can be left.
      return attribute !== ScopeAttribute.namespaceUts + namespaceKinds.Pid;
  }
}

function namespaceTerm(term: NamespaceTerm, path: string): Term {
  const kind = namespaceKinds[term.namespace];
  return {
    kind: 'integer',
    argument: ScopeAttribute.namespaceUts + kind,
    negated: term.operator === 'NotIn',
    values: term.values.map((value) =>
      value === 'host_ns' ? { hostNamespace: kind } : (parseInteger(value) ?? 0n),
    ),
    path,
  };
}

/** A lineage with a key that is the same for the same conditions, in whichever order they are written. */
function binaryLineage({ kind, exact, values }: TextTerm): BinaryLineage {
  const sorted = [...new Set(values.map((value) => Buffer.from(value).toString('latin1')))].sort();
  return {
    kind,
    exact,
    key: JSON.stringify([kind, exact, ...sorted]),
    values: sorted.map((text) => new Uint8Array(Buffer.from(text, 'latin1'))),
  };
}

function pidLineage(kind: PidLineage['kind'], values: readonly number[], inherited: boolean): PidLineage {
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  return { kind, values: sorted, inherited, key: JSON.stringify([kind, inherited, ...sorted]) };
}

/** Terms on binaries; with `followChildren`, on all that the process has run and descends from. */
export function binaryTerms(items: readonly Located<BinaryTerm>[], text: number, lineage: number): Term[] {
  return items.map(({ item, path }): Term => {
    const term = textTerm(item.operator, item.values, text, path);
    if (item.followChildren !== true) return term;
    return { kind: 'set', argument: lineage, negated: term.negated, values: [binaryLineage(term)], path };
  });
}

function pidTerm(term: PidTerm, path: string): Term {
  const isOwn = term.isNamespacePID === true;
  const negated = term.operator === 'NotIn';
  const values = term.values.map((value) => parseInteger(value) ?? 0n);
  if (term.followForks !== true) {
    const argument = isOwn ? ScopeAttribute.namespacePid : ScopeAttribute.pid;
    return { kind: 'integer', argument, negated, values, path };
  }
  const kind = isOwn ? 'namespace-pid' : 'pid';
  // Everything descends from the host's processes: 0 means those that are in its pid namespace themselves.
  const outside = isOwn && values.includes(0n) ? [pidLineage(kind, [0], false)] : [];
  const followed = values.filter((value) => !isOwn || value !== 0n).map(Number);
  const lineages = [...outside, ...(followed.length === 0 ? [] : [pidLineage(kind, followed, true)])];
  return { kind: 'set', argument: ScopeAttribute.lineage, negated, values: lineages, path };
}

const capabilitySets = {
  Permitted: ScopeAttribute.capPermitted,
  Effective: ScopeAttribute.capEffective,
  Inheritable: ScopeAttribute.capInheritable,
} as const;

const changedCapabilitySets = {
  Permitted: ScopeAttribute.capPermittedChanges,
  Effective: ScopeAttribute.capEffectiveChanges,
  Inheritable: ScopeAttribute.capInheritableChanges,
} as const;

function membersOf(term: CapabilityTerm): number[] {
  return term.values.map((value) => (capabilityNames as readonly string[]).indexOf(value.toUpperCase()));
}

function capabilityTerms(
  term: CapabilityTerm,
  path: string,
  sets: Readonly<Record<CapabilityTerm['type'], number>>,
): Term[] {
  const set: SetTerm = {
    kind: 'set',
    argument: sets[term.type],
    negated: term.operator === 'NotIn',
    values: membersOf(term),
    path,
  };
  return term.isNamespaceCapability === true ? [set, outsideHostUsers(path)] : [set];
}

/** The process is in another user namespace than the host's: only there do its capabilities count as of a namespace. */
function outsideHostUsers(path: string): Term {
  return {
    kind: 'integer',
    argument: ScopeAttribute.namespaceUts + namespaceKinds.User,
    negated: true,
    values: [{ hostNamespace: namespaceKinds.User }],
    path,
  };
}

/** The terms of a selector on the process, but for `matchBinaries`, which may mean an argument. */
export function processTerms(selector: ExpandedSelector): Term[] {
  const each = <Item>(items: readonly Located<Item>[], make: (item: Item, path: string) => Term[]) =>
    items.flatMap(({ item, path }) => make(item, path));
  return [
    ...each(selector.matchNamespaces, (item, path) => [namespaceTerm(item, path)]),
    ...binaryTerms(
      selector.part('matchParentBinaries'),
      ScopeAttribute.parentBinary,
      ScopeAttribute.parentLineage,
    ),
    ...each(selector.part('matchPIDs'), (item, path) => [pidTerm(item, path)]),
    ...each(selector.part('matchCapabilities'), (item, path) => capabilityTerms(item, path, capabilitySets)),
    ...each(selector.part('matchCapabilityChanges'), (item, path) =>
      capabilityTerms(item, path, changedCapabilitySets),
    ),
    ...each(selector.part('matchNamespaceChanges'), ({ operator, values }, path) => [
      {
        kind: 'set',
        argument: ScopeAttribute.namespaceChanges,
        negated: operator === 'NotIn',
        values: values.map((name) => namespaceKinds[name]),
        path,
      },
    ]),
  ];
}
