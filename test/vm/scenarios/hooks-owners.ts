// SPDX-License-Identifier: Apache-2.0
// Sockets that belong to a process: what is received in the context of whoever sent it is told of the one that the
// socket belongs to; not before, not after it was let go, and nobody inherits a socket that is gone.

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { openMapById } from '@weir/native';
import { RecordFlag } from '@weir/schema';
import { type Hooks, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const bash = [{ operator: 'In', values: ['/bin/bash'] }];
const goneWithinMs = 20_000;

function ownersIn(hooks: Hooks): number {
  const map = openMapById(hooks.mapIds().socket_owners ?? 0);
  let owners = 0;
  map.forEachKey(() => {
    owners++;
  });
  map.close();
  return owners;
}

export default scenario(
  'events of a socket are told of the process that it belongs to',
  { timeoutMs: 120_000 },
  async ({ run }) => {
    assert.equal((await run('/sbin/ip', ['link', 'set', 'lo', 'up'])).code, 0);
    const server = createSocket('udp4');
    server.on('message', (text, { port, address }) => server.send(text, port, address));
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    // A text goes to the server and comes back: that is received while the server sends.
    const ask = [
      '-c',
      `exec 3<>/dev/udp/127.0.0.1/${port}; echo hi >&3; read -t 9 -N 1 -u 3 back; echo $back`,
    ];

    const received = policyWith('received', {
      kprobes: [
        {
          call: 'security_sock_rcv_skb',
          syscall: false,
          args: [{ index: 0, type: 'sock' }],
          selectors: [{ matchArgs: [{ index: 0, operator: 'DPort', values: [String(port)] }] }],
        },
      ],
    });
    const onSocket = (name: string, call: string, action: string) =>
      policyWith(name, {
        kprobes: [
          {
            call,
            syscall: false,
            args: [{ index: 0, type: 'socket' }],
            // Looking names up connects to other sockets.
            selectors: [
              {
                matchBinaries: bash,
                matchArgs: [{ index: 0, operator: 'Family', values: ['AF_INET'] }],
                matchActions: [{ action, argSock: 0 }],
              },
            ],
          },
        ],
      });
    const made = policyWith('made', {
      kprobes: [
        {
          call: 'sk_alloc',
          syscall: false,
          args: [{ index: 1, type: 'int' }],
          return: true,
          returnArg: { index: 0, type: 'sock' },
          returnArgAction: 'TrackSock',
          selectors: [{ matchBinaries: bash, matchArgs: [{ index: 1, operator: 'Equal', values: ['2'] }] }],
        },
      ],
    });

    try {
      await withHooks(async (hooks) => {
        const exchange = async () => {
          hooks.events();
          const result = await run('/bin/bash', ask);
          assert.equal(result.stdout, 'h\n', result.stderr);
          const events = hooks.events();
          const came = events.filter(({ policy }) => policy === 'received');
          assert.equal(came.length, 1);
          return {
            owned: ((came[0]?.flags ?? 0) & RecordFlag.socketOwner) !== 0,
            isOwn: came[0]?.pid === result.pid,
            others: events.filter(({ policy }) => policy !== 'received'),
          };
        };
        const gone = async () => {
          const until = performance.now() + goneWithinMs;
          while (ownersIn(hooks) > 0) {
            assert.ok(performance.now() < until, 'owners of sockets that are gone stay behind');
            await wait(20);
          }
        };

        await hooks.apply(received);
        assert.equal((await exchange()).owned, false);

        const track = onSocket('track', 'security_socket_connect', 'TrackSock');
        await hooks.apply(received, track);
        const tracked = await exchange();
        assert.deepEqual([tracked.owned, tracked.isOwn], [true, true]);
        assert.deepEqual(
          tracked.others.map(({ policy, action }) => [policy, action]),
          [['track', 'tracksock']],
        );
        await gone();

        // No event shows where a socket lies.
        assert.ok(tracked.others.every(({ args }) => args.every(({ value }) => value === 0n)));

        // Let go when it sends: what comes back is nobody's.
        await hooks.apply(received, track, onSocket('untrack', 'security_socket_sendmsg', 'UntrackSock'));
        const untracked = await exchange();
        assert.deepEqual(
          [untracked.owned, untracked.others.map(({ action }) => action)],
          [false, ['tracksock', 'untracksock']],
        );
        assert.equal(ownersIn(hooks), 0);

        // As a function returns it.
        await hooks.apply(received, made);
        const returned = await exchange();
        assert.deepEqual([returned.owned, returned.isOwn], [true, true]);
        assert.deepEqual(
          returned.others.map(({ policy, returnAction }) => [policy, returnAction]),
          [['made', 'tracksock']],
        );
        await gone();

        // Of others' sockets nobody is told.
        await hooks.apply(received, onSocket('of-others', 'security_socket_listen', 'TrackSock'));
        assert.equal((await exchange()).owned, false);
      });
    } finally {
      server.close();
    }
  },
);
