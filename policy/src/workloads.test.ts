// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { Policy } from './policy.js';
import { interpretPlan } from './testing/interpret.js';
import { selectsNode, selectsWorkload, type WorkloadFacts, workloadField } from './workloads.js';

const web: WorkloadFacts = {
  namespace: 'shop',
  labels: { app: 'web', tier: 'front' },
  container: 'main',
  repo: 'example.org/web',
};
const database: WorkloadFacts = { ...web, namespace: 'data', labels: { app: 'db' }, container: 'sidecar' };

function policyOf(spec: string, selector = '', namespace = ''): Policy {
  const kind = namespace === '' ? 'TracingPolicy' : 'TracingPolicyNamespaced';
  const [policy] = parsePolicies(
    `apiVersion: cilium.io/v1alpha1
kind: ${kind}
metadata: {name: p${namespace === '' ? '' : `, namespace: ${namespace}`}}
spec:
  ${spec === '' ? '' : `${spec}\n  `}kprobes:
  - call: sys_dup
    ${selector === '' ? '' : `selectors: [{${selector}}]`}
`,
  );
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

/** Which of the two containers and the host a policy holds for. */
function whom(policy: Policy): string {
  const planned = plan([{ id: 1, policy }]);
  const namespaces = Array.from({ length: 10 }, () => 1n);
  return (
    [
      ['web', web],
      ['database', database],
      ['host', undefined],
    ] as const
  )
    .filter(([, workload]) => {
      const process = {
        binary: new Uint8Array(),
        namespaces,
        ...(workload === undefined ? {} : { workload }),
      };
      const call = { symbol: '__x64_sys_dup', arguments: [], process, hostNamespaces: namespaces };
      return interpretPlan(planned, call).length > 0;
    })
    .map(([name]) => name)
    .join(' ');
}

describe('a policy for workloads', () => {
  it.each([
    ['', '', 'web database host'],
    ['podSelector: {}', '', 'web database'],
    ['podSelector: {matchLabels: {app: web}}', '', 'web'],
    ['podSelector: {matchLabels: {app: web, tier: back}}', '', ''],
    ['podSelector: {matchExpressions: [{key: app, operator: In, values: [db, web]}]}', '', 'web database'],
    ['podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [front]}]}', '', 'database'],
    ['podSelector: {matchExpressions: [{key: tier, operator: Exists}]}', '', 'web'],
    ['podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}', '', 'database'],
    ['podSelector: {matchExpressions: [{key: constructor, operator: Exists}]}', '', ''],
    ['containerSelector: {matchLabels: {name: sidecar}}', '', 'database'],
    ['containerSelector: {matchLabels: {repo: example.org/web}}', '', 'web database'],
    ['hostSelector: {}', '', 'host'],
    ['{podSelector: {matchLabels: {app: db}}, hostSelector: {}}', '', 'database host'],
    ['', 'matchWorkloads: [{podSelector: {matchLabels: {app: db}}}]', 'database'],
    ['', 'matchWorkloads: [{podSelector: {}}, {containerSelector: {matchLabels: {name: main}}}]', 'web'],
    [
      'podSelector: {matchLabels: {app: web}}',
      'matchWorkloads: [{podSelector: {matchLabels: {app: db}}}]',
      '',
    ],
    ['', 'matchWorkloads: [{hostSelector: {}}]', 'host'],
  ])('with %s %s is for: %s', (spec, selector, expected) => {
    const lines = spec.startsWith('{')
      ? spec.slice(1, -1).replace(', hostSelector', '\n  hostSelector')
      : spec;
    expect(whom(policyOf(lines, selector))).toBe(expected);
  });

  it('of a namespace is for its pods', () => {
    expect(whom(policyOf('', '', 'shop'))).toBe('web');
    expect(whom(policyOf('podSelector: {matchLabels: {app: web}}', '', 'data'))).toBe('');
  });

  it('says which field asks for workloads, and whom it is for', () => {
    expect(workloadField(policyOf(''))).toBeUndefined();
    expect(workloadField(policyOf('', '', 'shop'))).toBe('kind');
    expect(workloadField(policyOf('hostSelector: {}'))).toBe('spec.hostSelector');
    expect(workloadField(policyOf('', 'matchWorkloads: [{hostSelector: {}}]'))).toBe(
      'spec.kprobes[0].selectors[0].matchWorkloads',
    );
    const { text, ok } = check(policyOf('hostSelector: {}\n  podSelector: {matchLabels: {app: web}}'));
    expect(ok).toBe(true);
    expect(text).toContain('in the host or a pod with app=web');
    expect(selectsWorkload({ host: false, containers: null }, web)).toBe(false);
  });
});

describe('nodes', () => {
  const policy = policyOf(
    'nodeSelector: {matchLabels: {a: b}, matchExpressions: [{key: gpu, operator: DoesNotExist}]}',
  );

  it('are chosen by their labels', () => {
    expect(selectsNode(policy, { a: 'b', c: 'd' })).toBe(true);
    expect(selectsNode(policy, { a: 'c' })).toBe(false);
    expect(selectsNode(policy, { a: 'b', gpu: 'yes' })).toBe(false);
    expect(selectsNode(policyOf(''), {})).toBe(true);
    expect(check(policy).ok).toBe(true);
    expect(check(policy).text).toContain('for nodes with a=b and');
  });
});
