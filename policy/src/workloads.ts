// SPDX-License-Identifier: Apache-2.0
// Owns which workloads (containers of pods, or the host itself) a policy and a selector are for: what they ask, and
// whether a workload is one of them.
import { ScopeAttribute } from '@weir/schema';
import type { WorkloadCondition } from './plan-types.js';
import type { Policy } from './policy.js';
import type { ExpandedSelector } from './selectors.js';
import type { LabelSelector } from './shape.js';
import { fieldPath } from './source.js';
import type { WorkloadTerm } from './terms.js';

/** A container of a pod, as far as policies select by it. */
export interface WorkloadFacts {
  /** Of the pod. */
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly container: string;
  /** Where its image comes from, without tag or digest. */
  readonly repo: string;
}

function holds(selector: LabelSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  const value = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  const exact = Object.entries(selector?.matchLabels ?? {}).every(([key, wanted]) => value(key) === wanted);
  return (
    exact &&
    (selector?.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const found = value(key);
      switch (operator) {
        case 'In':
          return found !== undefined && values.includes(found);
        case 'NotIn':
          // As Kubernetes has it: what has no such label is not in.
          return found === undefined || !values.includes(found);
        case 'Exists':
          return found !== undefined;
        default:
          return found === undefined;
      }
    })
  );
}

/** Whether a policy is for a node with these labels. */
export function selectsNode({ spec }: Policy, labels: Readonly<Record<string, string>>): boolean {
  return spec.nodeSelector === undefined || holds(spec.nodeSelector, labels);
}

/** Whether a workload, or the host where it is null, is one that a condition means. */
export function selectsWorkload(
  { host, containers }: WorkloadCondition,
  facts: WorkloadFacts | null,
): boolean {
  if (facts === null) return host;
  return (
    containers !== null &&
    (containers.namespace === undefined || containers.namespace === facts.namespace) &&
    holds(containers.pod, facts.labels) &&
    holds(containers.container, { name: facts.container, repo: facts.repo })
  );
}

function condition(part: {
  readonly namespace?: string | undefined;
  readonly podSelector?: LabelSelector | undefined;
  readonly containerSelector?: LabelSelector | undefined;
  readonly hostSelector?: object | null | undefined;
}): WorkloadCondition | undefined {
  const { namespace, podSelector: pod, containerSelector: container, hostSelector } = part;
  const asksContainers = namespace !== undefined || pod !== undefined || container !== undefined;
  if (!asksContainers && hostSelector == null) return undefined;
  return {
    host: hostSelector != null,
    containers: asksContainers
      ? {
          ...(namespace === undefined ? {} : { namespace }),
          ...(pod === undefined ? {} : { pod }),
          ...(container === undefined ? {} : { container }),
        }
      : null,
  };
}

/** What a selector and its policy ask of the workload, as a term of its scope; empty where all processes are meant. */
export function workloadTerms(policy: Policy, selector: ExpandedSelector): WorkloadTerm[] {
  const { kind, namespace, spec } = policy;
  const values = [
    condition({ ...spec, namespace: kind === 'TracingPolicyNamespaced' ? namespace : undefined }),
    ...selector.part('matchWorkloads').map(({ item }) => condition(item)),
  ].filter((value) => value !== undefined);
  if (values.length === 0) return [];
  return [
    { kind: 'workload', argument: ScopeAttribute.workload, negated: false, values, path: selector.path },
  ];
}

/** The first field by which a policy asks of workloads: where nobody tells of these, it would hold for none. */
export function workloadField({ kind, spec }: Policy): string | undefined {
  if (kind === 'TracingPolicyNamespaced') return 'kind';
  for (const part of ['podSelector', 'containerSelector', 'hostSelector'] as const) {
    if (spec[part] != null) return `spec.${part}`;
  }
  for (const part of ['kprobes', 'fentries', 'tracepoints', 'lsmhooks', 'uprobes', 'usdts'] as const) {
    for (const [index, { selectors = [] }] of (spec[part] ?? []).entries()) {
      const position = selectors.findIndex(({ matchWorkloads = [] }) => matchWorkloads.length > 0);
      if (position >= 0) return `spec.${part}[${index}].selectors[${position}].matchWorkloads`;
    }
  }
  const macro = Object.entries(spec.selectorsMacros ?? {}).find(
    ([, { matchWorkloads = [] }]) => matchWorkloads.length > 0,
  );
  return macro === undefined ? undefined : `${fieldPath('spec.selectorsMacros', macro[0])}.matchWorkloads`;
}
