// SPDX-License-Identifier: Apache-2.0
// What is read and written: bytes as the call begins, bytes that are there when it returns, in one piece or in
// several, matched though they hold NULs, and cut where they are many.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArgumentFlag, limits, RecordFlag } from '@weir/schema';
import { type Hooks, policyWith, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

const LIMIT = 4095;

function hex(text: string): string {
  return text === '' ? '-' : Buffer.from(text, 'latin1').toString('hex');
}

/** Only calls on the descriptor 9 are meant. */
const onNine = { index: 0, operator: 'Equal', values: ['9'] };

function policy(name: string, call: string, buffer: object, terms: readonly object[], more: object = {}) {
  return policyWith(name, {
    kprobes: [
      {
        call,
        syscall: true,
        args: [{ index: 0, type: 'int' }, buffer],
        selectors: [{ matchArgs: [onNine, ...terms] }],
        ...more,
      },
    ],
  });
}

async function perform({ run }: ScenarioContext, file: string, redirect: string, lines: readonly string[]) {
  const made = await run('sh', ['-c', `buffers ${redirect} "$0"`, file], { input: `${lines.join('\n')}\n` });
  assert.equal(made.code, 0, made.stderr);
  return made.stdout.trim().split('\n').map(Number);
}

/** What `count` writes. */
function counted(bytes: number): string {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, at) => (at % 251) + 1)).toString('latin1');
}

const written = { index: 1, type: 'char_buf', sizeArgIndex: 3 };
const texts = ['hello', 'hello world', 'hell', 'a\0b', 'a', 'a\0bc', 'say hello', '', '\xff\xfehello'];

async function matchesWhatIsWritten(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const term = (operator: string, ...values: string[]) => [{ index: 1, operator, values }];
  const cases: readonly [string, readonly object[], (text: string) => boolean][] = [
    ['all', [], () => true],
    ['equal', term('Equal', 'hello', 'a'), (text) => text === 'hello' || text === 'a'],
    ['not-equal', term('NotEqual', 'hello', 'a'), (text) => text !== 'hello' && text !== 'a'],
    ['prefix', term('Prefix', 'hello', 'a'), (text) => /^(hello|a)/.test(text)],
    ['not-prefix', term('NotPrefix', 'hello', 'a'), (text) => !/^(hello|a)/.test(text)],
    ['postfix', term('Postfix', 'hello', 'b'), (text) => /(hello|b)$/.test(text)],
    ['not-postfix', term('NotPostfix', 'hello', 'b'), (text) => !/(hello|b)$/.test(text)],
    [
      'both',
      [...term('Prefix', 'hello'), ...term('NotEqual', 'hello world')],
      (text) => text.startsWith('hello') && text !== 'hello world',
    ],
  ];
  await hooks.apply(...cases.map(([name, terms]) => policy(name, 'sys_write', written, terms)));
  hooks.events();
  const lines = texts.map((text) => `write 9 ${hex(text)}`);
  const results = await perform(context, join(context.folder, 'out'), '9>', lines);
  assert.deepEqual(
    results,
    texts.map((text) => text.length),
  );
  const events = hooks.events();
  for (const [name, , holds] of cases) {
    assert.deepEqual(
      events.filter((event) => event.policy === name).map((event) => event.args[1]?.text),
      texts.filter(holds),
      name,
    );
  }
}

async function tellsWhatIsCut(context: ScenarioContext, hooks: Hooks): Promise<void> {
  await hooks.apply(
    policy('all', 'sys_write', written, []),
    policy('begins', 'sys_write', written, [{ index: 1, operator: 'Prefix', values: ['xx'] }]),
    policy('ends', 'sys_write', written, [{ index: 1, operator: 'NotPostfix', values: ['y'] }]),
    policy('equals', 'sys_write', written, [{ index: 1, operator: 'NotEqual', values: ['x'.repeat(249)] }]),
  );
  hooks.events();
  const undecided = hooks.counter('undecided');
  const sizes = [249, LIMIT, LIMIT + 1, 1 << 20];
  await perform(context, join(context.folder, 'out'), '9>', [
    ...sizes.map((size) => `fill 9 ${size}`),
    'wild 9 10',
  ]);
  const events = hooks.events();
  const shown = (name: string) =>
    events
      .filter((event) => event.policy === name)
      .map(({ args, flags }) => [
        args[1]?.text.length,
        args[1]?.original,
        ((args[1]?.flags ?? 0) & ArgumentFlag.truncated) !== 0,
        (flags & RecordFlag.truncated) !== 0,
      ]);
  const row = (size: number) => [Math.min(size, LIMIT), size, size > LIMIT, size > LIMIT];
  const wild = [0, 0, false, false];
  assert.deepEqual(shown('all'), [...sizes.map(row), wild]);
  assert.deepEqual(shown('begins'), sizes.map(row));
  // The end of what is cut is not known: not decided, and not told.
  assert.deepEqual(shown('ends'), sizes.slice(0, 2).map(row));
  assert.deepEqual(shown('equals'), sizes.slice(1).map(row));
  const last = events.filter((event) => event.policy === 'all').at(-1);
  assert.equal(last?.args[1]?.flags, ArgumentFlag.unreadable);
  assert.equal(last?.flags, RecordFlag.undecided);
  // Of two that are cut the end; of the one that cannot be read the beginning, the end and all of it.
  assert.equal(hooks.counter('undecided') - undecided, 5n);
}

async function readsWhatIsThereAtTheReturn(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const copied = { index: 1, type: 'char_buf', returnCopy: true };
  const more = { return: true, returnArg: { index: 0, type: 'int64' } };
  const secret = [{ index: 1, operator: 'Prefix', values: ['secret'] }];
  await hooks.apply(
    policy('all', 'sys_read', copied, [], more),
    policy('secret', 'sys_read', copied, secret, more),
    policy('entry', 'sys_read', { index: 1, type: 'char_buf', sizeArgIndex: 3 }, [], {}),
  );
  hooks.events();
  const file = join(context.folder, 'in');
  writeFileSync(file, `first\0secret${'z'.repeat(5000)}`);
  const results = await perform(context, file, '9<', [
    'read 9 5',
    'read 9 1',
    'read 9 8',
    'read 9 100000',
    'read 9 10',
    'read 9 0',
  ]);
  assert.deepEqual(results, [5, 1, 8, 4998, 0, 0]);
  const events = hooks.events();
  const shown = (name: string) => events.filter((event) => event.policy === name);
  assert.deepEqual(
    shown('all').map(({ args, returned }) => [args[1]?.text, args[1]?.original, returned?.value]),
    [
      ['first', 5, 5n],
      ['\0', 1, 1n],
      ['secretzz', 8, 8n],
      ['z'.repeat(LIMIT), 4998, 4998n],
      ['', 0, 0n],
      ['', 0, 0n],
    ],
  );
  assert.deepEqual(
    shown('all').map(({ args }) => args[1]?.flags),
    [8, 8, 8, 9, 8, 8],
  );
  assert.deepEqual(
    shown('secret').map(({ args }) => args[1]?.text),
    ['secretzz'],
  );
  // When the call begins there are zeros.
  assert.deepEqual(
    shown('entry').map(({ args }) => args[1]?.text),
    ['\0'.repeat(5), '\0', '\0'.repeat(8), '\0'.repeat(LIMIT), '\0'.repeat(10), ''],
  );
}

async function gathersPieces(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const pieces = { index: 1, type: 'char_iovec', sizeArgIndex: 3 };
  const more = { return: true, returnArg: { index: 0, type: 'int64' } };
  await hooks.apply(
    policy('written', 'sys_writev', pieces, []),
    policy('hello', 'sys_writev', pieces, [{ index: 1, operator: 'Equal', values: ['hello world'] }]),
    policy('read', 'sys_readv', { ...pieces, returnCopy: true }, [], more),
    policyWith('iter', {
      kprobes: [
        {
          call: 'ext4_file_write_iter',
          syscall: false,
          args: [{ index: 1, type: 'iov_iter' }],
          selectors: [{ matchArgs: [{ index: 1, operator: 'Prefix', values: ['hello'] }] }],
        },
      ],
    }),
  );
  hooks.events();
  const file = join(context.folder, 'pieces');
  const results = await perform(context, file, '9<>', [
    `writev 9 ${hex('hello')} - ${hex(' world')}`,
    `writev 9 ${hex('hell')} ${hex('o\0there')}`,
    `write 9 ${hex('hello again')}`,
    `write 9 ${hex('goodbye')}`,
    `pwrite 9 ${hex('hello world')}`,
  ]);
  assert.deepEqual(results, [11, 11, 11, 7, 11]);
  const reads = await perform(context, file, '9<', ['readv 9 3 5 100', 'readv 9 10 10']);
  assert.deepEqual(reads, [40, 0]);
  const events = hooks.events();
  const shown = (name: string) =>
    events.filter((event) => event.policy === name).map(({ args }) => args.at(-1)?.text);
  assert.deepEqual(shown('written'), ['hello world', 'hello\0there']);
  assert.deepEqual(shown('hello'), ['hello world']);
  assert.deepEqual(shown('read'), ['hello worldhello\0therehello againgoodbye', '']);
  assert.deepEqual(shown('iter'), ['hello world', 'hello\0there', 'hello again', 'hello world']);
}

async function tellsBuffersWhole(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const pieces = { index: 1, type: 'char_iovec', sizeArgIndex: 3, maxData: true };
  const begins = { index: 1, operator: 'Prefix', values: [counted(4).slice(1)] };
  await hooks.apply(
    policy('whole', 'sys_write', { ...written, maxData: true }, []),
    policy('cut', 'sys_write', written, []),
    policy('none', 'sys_write', { ...written, maxData: true }, [begins]),
    policy('pieces', 'sys_writev', pieces, []),
    policy('read', 'sys_read', { index: 1, type: 'char_buf', returnCopy: true, maxData: true }, [], {
      return: true,
      returnArg: { index: 0, type: 'int64' },
    }),
    policyWith('iter', {
      kprobes: [
        {
          call: 'ext4_file_write_iter',
          syscall: false,
          args: [{ index: 1, type: 'iov_iter', maxData: true }],
          selectors: [{ matchArgs: [{ ...begins, values: [counted(4)] }] }],
        },
      ],
    }),
  );
  hooks.events();
  const cutBefore = hooks.counter('truncatedArgument');
  const file = join(context.folder, 'whole');
  const sizes = [100, LIMIT, LIMIT + 1, 100_000, limits.whole_bytes, limits.whole_bytes + 1];
  const parts = [[3, LIMIT, 0, 20_000], Array.from({ length: 14 }, () => 9), [70_000, 300_000]];
  await perform(context, file, '9>', [
    ...sizes.map((size) => `count 9 ${size}`),
    ...parts.map((list) => `count 9 ${list.join(' ')}`),
  ]);
  await perform(context, file, '9<', ['read 9 100', 'read 9 4095', `read 9 4096`, 'read 9 100000']);
  const events = hooks.events();
  /** What is wrong with the bytes of a policy's events, and how many there are. */
  const shown = (name: string) =>
    events
      .filter((event) => event.policy === name)
      .map(({ args, flags }) => {
        const { text = '', original, value, flags: ofArgument = 0 } = args.at(-1) ?? {};
        const cut = [(ofArgument & ArgumentFlag.truncated) !== 0, (flags & RecordFlag.truncated) !== 0];
        return [text.length, original, ...cut, value, text === counted(text.length)];
      });
  const row = (size: number, most: number) => {
    const isCut = size > most;
    return [Math.min(size, most), size, isCut, isCut, 0n, true];
  };
  const sums = parts.map((list) => list.reduce((sum, size) => sum + size, 0));
  assert.deepEqual(
    shown('whole'),
    sizes.map((size) => row(size, limits.whole_bytes)),
  );
  assert.deepEqual(
    shown('cut'),
    sizes.map((size) => row(size, LIMIT)),
  );
  assert.deepEqual(shown('none'), []);
  assert.deepEqual(
    shown('pieces'),
    sums.map((size) => row(size, limits.whole_bytes)),
  );
  assert.deepEqual(
    shown('iter'),
    [...sizes, ...sums].map((size) => row(size, limits.whole_bytes)),
  );
  assert.deepEqual(
    shown('read'),
    [100, 4095, 4096, 100_000].map((size) => row(size, limits.whole_bytes)),
  );
  const rows = ['whole', 'cut', 'pieces', 'iter', 'read'].flatMap(shown);
  assert.equal(
    hooks.counter('truncatedArgument') - cutBefore,
    BigInt(rows.filter(([, , isCut]) => isCut).length),
  );
}

export default scenario('hooks see what is read and written', { timeoutMs: 120_000 }, async (context) => {
  await withHooks(async (hooks) => {
    for (const step of [
      matchesWhatIsWritten,
      tellsWhatIsCut,
      readsWhatIsThereAtTheReturn,
      gathersPieces,
      tellsBuffersWhole,
    ]) {
      const startMs = performance.now();
      await step(context, hooks);
      context.log(`${step.name}: ${(performance.now() - startMs).toFixed(0)} ms`);
    }
  });
});
