// SPDX-License-Identifier: Apache-2.0
// Owns what a selector asks of the process alone, as terms of a scope: binaries, process ids, namespaces,
// capabilities.
import { ScopeAttribute } from '@weir/schema';
import type { SetTerm, Term } from './dimensions.js';
import { capabilityNames, namespaceKinds } from './names.js';
import type { ExpandedSelector, Located } from './selectors.js';
import type { CapabilityTerm, NamespaceTerm, PidTerm } from './shape.js';
import { textTerm } from './text-term.js';
import { parseInteger } from './values.js';

/** Whether what a scope looks at may change while a process runs, or differ between its threads. */
export function scopeAttributeChanges(attribute: number): boolean {
  switch (attribute) {
    case ScopeAttribute.binary:
    case ScopeAttribute.parentBinary:
    case ScopeAttribute.pid:
    case ScopeAttribute.namespacePid:
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

function pidTerm(term: PidTerm, path: string): Term {
  return {
    kind: 'integer',
    argument: term.isNamespacePID === true ? ScopeAttribute.namespacePid : ScopeAttribute.pid,
    negated: term.operator === 'NotIn',
    values: term.values.map((value) => parseInteger(value) ?? 0n),
    path,
  };
}

const capabilitySets = {
  Permitted: ScopeAttribute.capPermitted,
  Effective: ScopeAttribute.capEffective,
  Inheritable: ScopeAttribute.capInheritable,
} as const;

function membersOf(term: CapabilityTerm): number[] {
  return term.values.map((value) => (capabilityNames as readonly string[]).indexOf(value.toUpperCase()));
}

function capabilityTerms(term: CapabilityTerm, path: string): Term[] {
  const set: SetTerm = {
    kind: 'set',
    argument: capabilitySets[term.type],
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
    ...each(selector.part('matchParentBinaries'), (item, path) => [
      textTerm(item.operator, item.values, ScopeAttribute.parentBinary, path),
    ]),
    ...each(selector.part('matchPIDs'), (item, path) => [pidTerm(item, path)]),
    ...each(selector.part('matchCapabilities'), capabilityTerms),
  ];
}
