// SPDX-License-Identifier: Apache-2.0
// Another hand detaches each program that policies have attached, one after the other: at a function's entry, at a call's
// return, at the entry and the return of a program's function, at a raw tracepoint, those that deny a system call, the one
// that forgets sockets. Each is missed, and back where it is to be mended.

import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const descriptors = '/proc/self/fdinfo';

/** What keeps this process's programs attached: descriptors by the ids of their links, the oldest first. */
function links(): [id: number, descriptor: number][] {
  const found: [number, number][] = [];
  for (const name of readdirSync(descriptors)) {
    let text: string;
    try {
      text = readFileSync(join(descriptors, name), 'latin1');
    } catch {
      continue; // the one by which the folder was read
    }
    const id = /^link_id:\s*(\d+)/m.exec(text)?.[1];
    if (id !== undefined) found.push([Number(id), Number(name)]);
  }
  return found.sort(([a], [b]) => a - b);
}

/** Puts another file in a descriptor's place, so that nobody else gets its number. */
function replace(descriptor: number): void {
  closeSync(descriptor);
  const others: number[] = [];
  for (let got = -1; got !== descriptor; ) {
    got = openSync('/dev/null', 'r');
    if (got !== descriptor) others.push(got);
  }
  for (const other of others) closeSync(other);
}

export default scenario('misses each program that is detached', {}, async ({ folder, run, log }) => {
  await withHooks(async (hooks) => {
    const [watched, denied] = [join(folder, 'watched'), join(folder, 'denied')] as const;
    for (const file of [watched, denied]) writeFileSync(file, '');
    const file = [{ index: 0, type: 'file' }];
    const isAt = (index: number, value: string, ...matchActions: object[]) => ({
      matchArgs: [{ index, operator: 'Equal', values: [value] }],
      matchActions,
    });
    const before = new Set(links().map(([id]) => id));
    await hooks.apply(
      policyWith('watched', {
        kprobes: [
          {
            call: 'security_file_open',
            syscall: false,
            return: true,
            args: file,
            returnArg: { index: 0, type: 'int' },
            selectors: [isAt(0, watched)],
          },
          {
            call: 'security_socket_connect',
            syscall: false,
            args: [{ index: 0, type: 'socket' }],
            selectors: [{ matchActions: [{ action: 'TrackSock', argSock: 0 }] }],
          },
        ],
      }),
      policyWith('called', {
        uprobes: [
          {
            path: '/weir/bin/cells',
            symbols: ['cell_value'],
            return: true,
            args: [{ index: 0, type: 'int' }],
            returnArg: { index: 0, type: 'int' },
          },
        ],
        tracepoints: [
          {
            subsystem: 'task',
            event: 'task_rename',
            raw: true,
            args: [{ index: 1, type: 'string' }],
            selectors: [isAt(1, 'renamed')],
          },
        ],
      }),
      policyWith('denied', {
        kprobes: [
          {
            call: 'sys_openat',
            syscall: true,
            args: [{ index: 1, type: 'string' }],
            selectors: [isAt(1, denied, { action: 'Override', argError: -1 })],
          },
        ],
      }),
    );
    const own = () => links().filter(([id]) => !before.has(id));
    const works = async (what: string) => {
      hooks.events();
      assert.equal((await run('openat', [watched, denied])).stdout, '0\n1\n', what);
      const deeds = ['value\t77\t0', 'rename\trenamed'].map((deed) => `-\t-\t${deed}\n`);
      assert.equal((await run('cells', [], { input: deeds.join('') })).stdout, '0 0 0\n'.repeat(2), what);
      assert.deepEqual(
        hooks.events().map(({ policy, returned }) => [policy, returned?.value]),
        [
          ['watched', 0n],
          ['denied', undefined],
          ['called', 0n],
          ['called', undefined],
        ],
        what,
      );
    };
    await works('as they are');
    assert.deepEqual(await hooks.set.inspect(false), []);
    const count = own().length;
    const told = new Set<string>();
    for (let n = 0; n < count; n++) {
      // What was mended is the newest.
      const [id = 0, descriptor = -1] = own()[0] ?? [];
      replace(descriptor);
      const found = await hooks.set.inspect(false);
      assert.notDeepEqual(found, [], `link ${id} is detached`);
      for (const one of found) told.add(one);
      assert.deepEqual(await hooks.set.inspect(true), found);
      assert.deepEqual(await hooks.set.inspect(false), [], `link ${id} is mended`);
      await works(`link ${id} is mended`);
    }
    log(`${count} links: ${[...told].join('; ')}`);
    assert.deepEqual([...told].map((one) => one.split(': ')[0]).sort(), [
      '/weir/bin/cells:cell_value',
      '__x64_sys_openat',
      'owners of sockets',
      'security_file_open',
      'security_socket_connect',
      'task:task_rename',
    ]);
  });
});
