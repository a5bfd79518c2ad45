// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { followLinks, resolveLinks } from './links.js';
import { parsePolicies } from './parse.js';

/** A host where /bin and /var/run are links, and only these paths are there. */
const real: Readonly<Record<string, string>> = {
  '/bin': '/usr/bin',
  '/bin/su': '/usr/bin/su',
  '/var': '/var',
  '/var/run': '/run',
  '/etc': '/etc',
  '/etc/passwd': '/etc/passwd',
  '/dev/stdin': '/proc/77/fd/0',
};
const realPath = (path: string) => real[path];

describe('links in policies', () => {
  it.each([
    ['/bin/su', '/usr/bin/su'],
    ['/bin/not-there', '/usr/bin/not-there'],
    ['/var/run/secrets/kubernetes.io', '/run/secrets/kubernetes.io'],
    ['/var/run/', '/run/'],
    ['/etc/passwd', undefined],
    ['/etc/shad', undefined],
    ['/nowhere/at/all', undefined],
    ['/dev/stdin', undefined],
    ['/proc/self/exe', undefined],
    ['relative', undefined],
    ['/', undefined],
  ])('follows %s to %s', (path, to) => {
    expect(followLinks(path, realPath)).toBe(to);
  });

  it('adds to values that are paths, in macros too, and to nothing else', () => {
    const [policy] = parsePolicies(`apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: p}
spec:
  selectorsMacros: {m: {matchBinaries: [{operator: NotIn, values: [/bin/su]}]}}
  kprobes:
  - call: security_sb_mount
    syscall: false
    args: [{index: 0, type: string}, {index: 1, type: path}]
    selectors:
    - macros: [m]
      matchArgs:
      - {index: 0, operator: Equal, values: [/bin/su]}
      - {index: 1, operator: Prefix, values: [/var/run/a, /run/a]}
      - {index: 1, operator: Postfix, values: [/bin/su]}
`);
    if (policy === undefined) throw new Error('no policy');
    const { policy: resolved, followed } = resolveLinks(policy, realPath);
    expect(resolved.spec.kprobes?.[0]?.selectors?.[0]?.matchArgs?.map(({ values }) => values)).toEqual([
      ['/bin/su'],
      ['/var/run/a', '/run/a'],
      ['/bin/su'],
    ]);
    expect(resolved.spec.selectorsMacros?.m?.matchBinaries?.[0]?.values).toEqual(['/bin/su', '/usr/bin/su']);
    expect(followed).toEqual([
      { path: 'spec.kprobes[0].selectors[0].matchArgs[1].values[0]', from: '/var/run/a', to: '/run/a' },
      { path: 'spec.selectorsMacros.m.matchBinaries[0].values[0]', from: '/bin/su', to: '/usr/bin/su' },
    ]);
    expect(policy.spec.selectorsMacros?.m?.matchBinaries?.[0]?.values).toEqual(['/bin/su']);
  });
});
