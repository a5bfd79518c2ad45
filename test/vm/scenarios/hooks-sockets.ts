// SPDX-License-Identifier: Apache-2.0
// Sockets and addresses as arguments: what is read of them, and what each operator says of TCP, UDP, IPv4, IPv6, IPv4
// within IPv6, and of sockets that have no internet address at all.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { readSocketArgument, SOCKET_ARGUMENT_BYTES } from '@weir/schema';
import { type HookEvent, policyOf, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const stateSynSent = 2;

function socketOf(event: HookEvent | undefined, position: number) {
  const bytes = Buffer.from(event?.args[position]?.text ?? '', 'latin1');
  assert.equal(bytes.length, SOCKET_ARGUMENT_BYTES);
  const read = readSocketArgument(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
  return { ...read, source: [...read.sourceAddress], destination: [...read.destinationAddress] };
}

/** A destination, and what a selector says of it. */
type Case = readonly [operator: string, values: readonly string[], matches: readonly string[]];

const peers = ['127.0.0.1 80', '127.1.0.1 1023', '127.1.0.1 8080', '::1 80', '::ffff:127.1.0.1 8080'];

const cases: readonly Case[] = [
  ['DAddr', ['127.0.0.1'], ['127.0.0.1 80']],
  ['DAddr', ['127.1.0.0/16'], ['127.1.0.1 1023', '127.1.0.1 8080', '::ffff:127.1.0.1 8080']],
  // The longest match holds what a shorter one says.
  ['DAddr', ['127.0.0.0/8', '127.1.0.1/32'], peers.filter((peer) => peer !== '::1 80')],
  ['NotDAddr', ['127.0.0.0/8'], ['::1 80']],
  ['SAddr', ['::/0'], ['::1 80']],
  ['NotSAddr', ['::1', '127.0.0.1'], ['127.1.0.1 1023', '127.1.0.1 8080', '::ffff:127.1.0.1 8080']],
  ['DPort', ['80', '8000:8080'], peers.filter((peer) => !peer.endsWith(' 1023'))],
  ['NotDPort', ['80', '8000:8080'], ['127.1.0.1 1023']],
  ['SPortPriv', [], peers.filter((peer) => !peer.endsWith('8080'))],
  ['NotDPortPriv', [], peers.filter((peer) => peer.endsWith('8080'))],
  ['Family', ['AF_INET6'], ['::1 80', '::ffff:127.1.0.1 8080']],
];

export default scenario(
  'hooks read sockets and addresses, and match them',
  { timeoutMs: 120_000 },
  async ({ folder, run, log }) => {
    assert.equal((await run('/sbin/ip', ['link', 'set', 'lo', 'up'])).code, 0);
    await withHooks(async (hooks) => {
      // TCP, by the struct sock.
      const server = createServer((connection) => connection.end()).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const tcp = (name: string, ...terms: readonly object[]) =>
        policyOf(
          name,
          'tcp_connect',
          ['sock'],
          [{ matchArgs: terms.map((term) => ({ index: 0, ...term })) }],
        );
      const dial = ['-c', `exec 3<>/dev/tcp/127.0.0.1/${port}; echo $?`];
      await hooks.apply(
        tcp(
          'yes',
          { operator: 'Protocol', values: ['IPPROTO_TCP'] },
          { operator: 'State', values: ['TCP_SYN_SENT'] },
          { operator: 'DPort', values: [String(port)] },
          { operator: 'DPort', values: ['1024:65535'] },
          { operator: 'SAddr', values: ['127.0.0.0/8'] },
          { operator: 'NotSPortPriv' },
        ),
        tcp('no', { operator: 'State', values: ['TCP_ESTABLISHED', 'TCP_LISTEN'] }),
        tcp('nor', { operator: 'Protocol', values: ['IPPROTO_UDP'] }),
      );
      hooks.events();
      assert.equal((await run('/bin/bash', dial)).stdout, '0\n');
      const connects = hooks.events();
      assert.deepEqual(
        connects.map(({ policy }) => policy),
        ['yes'],
      );
      const seen = socketOf(connects[0], 0);
      assert.deepEqual(
        [seen.family, seen.type, seen.protocol, seen.state, seen.destinationPort],
        [2, 1, 6, stateSynSent, port],
      );
      assert.deepEqual(seen.source.slice(0, 4), [127, 0, 0, 1]);
      assert.deepEqual(seen.destination.slice(0, 4), [127, 0, 0, 1]);
      assert.ok(seen.sourcePort >= 1024);

      // Denied by its destination; others go on.
      const guard = (values: readonly string[]) =>
        policyWith('guard', {
          lsmhooks: [
            {
              hook: 'socket_connect',
              args: [
                { index: 0, type: 'socket' },
                { index: 1, type: 'sockaddr' },
              ],
              selectors: [
                {
                  matchArgs: [
                    { index: 0, operator: 'Protocol', values: ['IPPROTO_TCP'] },
                    { index: 1, operator: 'NotSAddr', values },
                  ],
                  matchActions: [{ action: 'Override', argError: -1 }],
                },
              ],
            },
          ],
        });
      await hooks.apply(guard(['10.0.0.0/8']));
      assert.equal((await run('/bin/bash', dial)).stdout, '1\n');
      await hooks.apply(guard(['127.0.0.0/8']));
      assert.equal((await run('/bin/bash', dial)).stdout, '0\n');
      server.close();

      // An address by itself has one end, whichever an operator names.
      await hooks.apply(
        ...cases.map(([operator, values], n) =>
          policyOf(
            `case-${n}`,
            'security_socket_connect',
            ['socket', 'sockaddr'],
            [{ matchArgs: [{ index: 1, operator, values }] }],
          ),
        ),
      );
      hooks.events();
      const input = peers.map((peer) => `connect\t-\t0\t${peer.replace(' ', '\t')}\n`).join('');
      const made = await run('calls', [], { input });
      assert.equal(made.stdout, '0\n'.repeat(peers.length));
      const found = hooks.events();
      for (const [n, [operator, values, matches]] of cases.entries()) {
        const own = found.filter(({ policy, pid }) => policy === `case-${n}` && pid === made.pid);
        assert.deepEqual(
          own.map((event) => {
            const { family, destination, destinationPort } = socketOf(event, 1);
            const v4 = destination.slice(0, 4).join('.');
            const v6 =
              destination[15] === 1 && destination[10] === 0
                ? '::1'
                : `::ffff:${destination.slice(12).join('.')}`;
            return `${family === 2 ? v4 : v6} ${destinationPort}`;
          }),
          matches,
          `${operator} ${values}`,
        );
      }

      // A socket with no internet address is in no network, and not out of one.
      const local = (name: string, index: number, operator: string, ...values: string[]) =>
        policyOf(
          name,
          'security_socket_connect',
          ['socket', 'sockaddr'],
          [{ matchArgs: [{ index, operator, values }] }],
        );
      await hooks.apply(
        local('unix', 1, 'Family', 'AF_UNIX'),
        local('beside', 1, 'NotDAddr', '0.0.0.0/0', '::/0'),
        local('within', 1, 'DAddr', '0.0.0.0/0', '::/0'),
        local('socket', 0, 'Family', 'AF_LOCAL'),
      );
      const listener = createServer((connection) => connection.end()).listen(join(folder, 'local'));
      await once(listener, 'listening');
      hooks.events();
      const script = `require('net').connect('${join(folder, 'local')}').on('end', () => process.exit(0))`;
      const dialled = await run(process.execPath, ['-e', script]);
      listener.close();
      assert.equal(dialled.code, 0, dialled.stderr);
      assert.deepEqual(
        hooks
          .events()
          .filter(({ pid }) => pid === dialled.pid)
          .map(({ policy }) => policy),
        ['unix', 'socket'],
      );

      // Its own end where it is bound, and a system call's address from the caller's memory.
      await hooks.apply(
        policyOf(
          'bind',
          'security_socket_bind',
          ['socket', 'sockaddr'],
          [{ matchArgs: [{ index: 1, operator: 'SPort', values: ['4242'] }] }],
        ),
        policyOf(
          'call',
          'sys_connect',
          ['int', 'sockaddr'],
          [{ matchArgs: [{ index: 1, operator: 'DAddr', values: ['127.0.0.9'] }] }],
        ),
      );
      hooks.events();
      await run('calls', [], { input: 'connect\t127.0.0.8\t4242\t127.0.0.9\t53\n' });
      const [bound, called, ...more] = hooks.events();
      assert.deepEqual([bound?.policy, called?.policy, more.length], ['bind', 'call', 0]);
      assert.deepEqual(socketOf(bound, 1).source.slice(0, 4), [127, 0, 0, 8]);
      assert.equal(socketOf(bound, 1).sourcePort, 4242);
      assert.equal(socketOf(called, 1).destinationPort, 53);
      for (const { symbol, program } of hooks.set.hooks()) {
        log(`${symbol}: ${program.type}, ${program.verifiedInstructions} verified instructions`);
      }
      for (const name of ['undecided', 'unreadable'] as const) assert.equal(hooks.counter(name), 0n, name);
    });
  },
);
