// SPDX-License-Identifier: Apache-2.0
import { createSocket } from 'node:dgram';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type AgentAction, parsePolicies, plan } from '@weir/policy';
import {
  BATCH_HEADER_BINDING_COUNT_AT,
  BATCH_HEADER_BINDINGS_AT_AT,
  BATCH_HEADER_BYTES,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  BINDING_ENTRY_BINDING_ID_AT,
  BINDING_ENTRY_BYTES,
  BINDING_ENTRY_EVENT_KIND_AT,
  EventKind,
  HOOK_RECORD_BINDING_INDEX_AT,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_SELECTOR_INDEX_AT,
  RECORD_HEADER_KIND_AT,
} from '@weir/schema';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AgentActions } from './actions.js';
import { takeActions } from './batch.js';
import { getUrl, lookUpName } from './do.js';
import { mayLeadTo, readHostRule, refusedActions } from './hosts.js';

const owner = { policyName: 'p', policyNamespace: '' };
const action: AgentAction = { selectorIndex: 0, kind: 'GetUrl', target: 'http://seen.example/' };

function policyOf(actions: string, call = 'sys_dup'): ReturnType<typeof parsePolicies>[number] {
  const [policy] = parsePolicies(
    `apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: {kprobes: [{call: ${call}, selectors: [{matchActions: [{action: NoPost}]}, {matchActions: [${actions}]}]}]}`,
  );
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

describe('actions of the agent', () => {
  it('are done up to a rate, and counted beyond it', async () => {
    let nowMs = 0;
    const done: string[] = [];
    const actions = new AgentActions({
      nowMs: () => nowMs,
      perform: async ({ target }) => void done.push(target),
    });
    for (let n = 0; n < 13; n++) actions.take(owner, action);
    actions.take({ policyName: 'other', policyNamespace: 'shop' }, action);
    await vi.waitFor(() => expect(done).toHaveLength(11));
    expect(actions.counts()).toMatchObject([
      { policy: 'p', action: 'GetUrl', done: 10, rateLimited: 3, noRoom: 0, failed: 0 },
      { policy: 'other', namespace: 'shop', done: 1, rateLimited: 0 },
    ]);
    nowMs = 2500;
    for (let n = 0; n < 3; n++) actions.take(owner, action);
    expect(actions.counts()[0]).toMatchObject({ rateLimited: 4 });
  });

  it('wait in bounded number, a few at once, and are given up after their time or at the end', async () => {
    let running = 0;
    let most = 0;
    const perform = (_: AgentAction, signal: AbortSignal) =>
      new Promise<void>((_resolve, reject) => {
        most = Math.max(most, ++running);
        signal.addEventListener('abort', () => {
          running--;
          reject(signal.reason);
        });
      });
    const actions = new AgentActions({ perform, timeoutMs: 60_000 });
    for (let n = 0; n < 10; n++)
      for (let each = 0; each < 8; each++) actions.take({ policyName: `p${n}`, policyNamespace: '' }, action);
    expect(most).toBe(4);
    const sum = actions.counts().reduce((total, { noRoom }) => total + noRoom, 0);
    expect(sum).toBe(80 - 64 - 4);
    actions.close();
    await vi.waitFor(() => expect(running).toBe(0));
    expect(most).toBe(4);
    expect(actions.counts()[0]).toMatchObject({ failed: 4, lastError: 'the agent ends' });

    const slow = new AgentActions({ perform, timeoutMs: 1 });
    slow.take(owner, action);
    await vi.waitFor(() =>
      expect(slow.counts()[0]).toMatchObject({ failed: 1, lastError: 'took longer than 1 ms' }),
    );
  });

  it('are taken of the events of their selector, whatever else is in the batch', () => {
    const [hook] = plan([
      { id: 1, policy: policyOf('{action: GetUrl, argUrl: "http://seen.example"}') },
    ]).hooks;
    const binding = hook?.bindings[0];
    const bindingsAt = BATCH_HEADER_BYTES;
    const records = bindingsAt + 2 * BINDING_ENTRY_BYTES;
    const offsetsAt = records + 4 * HOOK_RECORD_BYTES;
    const view = new DataView(new ArrayBuffer(offsetsAt + 16));
    view.setUint32(BATCH_HEADER_BINDING_COUNT_AT, 2, true);
    view.setUint32(BATCH_HEADER_BINDINGS_AT_AT, bindingsAt, true);
    view.setUint32(BATCH_HEADER_RECORD_COUNT_AT, 4, true);
    view.setUint32(BATCH_HEADER_OFFSETS_AT_AT, offsetsAt, true);
    for (const [index, id] of [7, 8].entries()) {
      view.setUint32(bindingsAt + index * BINDING_ENTRY_BYTES + BINDING_ENTRY_BINDING_ID_AT, id, true);
      view.setUint16(
        bindingsAt + index * BINDING_ENTRY_BYTES + BINDING_ENTRY_EVENT_KIND_AT,
        EventKind.kprobe,
        true,
      );
    }
    const events = [
      [EventKind.kprobe, 2, 1], // the one that asks
      [EventKind.kprobe, 2, 0], // another selector
      [EventKind.kprobe, 1, 1], // another policy
      [EventKind.exit, 2, 1], // no hook
    ] as const;
    for (const [n, [kind, index, selector]] of events.entries()) {
      const at = records + n * HOOK_RECORD_BYTES;
      view.setUint32(offsetsAt + 4 * n, at, true);
      view.setUint16(at + RECORD_HEADER_KIND_AT, kind, true);
      view.setUint32(at + HOOK_RECORD_BINDING_INDEX_AT, index, true);
      view.setUint16(at + HOOK_RECORD_SELECTOR_INDEX_AT, selector, true);
    }
    const taken: string[] = [];
    takeActions(view, (id) => (id === 8 ? binding : undefined), {
      take: ({ policyName }, { target }) => taken.push(`${policyName} ${target}`),
    });
    expect(taken).toEqual(['p http://seen.example/']);
  });
});

describe('hosts that actions may reach', () => {
  const refusals = (actions: string, ...hosts: string[]) =>
    refusedActions(
      policyOf(actions),
      hosts.map((host) => {
        const rule = readHostRule(host);
        if (rule === undefined) throw new Error(`${host} is no rule`);
        return rule;
      }),
    ).map(({ path, message }) => `${path} ${message}`);

  it('are those that the node names, by name, below a name, or address, with their port', () => {
    const url = (text: string) => `{action: GetUrl, argUrl: "${text}"}`;
    expect(refusals(url('http://seen.example/x'))).toEqual([
      'spec.kprobes[0].selectors[1].matchActions[0].argUrl seen.example is no host that this agent lets policies reach: start it with --action-host seen.example',
    ]);
    expect(refusals(url('http://Seen.Example./x'), 'seen.example')).toEqual([]);
    expect(refusals(url('http://seen.example:8080/'), 'seen.example')).toHaveLength(1);
    expect(refusals(url('http://seen.example:8080/'), 'seen.example:8080')).toEqual([]);
    expect(refusals(url('http://a.seen.example/'), '*.seen.example')).toEqual([]);
    expect(refusals(url('http://seen.example/'), '*.seen.example')).toHaveLength(1);
    expect(refusals(url('http://notseen.example/'), 'seen.example', '*.seen.example')).toHaveLength(1);
    expect(refusals(url('http://0x7f.1/'), '127.0.0.1')).toEqual([]);
    expect(refusals(url('http://[::1]/'), '[::1]')).toEqual([]);
    expect(refusals('{action: DnsLookup, argFqdn: A.Seen.example.}', 'a.seen.example')).toEqual([]);
    expect(refusals('{action: DnsLookup, argFqdn: a.seen.example}', 'b.seen.example')).toHaveLength(1);
    for (const wrong of ['', 'a b', 'http://x', '*', 'x:99999', 'x/y', 'a@b']) {
      expect(readHostRule(wrong), wrong).toBeUndefined();
    }
  });

  it('are not this host nor its link where a name leads there', () => {
    for (const address of [
      '127.0.0.1',
      '169.254.169.254',
      '0.0.0.0',
      '::1',
      'fe80::1',
      '::ffff:169.254.169.254',
      '224.0.0.1',
    ])
      expect(mayLeadTo('seen.example', address), address).toBe(false);
    expect(mayLeadTo('seen.example', '10.1.2.3')).toBe(true);
    expect(mayLeadTo('seen.example', '2001:db8::1')).toBe(true);
    expect(mayLeadTo('localhost', '127.0.0.1')).toBe(true);
    expect(mayLeadTo('localhost', '169.254.169.254')).toBe(false);
    expect(mayLeadTo('169.254.169.254', '169.254.169.254')).toBe(true);
  });
});

describe('an action', () => {
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });
  const never = new AbortController().signal;

  async function server(
    answer: (request: IncomingMessage, of: Server) => [status: number, headers: Record<string, string>],
  ) {
    const asked: string[] = [];
    const made = createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers['user-agent']}`);
      response.writeHead(...answer(request, made));
      response.end('x'.repeat(100_000));
    });
    await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
    closing.push(() => made.close());
    return { port: (made.address() as AddressInfo).port, asked };
  }

  it('calls a URL once, and goes nowhere else', async () => {
    const { port, asked } = await server(() => [302, { location: '/other' }]);
    await getUrl(`http://127.0.0.1:${port}/seen?by=weir`, never);
    await getUrl(`http://localhost:${port}/`, never);
    expect(asked).toEqual(['GET /seen?by=weir weir-agent', 'GET / weir-agent']);
  });

  it('fails where nobody listens, and where its time is over', async () => {
    const { port } = await server(() => [200, {}]);
    const controller = new AbortController();
    controller.abort(new Error('over'));
    await expect(getUrl(`http://127.0.0.1:${port}/`, controller.signal)).rejects.toThrow();
    for (const close of closing.splice(0)) close();
    await vi.waitFor(() =>
      expect(getUrl(`http://127.0.0.1:${port}/`, never)).rejects.toThrow(/ECONNREFUSED/),
    );
  });

  it('looks a name up; that there is none is an answer', async () => {
    const asked: string[] = [];
    const socket = createSocket('udp4');
    closing.push(() => socket.close());
    socket.on('message', (query, from) => {
      const labels: string[] = [];
      for (let at = 12; query[at] !== 0 && at < query.length; at += 1 + (query[at] ?? 0))
        labels.push(query.toString('latin1', at + 1, at + 1 + (query[at] ?? 0)));
      asked.push(labels.join('.'));
      const answer = Buffer.from(query);
      answer.writeUInt16BE(0x8183, 2); // an answer: there is no such name
      socket.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    await lookUpName('token.seen.example', never, [`127.0.0.1:${socket.address().port}`]);
    expect(asked).toEqual(['token.seen.example']);
  });
});
