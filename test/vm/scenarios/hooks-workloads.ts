// SPDX-License-Identifier: Apache-2.0
// Policies for some containers, by cgroups: pods by namespace and labels, containers by name and repository, the host;
// and what comes, changes and goes while policies are in force. Each process calls with a number of its own.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Workload } from '@weir/agent/policy';
import { runContainer } from '../guest/container.js';
import { withHooks } from '../guest/hooks.js';
import { compare, line, seen } from '../guest/prctl-calls.js';
import { scenario } from '../scenario.js';

const root = '/sys/fs/cgroup';

/** A policy on prctl, with more in its spec and its selector. */
function policy(name: string, spec: object, selector: object = {}, namespace?: string): string {
  return JSON.stringify({
    apiVersion: 'cilium.io/v1alpha1',
    kind: namespace === undefined ? 'TracingPolicy' : 'TracingPolicyNamespaced',
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    spec: {
      ...spec,
      kprobes: [
        { call: 'sys_prctl', syscall: true, args: [{ index: 0, type: 'int' }], selectors: [selector] },
      ],
    },
  });
}

const labels = (app: string) => ({ matchLabels: { app } });

const policies = [
  policy('everywhere', {}),
  policy('web', { podSelector: labels('web') }),
  policy('not-web', {
    podSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] },
  }),
  policy('has-tier', { podSelector: { matchExpressions: [{ key: 'tier', operator: 'Exists' }] } }),
  policy('in-shop', {}, {}, 'shop'),
  policy('web-in-shop', { podSelector: labels('web') }, {}, 'shop'),
  policy('sidecar', {
    containerSelector: { matchExpressions: [{ key: 'name', operator: 'In', values: ['sidecar'] }] },
  }),
  policy('from-repo', { containerSelector: { matchLabels: { repo: 'example.org/db' } } }),
  policy('host', { hostSelector: {} }),
  policy('host-or-web', { hostSelector: {}, podSelector: labels('web') }),
  policy('web-selector', {}, { matchWorkloads: [{ podSelector: labels('web') }] }),
  policy('never', { podSelector: labels('web') }, { matchWorkloads: [{ podSelector: labels('db') }] }),
  policy(
    'web-shell',
    { podSelector: labels('web') },
    { matchBinaries: [{ operator: 'In', values: ['/weir/bin/calls'] }] },
  ),
];

export default scenario('hooks know which container a process is in', { timeoutMs: 120_000 }, async (ctx) => {
  const { run } = ctx;
  // Deeper than cgroups are looked at in one piece: who made them would have left its container.
  const deep = Array.from({ length: 70 }, (_, depth) => `weir-web${'/in'.repeat(depth + 1)}`);
  const names = ['weir-web', 'weir-web/inner', 'weir-web/inner/most', ...deep, 'weir-db', 'weir-new'];
  const folders = names.map((name) => join(root, name));
  for (const folder of folders) if (!existsSync(folder)) mkdirSync(folder);
  const id = (name: string) => statSync(join(root, name), { bigint: true }).ino;
  const web: Workload = {
    cgroupId: id('weir-web'),
    namespace: 'shop',
    labels: { app: 'web', tier: 'front' },
    container: 'main',
    repo: 'example.org/web',
  };
  const database: Workload = {
    cgroupId: id('weir-db'),
    namespace: 'data',
    labels: { app: 'db' },
    container: 'sidecar',
    repo: 'example.org/db',
  };
  try {
    await withHooks(async (hooks) => {
      const [refused] = await hooks.tryApply(policies[1] ?? '');
      assert.match(refused?.reason ?? '', /^spec\.podSelector asks for containers/);
      await hooks.set.setWorkloads([web]);
      await hooks.apply(...policies);
      // It comes when the policies are there.
      await hooks.set.setWorkloads([web, database]);
      const calls = async (number: number, cgroup?: string) => {
        const move = cgroup === undefined ? '' : `echo $$ > ${join(root, cgroup)}/cgroup.procs; `;
        const made = await run('/bin/sh', ['-c', `${move}exec /weir/bin/calls`], { input: line(number) });
        assert.equal(made.code, 0, made.stderr);
      };
      const told = () => seen(hooks.events(), all);
      const all = [-1, -2, -3, -4, -5];
      hooks.events();
      await calls(-1);
      await calls(-2, 'weir-web');
      await calls(-3, 'weir-web/inner/most');
      await calls(-4, 'weir-db');
      await calls(-5, 'weir-new');
      compare(told(), {
        everywhere: all,
        web: [-2, -3],
        'not-web': [-4],
        'has-tier': [-2, -3],
        'in-shop': [-2, -3],
        'web-in-shop': [-2, -3],
        sidecar: [-4],
        'from-repo': [-4],
        host: [-1, -5],
        'host-or-web': [-1, -2, -3, -5],
        'web-selector': [-2, -3],
        never: [],
        'web-shell': [-2, -3],
      });

      // One comes, one changes, one goes: a process that has called before sees it at its next call.
      const fresh = { ...web, cgroupId: id('weir-new'), labels: { app: 'web' } };
      await hooks.set.setWorkloads([{ ...web, labels: { app: 'db' } }, fresh]);
      await calls(-2, 'weir-web/inner');
      await calls(-4, 'weir-db');
      await calls(-5, 'weir-new');
      compare(told(), {
        everywhere: [-2, -4, -5],
        web: [-5],
        'not-web': [-2],
        'in-shop': [-2, -5],
        host: [-4],
        'has-tier': [],
      });

      // Other policies are another generation of scopes: all are known to it.
      await hooks.apply(...policies.slice(0, 4));
      hooks.events();
      await calls(-2, 'weir-web');
      await calls(-5, 'weir-new');
      compare(told(), { everywhere: [-2, -5], web: [-5], 'not-web': [-2] });

      await hooks.set.setWorkloads([web]);
      for (const [at, number] of [
        [30, -1],
        [40, -2],
        [69, -3],
      ] as const)
        await calls(number, deep[at]);
      compare(told(), { everywhere: [-1, -2, -3], web: [-1, -2, -3], 'not-web': [] });

      // An inner cgroup that is a workload of its own is that, and not the one around it.
      await hooks.set.setWorkloads([web, { ...database, cgroupId: id('weir-web/inner') }]);
      await calls(-2, 'weir-web');
      await calls(-3, 'weir-web/inner/most');
      compare(told(), { everywhere: [-2, -3], web: [-2], 'not-web': [-3] });
      assert.equal(hooks.counter('undecided'), 0n);

      // Real containers, each below a cgroup that is known: of a pod of that namespace, by the name in it, by no other.
      await hooks.set.setWorkloads([web, database]);
      await hooks.apply(...policies);
      hooks.events();
      for (const [runtime, name, number] of [
        ['crun', 'weir-web', -2],
        ['runc', 'weir-db', -4],
        ['runc', 'weir-web', -3],
        ['crun', 'weir-new', -5],
      ] as const) {
        const made = await runContainer(ctx, {
          runtime,
          id: `${runtime}-in-${name}`,
          cgroup: `/${name}/${runtime}`,
          args: ['/bin/sh', '-c', '/bin/calls < /etc/made'],
          addFiles: (rootfs) => {
            copyFileSync('/weir/bin/calls', join(rootfs, 'bin/calls'));
            writeFileSync(join(rootfs, 'etc/made'), line(number));
          },
        });
        assert.equal(made.code, 0, made.stderr);
      }
      compare(told(), {
        everywhere: [-2, -4, -3, -5],
        web: [-2, -3],
        'not-web': [-4],
        'in-shop': [-2, -3],
        'web-in-shop': [-2, -3],
        sidecar: [-4],
        'from-repo': [-4],
        host: [-5],
        'web-selector': [-2, -3],
        never: [],
      });
    });
  } finally {
    for (const folder of folders.reverse()) rmdirSync(folder);
  }
});
