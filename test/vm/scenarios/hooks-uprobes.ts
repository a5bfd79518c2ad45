// SPDX-License-Identifier: Apache-2.0
// Functions of a program: found by symbol, offset and address, their arguments read and matched, their caller scoped and
// killed before they run; and what a file has not, or is not, refused in words.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EventKind } from '@weir/schema';
import { type HookEvent, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const program = '/weir/bin/user';

function uprobe(name: string, fields: Readonly<Record<string, unknown>>): string {
  return policyWith(name, { uprobes: [{ path: program, ...fields }] });
}

function values(event: HookEvent | undefined): (bigint | string)[] {
  return (event?.args ?? []).map(({ value, text }) => (text === '' ? value : text));
}

export default scenario(
  'functions of a program are hooked',
  { timeoutMs: 150_000 },
  async ({ folder, run, log }) => {
    await withHooks(async (hooks) => {
      const act = async (...acts: string[]) => {
        hooks.events();
        const result = await run('user', acts);
        return { ...result, events: hooks.events() };
      };
      const startMs = performance.now();
      await hooks.apply(
        uprobe('sum', {
          symbols: ['user_add'],
          message: 'a sum',
          args: [
            { index: 0, type: 'int' },
            { index: 1, type: 'int64' },
          ],
          selectors: [{ matchArgs: [{ index: 1, operator: 'GT', values: ['10'] }] }],
        }),
        uprobe('six', {
          symbols: ['user_six'],
          args: ['int8', 'uint16', 'int', 'int64', 'uint32', 'uint64'].map((type, index) => ({
            index,
            type,
          })),
          selectors: [{ matchArgs: [{ index: 5, operator: 'LT', values: ['5'] }] }],
        }),
        uprobe('say', {
          symbols: ['user_say'],
          args: [{ index: 0, type: 'string', label: 'text' }],
          selectors: [{ matchArgs: [{ index: 0, operator: 'Prefix', values: ['sec'] }] }],
        }),
        uprobe('not-said', {
          symbols: ['user_say'],
          args: [{ index: 0, type: 'string' }],
          selectors: [
            {
              matchArgs: [{ index: 0, operator: 'NotPostfix', values: ['ret'] }],
              matchBinaries: [{ operator: 'In', values: [program] }],
            },
          ],
        }),
        uprobe('file', {
          symbols: ['user_file'],
          args: [{ index: 0, type: 'fd' }],
          selectors: [{ matchArgs: [{ index: 0, operator: 'Equal', values: [join(folder, 'opened')] }] }],
        }),
        uprobe('others', {
          symbols: ['user_add'],
          selectors: [{ matchBinaries: [{ operator: 'NotIn', values: [program] }] }],
        }),
      );
      log(`six policies on five functions, applied in ${(performance.now() - startMs).toFixed(0)} ms`);

      // Numbers, as their types cut and extend them.
      const sums = await act('add:-3:11', 'add:4:10', 'add:5:-7');
      assert.equal(sums.stdout, '8\n14\n-2\n');
      assert.deepEqual(
        sums.events.map(({ policy, kind, pid }) => [policy, kind, pid]),
        [['sum', EventKind.uprobe, sums.pid]],
      );
      assert.deepEqual(values(sums.events[0]), [BigInt.asUintN(64, -3n), 11n]);
      const six = await act('six:-2', 'six:1');
      assert.deepEqual(
        six.events.map(({ policy, symbol }) => [policy, symbol]),
        [['six', `${program}:user_six`]],
      );
      assert.deepEqual(values(six.events[0]), [BigInt.asUintN(64, -2n), 65535n, 0n, 1n, 2n, 3n]);

      // Text of the caller's memory; one that is no address is not decided, and matches nothing.
      const said = await act('say:secret', 'say:other', 'mute');
      assert.deepEqual(
        said.events.map((event) => [event.policy, ...values(event)]),
        [
          ['say', 'secret'],
          ['not-said', 'other'],
        ],
      );
      assert.equal(hooks.counter('undecided'), 2n, 'a text at address 0, of two policies');

      // The file behind a descriptor.
      writeFileSync(join(folder, 'opened'), '');
      writeFileSync(join(folder, 'other'), '');
      const files = await act(`open:${join(folder, 'other')}`, `open:${join(folder, 'opened')}`);
      assert.deepEqual(
        files.events.map(({ policy, args }) => [policy, args[0]?.text]),
        [['file', join(folder, 'opened')]],
      );

      // Another file of the same content is another file; a link leads to the same one.
      const copy = join(folder, 'copy');
      copyFileSync(program, copy);
      symlinkSync(program, join(folder, 'link'));
      hooks.events();
      await run(copy, ['add:1:20']);
      assert.deepEqual(hooks.events(), []);

      // By offset, address and through a link: where the symbol says. Two turns of one function are two events.
      const offset = (await act('add:1:20')).events[0]?.offset ?? 0n;
      assert.ok(offset > 0n);
      const address = symbolAddress('user_add');
      await hooks.apply(
        uprobe('by-offset', { offsets: [`0x${offset.toString(16)}`] }),
        uprobe('by-address', { addrs: [Number(address)] }),
        policyWith('by-link', { uprobes: [{ path: join(folder, 'link'), symbols: ['user_add'] }] }),
        uprobe('again', { symbols: ['user_again'], args: [{ index: 0, type: 'int' }] }),
      );
      const places = await act('add:1:1', 'twice:3');
      assert.deepEqual(
        places.events
          .slice(0, 3)
          .map((event) => [event.policy, event.offset])
          .sort(),
        [
          ['by-address', offset],
          ['by-link', offset],
          ['by-offset', offset],
        ],
      );
      assert.deepEqual(places.events.slice(3).map(values), [[3n], [2n], [1n]]);

      // A process is killed before the function runs; what does not match, and who only watches, goes on.
      const kill = (mode: string) =>
        JSON.stringify({
          ...JSON.parse(
            uprobe('kill', {
              symbols: ['user_say'],
              args: [{ index: 0, type: 'string' }],
              selectors: [
                {
                  matchArgs: [{ index: 0, operator: 'Equal', values: ['secret'] }],
                  matchActions: [{ action: 'Sigkill' }],
                },
              ],
            }).replace('"spec":{', `"spec":{"options":[{"name":"policy-mode","value":"${mode}"}],`),
          ),
        });
      await hooks.apply(kill('monitor'));
      const watched = await act('say:secret');
      assert.equal(watched.stdout, 'secret\n');
      assert.deepEqual(
        watched.events.map(({ action, signal }) => [action, signal]),
        [['sigkill', 9]],
      );
      await hooks.apply(kill('enforce'));
      const killed = await act('say:other', 'say:secret', 'say:never');
      assert.equal(killed.stdout, 'other\n');
      assert.equal(killed.signal, 'SIGKILL');
      assert.deepEqual(
        killed.events.map(({ action, signal }) => [action, signal]),
        [['sigkill', 9]],
      );
      await hooks.apply(
        uprobe('signal', {
          symbols: ['user_add'],
          selectors: [{ matchActions: [{ action: 'Signal', argSig: 15 }, { action: 'NoPost' }] }],
        }),
      );
      const signalled = await act('say:first', 'add:1:1', 'say:never');
      assert.equal(signalled.stdout, 'first\n');
      assert.equal(signalled.signal, 'SIGTERM');
      assert.deepEqual(signalled.events, []);

      // The digest of the file; and what is not there.
      const digest = createHash('sha256').update(readFileSync(program)).digest('hex');
      await hooks.apply(
        uprobe('digest', { symbols: ['user_add'], binaryDigests: ['0'.repeat(64), `sha256:${digest}`] }),
      );
      assert.equal((await act('add:1:1')).events.length, 1);
      const refusals: readonly [string, RegExp][] = [
        [
          uprobe('digest', { symbols: ['user_add'], binaryDigests: ['0'.repeat(64)] }),
          /SHA-256 digest [0-9a-f]{64}, which is not among binaryDigests/,
        ],
        [uprobe('none', { symbols: ['user_none'] }), /\/weir\/bin\/user has no function user_none/],
        [uprobe('data', { symbols: ['user_data'] }), /has no function user_data: it is no function/],
        [uprobe('far', { offsets: ['0x7fffffff'] }), /has no code at the offset 0x7fffffff/],
        [uprobe('wild', { addrs: [16] }), /has no code at the address 0x10/],
        [
          policyWith('text', { uprobes: [{ path: '/etc/passwd', symbols: ['main'] }] }),
          /\/etc\/passwd is no program or library/,
        ],
        [policyWith('gone', { uprobes: [{ path: '/gone', symbols: ['main'] }] }), /there is no file \/gone/],
        [policyWith('folder', { uprobes: [{ path: '/etc', symbols: ['main'] }] }), /\/etc is no file/],
      ];
      for (const [text, reason] of refusals) {
        const [outcome] = await hooks.tryApply(text);
        assert.equal(outcome?.state, 'refused', text);
        assert.match(outcome?.reason ?? '', reason);
      }
      const [ignored] = await hooks.tryApply(
        uprobe('ignored', { symbols: ['user_none', 'user_add'], ignore: { callNotFound: true } }),
      );
      assert.equal(ignored?.state, 'loaded', ignored?.reason);
      assert.deepEqual(ignored?.skippedHooks, [`${program}:user_none`]);
      assert.equal((await act('add:1:1')).events.length, 1);

      // What a function returns, beside its arguments: calls within one another, each with its own; what it has put where
      // it was told to; text; a signal by what it returned.
      const at = (operator: string, ...values: string[]) => [{ operator, values }];
      const returning = (name: string, symbol: string, type: string, fields: object, selector: object) =>
        uprobe(name, {
          symbols: [symbol],
          return: true,
          returnArg: { index: 0, type },
          ...fields,
          selectors: [selector],
        });
      await hooks.apply(
        returning(
          'nested',
          'user_again',
          'int',
          { args: [{ index: 0, type: 'int' }] },
          { matchReturnArgs: at('LT', '4') },
        ),
        returning(
          'negative',
          'user_add',
          'int64',
          { args: [{ index: 1, type: 'int64' }] },
          { matchArgs: [{ index: 1, ...at('GT', '-9')[0] }], matchReturnArgs: at('LT', '0') },
        ),
        returning(
          'filled',
          'user_fill',
          'int',
          { args: [{ index: 0, type: 'char_buf', returnCopy: true }] },
          { matchArgs: [{ index: 0, ...at('Equal', 'fill')[0] }] },
        ),
        returning(
          'limited',
          'user_fill',
          'int',
          {},
          {
            matchReturnArgs: at('LT', '3'),
            matchReturnActions: [
              { action: 'Post', rateLimit: '60', rateLimitScope: 'global', userStackTrace: true },
            ],
          },
        ),
        returning('jumped', 'user_jump', 'int', {}, {}),
        returning('text', 'user_tail', 'string', {}, { matchReturnArgs: at('Prefix', 'ail') }),
        // Another program on the same function, for its digest.
        returning(
          'twin',
          'user_tail',
          'string',
          { binaryDigests: [digest] },
          { matchReturnArgs: at('Prefix', 'ail') },
        ),
        returning(
          'stop',
          'user_say',
          'int',
          {},
          { matchReturnArgs: at('GT', '8'), matchReturnActions: [{ action: 'Sigkill' }] },
        ),
      );
      const lost = hooks.counter('returnsLost');
      const back = await act(
        'twice:5',
        'add:-3:1',
        'add:-3:-9',
        'add:1:1',
        'fill:4',
        'fill:2',
        'fill:2',
        'tail:4',
        'tail:5',
      );
      assert.equal(back.code, 0, back.stderr);
      const byPolicy = (one: HookEvent, other: HookEvent) => (one.policy < other.policy ? -1 : 1);
      // Which of two programs at one return comes first is the kernel's to say.
      const twins = back.events.slice(-2).sort(byPolicy);
      assert.deepEqual(
        [...back.events.slice(0, -2), ...twins].map((event) => [
          event.policy,
          ...values(event),
          event.returned?.text || BigInt.asIntN(64, event.returned?.value ?? 0n),
        ]),
        [
          ['nested', 1n, 1n],
          ['nested', 2n, 2n],
          ['nested', 3n, 3n],
          ['negative', 1n, -2n],
          ['filled', 'fill', 4n],
          ['limited', 2n],
          ['text', 'ail tail tail'],
          ['twin', 'ail tail tail'],
        ],
      );
      assert.ok((back.events.find(({ policy }) => policy === 'limited')?.userStack.length ?? 0) > 0);
      assert.equal(hooks.counter('returnsLost'), lost);
      // Deeper than calls are kept track of: those are counted.
      const deep = await act('twice:12');
      assert.deepEqual(
        deep.events.map((event) => event.returned?.value),
        [],
      );
      assert.equal(hooks.counter('returnsLost') - lost, 4n);
      // A jump past four functions that then never return: known where the same are called at their places once more.
      const before = hooks.counter('returnsLost');
      const jumped = await act('jump:3', 'jump:3', 'twice:2');
      assert.deepEqual(
        jumped.events.map((event) => [event.policy, event.returned?.value]),
        [
          ['nested', 1n],
          ['nested', 2n],
        ],
      );
      assert.equal(hooks.counter('returnsLost') - before, 4n);
      const stopped = await act('say:short', 'say:long enough', 'say:never');
      assert.equal(stopped.signal, 'SIGKILL');
      assert.equal(stopped.stdout, 'short\nlong enough\n');
      assert.deepEqual(
        stopped.events.map(({ policy, returnAction, signal }) => [policy, returnAction, signal]),
        [['stop', 'sigkill', 9]],
      );

      // Nothing stays behind.
      await hooks.apply();
      assert.equal((await act('add:1:11', 'say:secret')).events.length, 0);
    });
  },
);

/** Address of a symbol, read here by the simplest of means: the first one of that name in a table of symbols. */
function symbolAddress(name: string): bigint {
  const file = readFileSync(program);
  const sectionsAt = Number(file.readBigUInt64LE(40));
  const section = (n: number) => sectionsAt + 64 * n;
  for (let n = 0; n < file.readUInt16LE(60); n++) {
    if (file.readUInt32LE(section(n) + 4) !== 2) continue;
    const names = Number(file.readBigUInt64LE(section(file.readUInt32LE(section(n) + 40)) + 24));
    const from = Number(file.readBigUInt64LE(section(n) + 24));
    for (let at = from; at < from + Number(file.readBigUInt64LE(section(n) + 32)); at += 24) {
      const text = names + file.readUInt32LE(at);
      if (file.toString('latin1', text, file.indexOf(0, text)) === name) return file.readBigUInt64LE(at + 8);
    }
  }
  throw new Error(`there is no symbol ${name}`);
}
