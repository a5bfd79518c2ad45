// SPDX-License-Identifier: Apache-2.0
// Policies against this kernel, with the calls that only look and need no more than its tracepoints: system calls.
// What hooks functions, and what acts, is tried in a guest (test/vm/scenarios/hooks-*.ts).
import { closeSync, existsSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type BpfMap, enableProgramStats, openObject, RingReader, whyNothingLoads } from '@weir/native';
import { parsePolicies } from '@weir/policy';
import {
  ARGUMENT_BYTES,
  EventKind,
  HOOK_RECORD_BYTES,
  KernelCounter,
  readArgument,
  readHookRecord,
  sharedMapNames,
} from '@weir/schema';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HookKernel } from './hook-kernel.js';
import { readHostNamespaces } from './host-namespaces.js';
import { PolicySet, resolvePolicyPaths } from './policy-set.js';

const objects = fileURLToPath(new URL('../../../bpf/build/', import.meta.url));
const reason = existsSync(`${objects}hook.bpf.o`)
  ? whyNothingLoads()
  : 'the objects are not built (make -C bpf)';
if (reason !== undefined) console.warn(`the tests of policies in the kernel do not run: ${reason}`);

const folder = `${tmpdir()}/weir-policy-set-${process.pid}-`;

function policy(name: string, selectors: readonly object[], call = 'sys_openat', index = 1): string {
  return JSON.stringify({
    apiVersion: 'cilium.io/v1alpha1',
    kind: 'TracingPolicy',
    metadata: { name },
    spec: { kprobes: [{ call, syscall: true, args: [{ index, type: 'string' }], selectors }] },
  });
}

const path = (operator: string, ...values: string[]) => ({ matchArgs: [{ index: 1, operator, values }] });

describe.skipIf(reason !== undefined)('policies on this kernel', () => {
  let kernel: HookKernel;
  let set: PolicySet;
  let ring: RingReader;
  let maps: Record<string, BpfMap>;
  const target = new Uint8Array(1024 * 1024);
  const offsets = new Uint32Array(8192);

  beforeAll(() => {
    const shared = openObject({ path: `${objects}process.bpf.o`, autoload: [] }).load();
    maps = Object.fromEntries(sharedMapNames.map((name) => [name, shared.map(name)]));
    kernel = new HookKernel({ objectPath: `${objects}hook.bpf.o`, sharedMaps: maps });
    set = new PolicySet({ kernel, hostNamespaces: readHostNamespaces(), nodeLabels: { pool: 'build' } });
    ring = new RingReader(maps.events as BpfMap, { onReady: () => {} });
    shared.close();
  });

  afterAll(async () => {
    await set.close();
    kernel.close();
    ring.close();
    for (const map of Object.values(maps)) map.close();
  });

  const apply = (...texts: string[]) => set.apply(texts.flatMap((text) => parsePolicies(text)));

  function events(of: PolicySet = set): { policy: string; selector: number; text: string }[] {
    const found: { policy: string; selector: number; text: string }[] = [];
    const view = new DataView(target.buffer);
    const { records, position } = ring.drain(target, 0, offsets, offsets.length);
    for (let i = 0; i < records; i++) {
      const at = offsets[i] ?? 0;
      const record = readHookRecord(view, at);
      if (record.kind !== EventKind.kprobe || record.pid !== process.pid) continue;
      const last = Math.max(0, record.argumentCount - 1);
      const argument = readArgument(view, at + HOOK_RECORD_BYTES + last * ARGUMENT_BYTES);
      const from = at + argument.payload.offset;
      found.push({
        policy: of.binding(record.bindingId)?.policyName ?? '',
        selector: record.selectorIndex,
        text: Buffer.from(target.subarray(from, from + argument.payload.length)).toString(),
      });
    }
    ring.commit(position);
    return found;
  }

  function open(...names: string[]): void {
    for (const name of names) {
      try {
        closeSync(openSync(folder + name, 'r'));
      } catch {
        // Not there, which the hook does not mind.
      }
    }
  }

  function counter(name: keyof typeof KernelCounter): bigint {
    const values = maps.counters?.lookupPerCpu(new Uint8Array(Uint32Array.of(KernelCounter[name]).buffer));
    return (values ?? []).reduce((sum, value) => sum + Buffer.from(value).readBigUInt64LE(), 0n);
  }

  // What is left of a program without the rest is another program to the verifier: one that only some hooks have.
  const parts: Readonly<Record<string, object>> = {
    binaries: { matchBinaries: [{ operator: 'Postfix', values: ['/nothing'] }] },
    children: { matchBinaries: [{ operator: 'In', values: ['/nothing'], followChildren: true }] },
    parents: { matchParentBinaries: [{ operator: 'In', values: ['/nothing'] }] },
    processes: { matchPIDs: [{ operator: 'NotIn', values: [1], isNamespacePID: true }] },
    namespaces: { matchNamespaces: [{ namespace: 'Net', operator: 'In', values: ['1'] }] },
    capabilities: { matchCapabilities: [{ type: 'Effective', operator: 'In', values: ['CAP_BPF'] }] },
    'changes of namespaces': { matchNamespaceChanges: [{ operator: 'In', values: ['Uts'] }] },
    'changes of capabilities': {
      matchCapabilityChanges: [{ type: 'Effective', operator: 'In', values: ['CAP_BPF'] }],
    },
  };
  it.each(Object.keys(parts))('have programs for %s alone, and with each other part', async (name) => {
    const onPersonality = (...names: string[]) =>
      JSON.stringify({
        apiVersion: 'cilium.io/v1alpha1',
        kind: 'TracingPolicy',
        metadata: { name: names.join('-').replaceAll(' ', '-') },
        spec: {
          kprobes: [
            {
              call: 'sys_personality',
              syscall: true,
              args: [{ index: 0, type: 'int' }],
              selectors: names.map((one) => parts[one]),
            },
          ],
        },
      });
    for (const other of Object.keys(parts).filter((one) => one >= name)) {
      const [outcome] = await apply(other === name ? onPersonality(name) : onPersonality(name, other));
      expect([other, outcome?.reason]).toEqual([other, undefined]);
    }
  });

  it.each([
    ['int', 'GT', '1'],
    ['uint64', 'Mask', '4'],
    ['string', 'Prefix', '/nothing'],
    ['string', 'Postfix', '/nothing'],
    ['fd', 'Equal', '/nothing'],
    ['fd', 'FileType', 'reg'],
    ['sockaddr', 'DAddr', '192.0.2.1'],
    ['sockaddr', 'DPort', '1'],
    ['sockaddr_un', 'Equal', '/nothing'],
    ['bpf_attr', 'Equal', 'nothing'],
    ['syscall64', undefined, undefined],
  ])('have programs for an argument of type %s alone, looked at by %s', async (type, operator, value) => {
    const [outcome] = await apply(
      JSON.stringify({
        apiVersion: 'cilium.io/v1alpha1',
        kind: 'TracingPolicy',
        metadata: { name: 'typed' },
        spec: {
          kprobes: [
            {
              call: 'sys_personality',
              syscall: true,
              args: [{ index: 0, type }],
              selectors: [
                operator === undefined ? {} : { matchArgs: [{ index: 0, operator, values: [value] }] },
              ],
            },
          ],
        },
      }),
    );
    expect(outcome?.reason).toBeUndefined();
  });

  it('gives a hook another program where its scopes look at what may change, and not for those of others', async () => {
    const from = (...more: object[]) => ({
      ...path('Prefix', folder),
      matchBinaries: [{ operator: 'In', values: [process.execPath] }],
      ...Object.assign({}, ...more),
    });
    const first = policy('first', [from()]);
    const other = (selector: object) => policy('other', [selector], 'sys_unlinkat');
    const capable = { matchCapabilities: [{ type: 'Effective', operator: 'In', values: ['CAP_SYS_ADMIN'] }] };
    const programId = () => set.hooks().find(({ policies }) => policies.includes('first'))?.program.programId;
    await apply(first);
    const alone = programId();
    await apply(first, other(from()));
    expect(programId()).toBe(alone);
    events();
    await apply(first, other(from(capable)));
    expect(programId()).toBe(alone);
    open('a');
    await apply(first, policy('second', [from(capable)]));
    expect(programId()).not.toBe(alone);
    open('b');
    expect(events()).toEqual([
      { policy: 'first', selector: 0, text: `${folder}a` },
      { policy: 'first', selector: 0, text: `${folder}b` },
      { policy: 'second', selector: 0, text: `${folder}b` },
    ]);
  });

  it('makes one event of a hit, of the first selector of each policy', async () => {
    const outcomes = await apply(
      policy('a', [path('Equal', `${folder}x`), path('Prefix', folder)]),
      policy('b', [path('Postfix', 'x', '.y')]),
      policy('c', [path('NotPrefix', '/')]),
    );
    expect(outcomes.map(({ state, hooks }) => [state, hooks])).toEqual(
      Array.from({ length: 3 }, () => ['loaded', ['__x64_sys_openat']]),
    );
    events();
    open('x', 'z', 'q.y');
    expect(events()).toEqual([
      { policy: 'a', selector: 0, text: `${folder}x` },
      { policy: 'b', selector: 0, text: `${folder}x` },
      { policy: 'a', selector: 1, text: `${folder}z` },
      { policy: 'a', selector: 1, text: `${folder}q.y` },
      { policy: 'b', selector: 0, text: `${folder}q.y` },
    ]);
  });

  it('skips policies for other nodes, and takes one out that is for others from now on', async () => {
    const forPool = (name: string, pool: string) => {
      const parsed = JSON.parse(policy(name, [path('Prefix', folder)])) as { spec: object };
      return JSON.stringify({ ...parsed, spec: { ...parsed.spec, nodeSelector: { matchLabels: { pool } } } });
    };
    const states = async (...texts: string[]) =>
      (await apply(...texts)).map(({ name, state, hooks }) => [name, state, hooks.length]);
    expect(await states(forPool('here', 'build'), forPool('there', 'web'))).toEqual([
      ['here', 'loaded', 1],
      ['there', 'skipped', 0],
    ]);
    events();
    open('x');
    expect(events().map((event) => event.policy)).toEqual(['here']);
    expect(await states(forPool('here', 'web'))).toEqual([['here', 'skipped', 0]]);
    open('x');
    expect(events()).toEqual([]);
  });

  it('holds a scope to the processes that are in it', async () => {
    const inScope = { matchBinaries: [{ operator: 'In', values: [process.execPath] }] };
    const outOfScope = { matchBinaries: [{ operator: 'NotIn', values: [process.execPath] }] };
    await apply(
      policy('in', [{ ...inScope, ...path('Prefix', folder) }]),
      policy('out', [{ ...outOfScope, ...path('Prefix', folder) }]),
    );
    events();
    open('x');
    open('x');
    expect(events().map((event) => event.policy)).toEqual(['in', 'in']);
  });

  it('takes a hundred policies on one hook', async () => {
    await apply(
      ...Array.from({ length: 100 }, (_, i) =>
        policy(`p${i}`, [path('Equal', `${folder}${i}`, `${folder}all`)]),
      ),
    );
    events();
    open('7', 'none');
    expect(events().map((event) => event.policy)).toEqual(['p7']);
    open('all');
    expect(events().length).toBe(100);
  });

  it('refuses what it cannot attach, in words, and keeps the rest and the former version', async () => {
    await apply(policy('kept', [path('Prefix', folder)]));
    const outcomes = await apply(
      policy('kept', [path('Prefix', folder)], 'sys_afs_syscall'),
      policy('other', [path('Equal', `${folder}x`)]),
    );
    expect(outcomes.map(({ name, state, formerInForce }) => [name, state, formerInForce])).toEqual([
      ['kept', 'refused', true],
      ['other', 'loaded', false],
    ]);
    expect(outcomes[0]?.reason).toMatch(/no function __x64_sys_afs_syscall/);
    events();
    open('x');
    expect(
      events()
        .map((event) => event.policy)
        .sort(),
    ).toEqual(['kept', 'other']);
  });

  it('hooks a call that takes no arguments', async () => {
    const text = JSON.parse(
      policy('none', [{ matchBinaries: [{ operator: 'In', values: [process.execPath] }] }]),
    );
    text.spec.kprobes[0].call = 'sys_getppid';
    text.spec.kprobes[0].args = [];
    const [outcome] = await apply(JSON.stringify(text));
    expect(outcome).toMatchObject({ state: 'loaded', hooks: ['__x64_sys_getppid'] });
    events();
    expect(process.ppid).toBeGreaterThan(0);
    expect(events().map((event) => event.policy)).toEqual(['none']);
  });

  it('leaves nothing behind of what was exchanged', async () => {
    await apply(policy('one', [path('Equal', `${folder}x`)]));
    const first = set.hooks().map(({ program }) => program.programId);
    for (let turn = 0; turn < 5; turn++) await apply(policy('one', [path('Equal', `${folder}${turn}`)]));
    expect(set.hooks().map(({ program }) => program.programId)).toEqual(first);
    events();
    open('x', '4');
    expect(events().map((event) => event.text)).toEqual([`${folder}4`]);
    await apply();
    open('4');
    expect(events()).toEqual([]);
    expect(set.hooks()).toEqual([]);
  });

  it('cuts a string that is too long, decides from its front, and says that its end is not known', async () => {
    const long = 'l'.repeat(5000);
    await apply(policy('front', [path('Prefix', `${folder}l`)]), policy('end', [path('Postfix', 'l')]));
    events();
    const before = counter('undecided');
    open(long);
    expect(events().map(({ policy: name, text }) => [name, text.length])).toEqual([['front', 4095]]);
    expect(counter('undecided') - before).toBe(1n);
    expect(counter('truncatedArgument')).toBeGreaterThan(0n);
  });

  it('refuses a policy for which a map has no room, and leaves all as it was', async () => {
    const small = new HookKernel({
      objectPath: `${objects}hook.bpf.o`,
      sharedMaps: maps,
      maxEntries: { string_masks: 8 },
    });
    const other = new PolicySet({ kernel: small, hostNamespaces: readHostNamespaces() });
    const many = Array.from({ length: 10 }, (_, i) => `${folder}many${i}`);
    const scope = { matchBinaries: [{ operator: 'In', values: [process.execPath] }] };
    try {
      await other.apply(parsePolicies(policy('fits', [{ ...scope, ...path('Equal', `${folder}x`) }])));
      for (let turn = 0; turn < 3; turn++) {
        const [outcome] = await other.apply(
          parsePolicies(
            policy('fits', [
              { matchBinaries: [{ operator: 'In', values: [`/nowhere${turn}`] }], ...path('Equal', ...many) },
            ]),
          ),
        );
        expect([outcome?.state, outcome?.formerInForce]).toEqual(['refused', true]);
        expect(outcome?.reason).toMatch(
          /the kernel map string_masks cannot take another entry \(it holds up to 8/,
        );
        events();
        open('x', 'many1');
        expect(events(other)).toEqual([{ policy: 'fits', selector: 0, text: `${folder}x` }]);
      }
      await other.apply(parsePolicies(policy('fits', [path('Equal', ...many.slice(0, 6))])));
      expect(other.hooks().length).toBe(1);
    } finally {
      await other.close();
      small.close();
    }
  });

  it('measures what a hit out of scope costs', async () => {
    await apply(
      policy('out', [
        { matchBinaries: [{ operator: 'In', values: ['/nowhere'] }], ...path('Prefix', folder) },
      ]),
    );
    const stats = enableProgramStats();
    for (let i = 0; i < 2000; i++) open('x');
    const [hook] = set.hooks();
    stats.close();
    const facts = hook?.program;
    expect(facts?.runCount).toBeGreaterThan(0n);
    console.log(
      `${facts?.type}: ${Number(facts?.runTimeNs) / Number(facts?.runCount)} ns a run of ${facts?.runCount}, ${facts?.verifiedInstructions} verified instructions, ${facts?.memlockBytes} bytes`,
    );
    expect(events()).toEqual([]);
  });
});

describe('paths of a policy', () => {
  it('lead where their links lead, and keep their own text', () => {
    const [parsed] = parsePolicies(
      policy('links', [{ matchBinaries: [{ operator: 'In', values: ['/bin/su'] }] }]),
    );
    if (parsed === undefined) throw new Error('no policy');
    const real = (name: string) => ({ '/bin': '/usr/bin', '/bin/su': '/usr/bin/su' })[name];
    const { policy: resolved, followed } = resolvePolicyPaths(parsed, real);
    expect(followed.map(({ from, to }) => [from, to])).toEqual([['/bin/su', '/usr/bin/su']]);
    expect(resolved.spec.kprobes?.[0]?.selectors?.[0]?.matchBinaries?.[0]?.values).toEqual([
      '/bin/su',
      '/usr/bin/su',
    ]);
  });
});
