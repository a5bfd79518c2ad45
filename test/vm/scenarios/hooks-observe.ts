// SPDX-License-Identifier: Apache-2.0
// Hooks that only look: which calls make an event, how many, and what it says.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const on = (operator: string, ...values: string[]) => [{ matchArgs: [{ index: 0, operator, values }] }];

export default scenario(
  'hooks observe what the operators say, and nothing else',
  { variants: ['default', 'no-bpf-lsm'], timeoutMs: 240_000 },
  async ({ folder, run, log }) => {
    await withHooks(async (hooks) => {
      mkdirSync(join(folder, 'deep/er'), { recursive: true });
      const files = ['a.txt', 'a.txt.bak', 'b.log', 'deep/er/a.txt'].map((name) => join(folder, name));
      for (const file of files) writeFileSync(file, 'x');
      const [a = '', bak = '', b = '', deep = ''] = files;

      const opened = async (selectors: readonly object[]): Promise<string[]> => {
        const startMs = performance.now();
        await hooks.apply(policyOf('watch', 'security_file_open', ['file'], selectors));
        log(`applied in ${(performance.now() - startMs).toFixed(1)} ms`);
        hooks.events();
        const { pid } = await run('openat', files);
        return hooks
          .events()
          .filter((event) => event.pid === pid)
          .map((event) => event.args[0]?.text ?? '')
          .filter((path) => path.startsWith(folder));
      };

      assert.deepEqual(await opened(on('Equal', a)), [a]);
      assert.deepEqual(await opened(on('Equal', a, deep)), [a, deep]);
      assert.deepEqual(await opened(on('NotEqual', a)), [bak, b, deep]);
      assert.deepEqual(await opened(on('Prefix', a)), [a, bak]);
      assert.deepEqual(await opened(on('Prefix', `${folder}/deep`, b)), [b, deep]);
      assert.deepEqual(await opened(on('NotPrefix', a)), [b, deep]);
      assert.deepEqual(await opened(on('Postfix', 'a.txt')), [a, deep]);
      assert.deepEqual(await opened(on('NotPostfix', '.txt', '.log')), [bak]);
      assert.deepEqual(
        await opened([
          {
            matchArgs: [
              { index: 0, operator: 'Prefix', values: [folder] },
              { index: 0, operator: 'NotPrefix', values: [`${folder}/deep`] },
              { index: 0, operator: 'Postfix', values: ['.txt'] },
            ],
          },
        ]),
        [a],
      );
      // Selectors are ORed, and of one policy the first one that matches acts.
      assert.deepEqual(await opened([...on('Postfix', '.log'), ...on('Equal', a), ...on('Prefix', a)]), [
        a,
        bak,
        b,
      ]);

      const binary = (operator: string, ...values: string[]) => [
        { matchBinaries: [{ operator, values }], matchArgs: [{ index: 0, operator: 'Equal', values: [a] }] },
      ];
      assert.deepEqual(await opened(binary('In', '/weir/bin/openat')), [a]);
      assert.deepEqual(await opened(binary('In', '/usr/bin/cat')), []);
      assert.deepEqual(await opened(binary('NotIn', '/weir/bin/openat')), []);
      assert.deepEqual(await opened(binary('NotIn', '/usr/bin/cat')), [a]);
      assert.deepEqual(await opened(binary('Prefix', '/weir/')), [a]);
      assert.deepEqual(await opened(binary('NotPrefix', '/weir/')), []);
      assert.deepEqual(await opened(binary('Postfix', '/openat')), [a]);
      assert.deepEqual(await opened(binary('NotPostfix', '/openat')), []);

      const namespace = (kind: string, operator: string, ...values: string[]) => [
        {
          matchNamespaces: [{ namespace: kind, operator, values }],
          matchArgs: [{ index: 0, operator: 'Equal', values: [a] }],
        },
      ];
      for (const kind of ['Uts', 'Ipc', 'Mnt', 'Pid', 'PidForChildren', 'Net', 'Cgroup', 'User', 'Time']) {
        assert.deepEqual(await opened(namespace(kind, 'In', 'host_ns')), [a], kind);
        assert.deepEqual(await opened(namespace(kind, 'NotIn', 'host_ns')), [], kind);
        assert.deepEqual(await opened(namespace(kind, 'In', '12345')), [], kind);
      }
      // The same program in namespaces of its own.
      await hooks.apply(
        policyOf('watch', 'security_file_open', ['file'], namespace('Uts', 'NotIn', 'host_ns')),
      );
      hooks.events();
      await run('unshare', ['--uts', '/weir/bin/openat', a]);
      assert.deepEqual(
        hooks.events().map((event) => event.args[0]?.text),
        [a],
      );

      // One open of a file on overlayfs is one event, though the file behind it is opened too.
      const layers = Object.fromEntries(
        ['lower', 'upper', 'work', 'merged'].map((name) => [name, join(folder, name)]),
      );
      for (const layer of Object.values(layers)) mkdirSync(layer);
      writeFileSync(join(layers.lower ?? '', 'layered'), 'x');
      const { lower, upper, work, merged } = layers;
      const mounted = await run('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
        `${merged}`,
      ]);
      assert.equal(mounted.code, 0, mounted.stderr);
      await hooks.apply(policyOf('watch', 'security_file_open', ['file'], on('Postfix', '/layered')));
      hooks.events();
      assert.equal((await run('cat', [`${merged}/layered`])).stdout, 'x');
      const layered = hooks.events().map((event) => event.args[0]?.text);
      await run('umount', [`${merged}`]);
      assert.deepEqual(layered, [`${merged}/layered`]);

      // Numbers and strings of a system call.
      await hooks.apply(
        policyOf(
          'calls',
          'sys_openat',
          ['int', 'string', 'int'],
          [
            {
              matchArgs: [
                { index: 0, operator: 'Equal', values: ['-100'] },
                { index: 1, operator: 'Equal', values: [a] },
                { index: 2, operator: 'NotEqual', values: ['7'] },
              ],
            },
          ],
        ),
      );
      hooks.events();
      await run('openat', files);
      const [call, ...more] = hooks.events();
      assert.deepEqual(more, []);
      assert.deepEqual(
        call?.args.map(({ value, text }) => [value, text]),
        [
          [BigInt.asUintN(64, -100n), ''],
          [0n, a],
          [0n, ''],
        ],
      );

      // The file of a descriptor.
      await hooks.apply(
        policyOf(
          'descriptors',
          'sys_close',
          ['fd'],
          [{ matchArgs: [{ index: 0, operator: 'Equal', values: [a] }] }],
        ),
      );
      hooks.events();
      await run('openat', files);
      assert.deepEqual(
        hooks.events().map((event) => event.args[0]?.text),
        [a],
      );

      // Policies on one hook each have their own event, with their own arguments.
      await hooks.apply(
        policyOf('one', 'security_file_open', ['file'], on('Equal', a)),
        policyOf('two', 'security_file_open', ['file'], on('Postfix', '.txt')),
        policyOf('three', 'security_file_open', [], [{}]),
        policyOf('four', 'security_file_open', ['file'], on('Equal', b)),
      );
      hooks.events();
      await run('openat', [a]);
      const seen = hooks.events().filter((event) => event.policy !== 'three' || event.args.length !== 0);
      assert.deepEqual(
        seen.filter((event) => event.args[0]?.text === a).map((event) => event.policy),
        ['one', 'two'],
      );
      for (const { symbol, program } of hooks.set.hooks()) {
        log(
          `${symbol}: ${program.type}, ${program.verifiedInstructions} verified instructions, ${program.memlockBytes} bytes`,
        );
      }
      for (const name of ['undecided', 'ringFull', 'mapFull', 'scratchBusy', 'storageFailed'] as const) {
        assert.equal(hooks.counter(name), 0n, name);
      }
      const produced = hooks.counter('produced');
      hooks.events();
      assert.ok(hooks.read >= produced, 'every record that was made was read');
    });
  },
);
