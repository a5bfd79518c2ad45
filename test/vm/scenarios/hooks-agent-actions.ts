// SPDX-License-Identifier: Apache-2.0
// GetUrl and DnsLookup: refused where the node names no host; else the agent calls a server and asks a name server, both on
// loopback, for the calls that match and for no other.

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AgentActions, getUrl, lookUpName, readHostRule, refusedActions } from '@weir/agent';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

export default scenario(
  'the agent calls and looks up what policies ask for',
  {},
  async ({ run, waitFor }) => {
    const up = await run('/sbin/ip', ['link', 'set', 'lo', 'up']);
    assert.equal(up.code, 0, up.stderr);
    const called: string[] = [];
    const http = createServer((request, response) => {
      called.push(`${request.method} ${request.url}`);
      response.writeHead(302, { location: '/elsewhere' }).end();
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const { port } = http.address() as AddressInfo;
    const asked: string[] = [];
    const dns = createSocket('udp4');
    dns.on('message', (query, from) => {
      const end = query.indexOf(0, 12);
      asked.push(query.toString('latin1', 13, end).replace(/[^\w-]/g, '.'));
      const answer = Buffer.from(query);
      answer.writeUInt16BE(0x8183, 2); // there is no such name
      dns.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve));
    const server = `127.0.0.1:${dns.address().port}`;
    const actions = new AgentActions({
      perform: ({ kind, target }, signal) =>
        kind === 'GetUrl' ? getUrl(target, signal) : lookUpName(target, signal, [server]),
    });
    const rules = [`127.0.0.1:${port}`, '*.seen.example'].map((text) => {
      const rule = readHostRule(text);
      assert.ok(rule !== undefined, text);
      return rule;
    });
    const policy = (host: string) =>
      policyOf(
        'tokens',
        'sys_prctl',
        ['int', 'int'],
        [
          { matchArgs: [{ index: 1, operator: 'Equal', values: ['9'] }], matchActions: [{ action: 'Post' }] },
          {
            matchArgs: [
              { index: 0, operator: 'Equal', values: ['-7'] },
              { index: 1, operator: 'Equal', values: ['5', '6'] },
            ],
            matchActions: [
              { action: 'GetUrl', argUrl: `http://${host}/seen` },
              { action: 'DnsLookup', argFqdn: 'token.seen.example' },
            ],
          },
        ],
      );
    try {
      await withHooks(async (hooks) => {
        const [refused] = await hooks.tryApply(policy(`127.0.0.1:${port}`));
        assert.match(refused?.reason ?? '', /matchActions\[0\]\.argUrl: GetUrl is not done here/);
      });
      await withHooks(
        async (hooks) => {
          const [refused] = await hooks.tryApply(policy('169.254.169.254'));
          assert.match(refused?.reason ?? '', /argUrl: 169\.254\.169\.254 is no host that this agent lets/);
          await hooks.apply(policy(`127.0.0.1:${port}`));
          hooks.events();
          const input = [5, 6, 7, 9].map((value) => `prctl\t-7\t${value}\t0\t0\t0\n`).join('');
          const made = await run('calls', [], { input });
          assert.equal(made.code, 0, made.stderr);
          const events = hooks.events();
          assert.deepEqual(
            events.map(({ action }) => action),
            ['geturl', 'geturl', 'post'],
          );
          for (const { bindingId, selector } of events) {
            const binding = hooks.set.binding(bindingId);
            for (const action of binding?.agentActions ?? []) {
              if (binding !== undefined && action.selectorIndex === selector) actions.take(binding, action);
            }
          }
          await waitFor(
            'actions',
            () => actions.counts().reduce((sum, { done, failed }) => sum + done + failed, 0) === 4,
          );
          assert.deepEqual(
            actions.counts().map(({ policy, action, done, failed }) => [policy, action, done, failed]),
            [
              ['tokens', 'GetUrl', 2, 0],
              ['tokens', 'DnsLookup', 2, 0],
            ],
          );
          assert.deepEqual(called, ['GET /seen', 'GET /seen']);
          assert.deepEqual(asked, ['token.seen.example', 'token.seen.example']);
        },
        { refusedActions: (given) => refusedActions(given, rules) },
      );
    } finally {
      actions.close();
      http.close();
      dns.close();
    }
  },
);
