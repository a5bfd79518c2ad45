// SPDX-License-Identifier: Apache-2.0
// What selectors do beside denying and killing: stacks are taken, and rate limits thin out events, and never enforcement.

import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hooks, policyOf, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

/** Events of two threads of one process that make the same call again and again, and of a second such process. */
async function checkScopes(hooks: Hooks, { folder, run }: ScenarioContext): Promise<void> {
  const victim = join(folder, 'not-there');
  const others = join(folder, 'others');
  mkdirSync(others);
  const remove = async () => {
    const { stdout } = await run('threads', [victim, '-2', others, '5']);
    assert.equal(stdout, '0 0\n');
    return hooks.events().length;
  };
  for (const [scope, expected] of [
    ['thread', [2, 2]],
    ['process', [1, 1]],
    ['global', [1, 0]],
  ] as const) {
    await hooks.apply(
      policyOf(
        `once-${scope}`,
        'sys_unlinkat',
        ['nop', 'nop', 'int'],
        [
          {
            matchBinaries: [{ operator: 'Postfix', values: ['/threads'] }],
            matchActions: [{ action: 'Post', rateLimit: '1h', rateLimitScope: scope }],
          },
        ],
      ),
    );
    hooks.events();
    assert.deepEqual([await remove(), await remove()], expected, scope);
  }
}

const nothing = {
  matches: 0n,
  posted: 0n,
  rateLimited: 0n,
  lost: 0n,
  enforced: 0n,
  enforceFailed: 0n,
  throttled: 0n,
};

function countsOf(hooks: Hooks, name: string) {
  const policies = hooks.set.report().flatMap((hook) => hook.policies);
  return policies.find((policy) => policy.name === name)?.counts;
}

/** Where a symbol of the kernel begins. */
function symbolAt(name: string): bigint {
  const found = new RegExp(`^([0-9a-f]+) . ${name}$`, 'm').exec(readFileSync('/proc/kallsyms', 'latin1'));
  assert.ok(found, name);
  return BigInt(`0x${found[1]}`);
}

/** Stacks begin in the hooked function, and in the program's own code. */
async function checkStacks(hooks: Hooks, { folder, run }: ScenarioContext): Promise<void> {
  const seen = join(folder, 'seen');
  writeFileSync(seen, '');
  const opened = (name: string, action: object) =>
    policyOf(
      name,
      'security_file_open',
      ['file'],
      [
        {
          matchArgs: [{ index: 0, operator: 'Equal', values: [seen] }],
          matchActions: [{ action: 'Post', ...action }],
        },
      ],
    );
  await hooks.apply(
    opened('both', { kernelStackTrace: true, userStackTrace: true }),
    opened('kernel', { kernelStackTrace: true }),
    opened('user', { userStackTrace: true }),
    opened('none', {}),
  );
  hooks.events();
  closeSync(openSync(seen, 'r'));
  await run('openat', [seen]);
  const events = hooks.events();
  const has = events.map(({ policy, kernelStack, userStack }) => [
    policy,
    kernelStack.length > 0,
    userStack.length > 0,
  ]);
  const each = [
    ['both', true, true],
    ['kernel', true, false],
    ['user', false, true],
    ['none', false, false],
  ];
  assert.deepEqual(has, [...each, ...each]);
  const hooked = symbolAt('security_file_open');
  const caller = symbolAt('do_dentry_open');
  for (const { kernelStack } of events.filter((event) => event.kernelStack.length > 0)) {
    const [first = 0n, second = 0n] = kernelStack;
    assert.ok(first > hooked && first < hooked + 16n, `innermost is ${first.toString(16)}`);
    assert.ok(second > caller && second < caller + 4096n, `its caller is ${second.toString(16)}`);
    assert.ok(kernelStack.length >= 4);
  }
  // The events of this process: it is still there to be looked at.
  const code = readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .flatMap((line) => {
      const found = /^([0-9a-f]+)-([0-9a-f]+) r.x/.exec(line);
      return found === null ? [] : [[BigInt(`0x${found[1]}`), BigInt(`0x${found[2]}`)] as const];
    });
  const own = events.filter(({ pid, userStack }) => pid === process.pid && userStack.length > 0);
  assert.equal(own.length, 2);
  for (const { userStack } of own) {
    const [first = 0n] = userStack;
    assert.ok(
      code.some(([from, to]) => first >= from && first < to),
      `${first.toString(16)} is no code of the program`,
    );
  }
}

export default scenario(
  'events have the stacks that are asked for; rate limits hold events back, and nothing else',
  { timeoutMs: 120_000 },
  async (context) => {
    const { folder, run } = context;
    await withHooks(async (hooks) => {
      await checkStacks(hooks, context);
      await checkScopes(hooks, context);

      // Whose first 40 bytes are the same, is the same.
      const long = join(folder, 'a-folder-whose-name-is-long-enough-for-it');
      assert.ok(long.length > 40);
      mkdirSync(long);
      const [one, two, other] = [join(long, 'one'), join(long, 'two'), join(folder, 'other')];
      for (const path of [one, two, other]) writeFileSync(path, '');
      const limited = (actions: readonly object[], more: readonly string[] = []) =>
        policyOf(
          'limited',
          'security_file_open',
          ['file'],
          [
            {
              matchArgs: [{ index: 0, operator: 'Prefix', values: [`${folder}/`, ...more] }],
              matchBinaries: [{ operator: 'Postfix', values: ['/openat'] }],
              matchActions: actions,
            },
          ],
        );
      const paths = () => hooks.events().map(({ args }) => args[0]?.text);
      const globally = [{ action: 'Post', rateLimit: '2m', rateLimitScope: 'global' }];
      await hooks.apply(limited(globally));
      const before = hooks.counter('rateLimited');
      await run('openat', [one, two, other, one, two, other]);
      assert.deepEqual(paths(), [one, other]);
      assert.equal(hooks.counter('rateLimited') - before, 4n);
      assert.deepEqual(countsOf(hooks, 'limited'), {
        ...nothing,
        matches: 6n,
        posted: 2n,
        rateLimited: 4n,
      });

      // Another policy comes, and this one changes in what it matches: the limit goes on.
      await hooks.apply(limited(globally, ['/nowhere/']), policyOf('more', 'sys_dup', ['fd'], []));
      await run('openat', [one, other]);
      assert.deepEqual(paths(), []);

      // Each call is denied, and told of once.
      await hooks.apply(
        limited([
          { action: 'Override', argError: -13 },
          { action: 'Post', rateLimit: 60 },
        ]),
      );
      hooks.events();
      const denied = await run('openat', [other, other, other, other]);
      assert.equal(denied.stdout, '13\n'.repeat(4));
      assert.deepEqual(paths(), [other]);
      const counts = countsOf(hooks, 'limited');
      // In force under the same name and on the same hook, it goes on counting.
      assert.deepEqual(counts, { ...nothing, matches: 12n, posted: 3n, rateLimited: 9n, enforced: 4n });
      const [hook] = hooks.set.report();
      assert.ok((hook?.hits ?? 0n) > 12n, 'others open files too');

      // Held back for a time, not for ever.
      await hooks.apply(limited([{ action: 'Post', rateLimit: '1s', rateLimitScope: 'global' }]));
      hooks.events();
      const times: bigint[] = [];
      await context.waitFor('a second event', async () => {
        await run('openat', [other, other]);
        times.push(...hooks.events().map(({ timeNs }) => timeNs));
        return times.length >= 2;
      });
      assert.ok((times[1] ?? 0n) - (times[0] ?? 0n) >= 1_000_000_000n, 'the second came too early');

      // A limit of no time is none.
      await hooks.apply(limited([{ action: 'Post', rateLimit: '0' }]));
      hooks.events();
      await run('openat', [other, other, other]);
      assert.deepEqual(paths(), [other, other, other]);
    });
  },
);
