// SPDX-License-Identifier: Apache-2.0
// Markers of a program: their arguments read from registers, memory and constants, matched as their types say, at every
// place of a name; counters raised while somebody looks; and what cannot be read refused in words.

import assert from 'node:assert/strict';
import { EventKind } from '@weir/schema';
import { type HookEvent, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const program = '/weir/bin/user';

function usdt(
  marker: string,
  types: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
): string {
  const args = types.map((type, index) => ({ index, type })).filter(({ type }) => type !== '');
  return policyWith(`on-${marker}`, {
    usdts: [{ path: program, provider: 'weir', name: marker, args, ...more }],
  });
}

function values(event: HookEvent | undefined): (bigint | string)[] {
  return (event?.args ?? []).map(({ value, text }) => (text === '' ? value : text));
}

const unsigned = (value: bigint) => BigInt.asUintN(64, value);

export default scenario('markers of a program are hooked', { timeoutMs: 150_000 }, async ({ run }) => {
  await withHooks(async (hooks) => {
    const act = async (...acts: string[]) => {
      hooks.events();
      const result = await run('user', acts);
      return { ...result, events: hooks.events() };
    };
    const notMarked = { selectors: [{ matchArgs: [{ index: 0, operator: 'GT', values: ['100'] }] }] };
    await hooks.apply(
      usdt('registers', ['int', 'int64', 'string']),
      usdt('memory', ['int32', 'int64', 'uint8']),
      usdt('constant', ['int32', 'uint32']),
      usdt('table', ['uint64', 'uint64']),
      usdt('both', ['int32']),
      // The first argument is in a vector register: nobody asks for it.
      usdt('odd', ['', 'int32']),
      policyWith('unmatched', {
        usdts: [
          { path: program, provider: 'weir', name: 'both', args: [{ index: 0, type: 'int' }], ...notMarked },
        ],
      }),
    );
    const marked = await act('mark:-5:-6000000000:text');
    const by = (marker: string) =>
      marked.events.filter(({ policy }) => policy === `on-${marker}`).map(values);
    assert.equal(marked.events.length, 7, JSON.stringify(marked.events.map(({ policy }) => policy)));
    assert.ok(marked.events.every(({ kind, pid }) => kind === EventKind.usdt && pid === marked.pid));
    assert.deepEqual(by('registers'), [[unsigned(-5n), unsigned(-6_000_000_000n), 'text']]);
    assert.deepEqual(by('memory'), [[unsigned(-5n), unsigned(-6_000_000_000n), 251n]]);
    assert.deepEqual(by('constant'), [[unsigned(-17n), 42n]]);
    assert.deepEqual(by('table'), [[unsigned(-6_000_000_000n), 101n]]);
    assert.deepEqual(by('both'), [[unsigned(-5n)], [unsigned(-5n)]]);
    assert.deepEqual(by('odd'), [[unsigned(-5n)]]);
    const offsets = marked.events.map(({ offset }) => offset);
    assert.equal(new Set(offsets).size, 7, 'each marker is somewhere else');
    assert.equal(hooks.counter('undecided'), 0n);

    // A counter is raised while a policy looks, and only then.
    assert.equal((await act('gated')).stdout, 'alone\n');
    await hooks.apply(usdt('gated', ['int']));
    const watched = await act('gated');
    assert.equal(watched.stdout, 'watched\n');
    assert.deepEqual(watched.events.map(values), [[7n]]);
    await hooks.apply();
    const after = await act('gated', 'mark:1:2:x');
    assert.equal(after.stdout, 'alone\n');
    assert.deepEqual(after.events, []);

    // Text is matched; who passes the marker is killed there.
    await hooks.apply(
      usdt('registers', ['int', 'int64', 'string'], {
        selectors: [
          {
            matchArgs: [
              { index: 2, operator: 'Prefix', values: ['sec'] },
              { index: 0, operator: 'Equal', values: ['-1'] },
            ],
            matchBinaries: [{ operator: 'In', values: [program] }],
            matchActions: [{ action: 'Sigkill' }],
          },
        ],
      }),
    );
    const killed = await act(
      'mark:-1:0:other',
      'mark:1:0:secret',
      'say:first',
      'mark:-1:0:secret',
      'say:never',
    );
    assert.equal(killed.stdout, 'first\n');
    assert.equal(killed.signal, 'SIGKILL');
    assert.deepEqual(
      killed.events.map((event) => [event.action, event.signal, ...values(event)]),
      [['sigkill', 9, unsigned(-1n), 0n, 'secret']],
    );

    // An argument in memory is set as the program passes; what does not match, and who only watches, leaves it as it is.
    const set = (mode: string, argIndex: number, more: object = {}) =>
      policyWith(
        'set',
        {
          usdts: [
            {
              path: program,
              provider: 'weir',
              name: 'kept',
              args: [{ index: 0, type: 'int' }],
              selectors: [
                {
                  matchArgs: [{ index: 0, operator: 'GT', values: ['5'] }],
                  matchActions: [{ action: 'Set', argIndex, argValue: -7 }],
                },
              ],
              ...more,
            },
          ],
        },
        [{ name: 'policy-mode', value: mode }],
      );
    await hooks.apply(set('monitor', 0));
    assert.equal((await act('kept:6')).stdout, '6\n');
    await hooks.apply(set('enforce', 0));
    const enforced = hooks.counter('enforced');
    const kept = await act('kept:5', 'kept:6');
    assert.equal(kept.stdout, '5\n-7\n');
    assert.deepEqual(
      kept.events.map((event) => [event.action, ...values(event)]),
      [['set', 6n]],
    );
    assert.equal(hooks.counter('enforced') - enforced, 1n);

    const refusals: readonly [string, RegExp][] = [
      [set('enforce', 1), /argument 1 cannot be set: it is in a register/],
      [set('enforce', 2), /argument 2 cannot be set: it is a constant/],
      [usdt('none', ['int']), /has no marker weir:none; it has the markers weir:registers, weir:memory/],
      [usdt('odd', ['int']), /argument 0 cannot be read: 8f@%xmm0/],
      [usdt('both', ['int', 'int']), /the marker weir:both has no argument 1 that can be read; it has 1/],
      [
        policyWith('shell', { usdts: [{ path: '/bin/sh', provider: 'weir', name: 'both' }] }),
        /\/bin\/sh has no marker weir:both; it has no markers/,
      ],
    ];
    for (const [text, reason] of refusals) {
      const [outcome] = await hooks.tryApply(text);
      assert.equal(outcome?.state, 'refused', text);
      assert.match(outcome?.reason ?? '', reason);
    }
  });
});
