// SPDX-License-Identifier: Apache-2.0
// Which policies stay in force when a new text of one cannot be read: on this kernel, with calls that only look.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FilterHost } from '@weir/filter-host';
import { openObject, whyNothingLoads } from '@weir/native';
import { sharedMapNames } from '@weir/schema';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Desired, SetModeError } from './desired.js';
import { HookKernel, PolicySet, readHostNamespaces } from './policy/index.js';
import { FilterTrust } from './trust.js';

const objects = fileURLToPath(new URL('../../bpf/build/', import.meta.url));
const reason = existsSync(`${objects}hook.bpf.o`)
  ? whyNothingLoads()
  : 'the objects are not built (make -C bpf)';
if (reason !== undefined) console.warn(`the tests of desired policies do not run: ${reason}`);

function text(name: string, value: string): string {
  const selectors = [{ matchArgs: [{ index: 1, operator: 'Equal', values: [value] }] }];
  const args = [{ index: 1, type: 'string' }];
  return JSON.stringify({
    apiVersion: 'cilium.io/v1alpha1',
    kind: 'TracingPolicy',
    metadata: { name },
    spec: { kprobes: [{ call: 'sys_openat', syscall: true, args, selectors }] },
  });
}

describe.skipIf(reason !== undefined)('policies that are wanted', () => {
  let kernel: HookKernel;
  let set: PolicySet;
  let host: FilterHost;

  beforeAll(async () => {
    const shared = openObject({ path: `${objects}process.bpf.o`, autoload: [] }).load();
    const maps = Object.fromEntries(sharedMapNames.map((name) => [name, shared.map(name)]));
    kernel = new HookKernel({ objectPath: `${objects}hook.bpf.o`, sharedMaps: maps });
    set = new PolicySet({ kernel, hostNamespaces: readHostNamespaces() });
    host = await FilterHost.create();
    shared.close();
  });
  afterAll(async () => {
    await set.close();
    kernel.close();
    await host.close();
  });

  it('stay in force, in their former version, when a new text of theirs cannot be read', async () => {
    const desired = new Desired({
      policies: set,
      noPolicies: '',
      host,
      trust: new FilterTrust([]),
      monitor: false,
    });
    const inForce = () => set.hooks().flatMap(({ policies }) => [...policies]);
    const states = () => desired.policies().map(({ name, state, hooks }) => [name, state, hooks.length]);

    await desired.applyPolicies([
      { origin: 'one', text: text('one', '/weir/1') },
      { origin: 'two', text: text('two', '/weir/2') },
    ]);
    expect(inForce().sort()).toEqual(['one', 'two']);

    for (let turn = 0; turn < 2; turn++) {
      await desired.applyPolicies([
        { origin: 'one', text: 'kind: [', digest: 'new' },
        { origin: 'two', text: text('two', '/weir/22') },
      ]);
      expect(inForce().sort()).toEqual(['one', 'two']);
      expect(states().sort()).toEqual([
        ['one', 'refused', 1],
        ['two', 'loaded', 1],
      ]);
      expect(desired.policies().find(({ name }) => name === 'one')).toMatchObject({ digest: 'new' });
    }

    await desired.applyPolicies([{ origin: 'two', text: text('two', '/weir/22') }]);
    expect(inForce()).toEqual(['two']);
    await desired.applyPolicies([{ origin: 'one', text: 'kind: [' }]);
    expect(inForce()).toEqual([]);
    expect(states()).toEqual([['one', 'refused', 0]]);
  });

  it('have the mode that was set by hand, until they go', async () => {
    const make = (monitor: boolean) =>
      new Desired({ policies: set, noPolicies: '', host, trust: new FilterTrust([]), monitor });
    const desired = make(false);
    const one = { name: 'one', namespace: '' };
    const texts = (value: string) => [
      { origin: 'one', text: text('one', value) },
      { origin: 'two', text: text('two', '/weir/2') },
    ];
    const modes = () =>
      desired
        .policies()
        .map(({ name, mode, modeIsSet }) => `${name} ${mode}${modeIsSet === true ? ' set' : ''}`);

    await desired.applyPolicies(texts('/weir/1'));
    expect(await desired.setMode(one, 'monitor')).toMatchObject({
      name: 'one',
      mode: 'monitor',
      state: 'loaded',
    });
    expect(modes()).toEqual(['one monitor set', 'two enforce']);
    // A new version is watched too.
    await desired.applyPolicies(texts('/weir/11'));
    expect(modes()).toEqual(['one monitor set', 'two enforce']);
    await desired.setMode(one, 'enforce');
    expect(modes()).toEqual(['one enforce set', 'two enforce']);
    await expect(desired.setMode({ name: 'three', namespace: '' }, 'monitor')).rejects.toThrow(
      'there is no policy three here: there are one, two',
    );
    await expect(desired.setMode({ ...one, namespace: 'other' }, 'monitor')).rejects.toThrow(SetModeError);
    await desired.setMode(one, 'monitor');
    await desired.applyPolicies([]);
    await desired.applyPolicies(texts('/weir/1'));
    expect(modes()).toEqual(['one enforce', 'two enforce']);

    const watching = make(true);
    await watching.applyPolicies(texts('/weir/1'));
    await expect(watching.setMode(one, 'enforce')).rejects.toThrow('--monitor');
    expect(watching.policies().map(({ mode }) => mode)).toEqual(['monitor', 'monitor']);
    await watching.applyPolicies([]);
  });
});
