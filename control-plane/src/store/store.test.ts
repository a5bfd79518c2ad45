// SPDX-License-Identifier: Apache-2.0
// Owns the contract of stores: every database that can stand behind the control plane runs it, PostgreSQL a real one.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresFolder, startPostgres } from '../../../test/services/postgres.mjs';
import { openPostgres, openSqlite } from './open.js';
import type { Audit, ReleaseRow, RolloutRow, Store, TokenRow } from './store.js';

let counter = 0;
function audit(action = 'test', id = `audit-${counter++}`): Audit {
  return {
    id,
    timeMs: counter,
    actor: 'tester',
    role: 'admin',
    action,
    subject: 'it',
    details: { n: counter },
  };
}

function token(id: string, more: Partial<TokenRow> = {}): TokenRow {
  return {
    id,
    role: 'admin',
    hash: 'ab'.repeat(32),
    description: '',
    cluster: undefined,
    labels: undefined,
    agentId: undefined,
    createdMs: 1_764_000_000_000,
    expiresMs: undefined,
    revokedMs: undefined,
    ...more,
  };
}

const filter = {
  name: 'drop',
  version: '1.0.0',
  digest: `sha256:${'1'.repeat(64)}`,
  bytes: 10,
  manifest: { abi: 1 },
  config: { threshold: 2 },
  createdMs: 5,
  createdBy: 'tester',
};

const policy = (source: string, name = 'watch') => ({
  name,
  namespace: '',
  kind: 'TracingPolicy',
  digest: `sha256:${source}`,
  source,
  createdMs: 5,
  createdBy: 'tester',
});

const release = (digest: string): ReleaseRow => ({ digest, policies: [], filters: [], settings: { digest } });
const rollout = (sequence: number, digest: string): RolloutRow => ({
  sequence,
  target: 'default',
  digest,
  fromDigest: undefined,
  createdMs: sequence,
  createdBy: 'tester',
});

const agent = (id: string, cluster = 'c1') => ({
  id,
  cluster,
  node: 'n1',
  labels: { zone: 'a' },
  publicKey: `key of ${id}`,
  enrolledMs: 7,
});

interface Opened {
  store: Store;
  /** Another connection to the same database, as another replica has it. */
  other: Store;
  close(): Promise<void>;
}

const kinds: Array<{ name: string; open: () => Promise<Opened> }> = [
  {
    name: 'SQLite',
    async open() {
      const { store } = await openSqlite(':memory:');
      return { store, other: store, close: () => store.close() };
    },
  },
  {
    name: 'PostgreSQL',
    async open() {
      const postgres = await startPostgres();
      const { store } = await openPostgres(postgres.url);
      const { store: other } = await openPostgres(postgres.url);
      return {
        store,
        other,
        async close() {
          await Promise.all([store.close(), other.close()]);
          await postgres.close();
        },
      };
    },
  },
];

for (const kind of kinds) {
  const missing = kind.name === 'PostgreSQL' && postgresFolder() === undefined;
  if (missing && process.env.CI !== undefined)
    throw new Error('PostgreSQL is not installed: apt-get install postgresql');
  // Skipped only on a machine without PostgreSQL; `apt-get install postgresql` brings it.
  describe.skipIf(missing)(`store on ${kind.name}`, () => {
    let opened: Opened;
    let store: Store;
    beforeAll(async () => {
      opened = await kind.open();
      store = opened.store;
    }, 120_000);
    afterAll(() => opened?.close());

    test('answers a ping', () => store.ping());

    test('keeps a token, with times that need more than 32 bits', async () => {
      const row = token('t1', { cluster: 'c', labels: { a: 'b' }, expiresMs: 1_800_000_000_000 });
      expect(await store.insertToken(row, audit())).toBe(true);
      expect(await store.findToken('t1')).toEqual(row);
    });

    test('refuses a token whose id is taken, and writes no audit row for it', async () => {
      await store.insertToken(token('t2'), audit());
      const before = (await store.listAudit()).length;
      expect(await store.insertToken(token('t2', { hash: 'cd' }), audit())).toBe(false);
      expect((await store.findToken('t2'))?.hash).toBe('ab'.repeat(32));
      expect((await store.listAudit()).length).toBe(before);
    });

    test('finds no revoked token, and revokes once', async () => {
      await store.insertToken(token('t3'), audit());
      expect(await store.revokeToken('t3', 9, audit('revoke', 'revoke-t3'))).toBe(true);
      expect(await store.revokeToken('t3', 9, audit())).toBe(false);
      expect(await store.findToken('t3')).toBeUndefined();
      expect((await store.listTokens()).find(({ id }) => id === 't3')?.revokedMs).toBe(9);
      expect((await store.listAudit()).filter(({ id }) => id === 'revoke-t3')).toHaveLength(1);
    });

    test('keeps keys of authors, retires each once, and one signature a key and module', async () => {
      const key = {
        id: 'fk-1',
        publicKey: 'raw',
        description: 'ci',
        createdMs: 5,
        createdBy: 'tester',
        retiredMs: undefined,
      };
      expect(await store.insertFilterKey(key, audit())).toBe(true);
      expect(await store.insertFilterKey({ ...key, publicKey: 'other' }, audit())).toBe(false);
      expect(await store.listFilterKeys()).toEqual([key]);
      expect(await store.retireFilterKey('fk-1', 9, audit())).toBe(true);
      expect(await store.retireFilterKey('fk-1', 10, audit())).toBe(false);
      expect(await store.listFilterKeys()).toEqual([{ ...key, retiredMs: 9 }]);
      const signature = {
        digest: 'sha256:a',
        keyId: 'fk-1',
        signature: 's',
        createdMs: 6,
        createdBy: 'tester',
      };
      expect(await store.insertFilterSignature(signature, audit())).toBe(true);
      expect(await store.insertFilterSignature(signature, audit())).toBe(false);
      expect(await store.insertFilterSignature({ ...signature, signature: 't' }, audit())).toBe(true);
      const second = { ...signature, keyId: 'fk-2', createdMs: 7 };
      expect(await store.insertFilterSignature(second, audit())).toBe(true);
      const found = await store.filterSignatures(['sha256:a', 'sha256:b']);
      expect([...found.keys()]).toEqual(['sha256:a']);
      expect(found.get('sha256:a')).toEqual([{ ...signature, signature: 't' }, second]);
      expect(await store.filterSignatures([])).toEqual(new Map());
    });

    test('never changes a version of a filter', async () => {
      expect(await store.insertFilter(filter, audit())).toBe(true);
      expect(await store.insertFilter({ ...filter, digest: 'sha256:2' }, audit())).toBe(false);
      expect(await store.findFilter('drop', '1.0.0')).toEqual(filter);
      expect(await store.findFilter('drop', '1.0.1')).toBeUndefined();
    });

    test('counts versions of a policy, and lists the newest', async () => {
      expect(await store.insertPolicy(policy('one'), audit())).toBe(1);
      expect(await store.insertPolicy(policy('two'), audit())).toBe(2);
      expect(await store.insertPolicy({ ...policy('three'), namespace: 'space' }, audit())).toBe(1);
      expect((await store.findPolicy('watch', ''))?.source).toBe('two');
      expect((await store.findPolicy('watch', '', 1))?.source).toBe('one');
      expect((await store.listPolicies()).map(({ namespace, version }) => [namespace, version])).toEqual([
        ['', 2],
        ['space', 1],
      ]);
      const sources = await store.policySources(['sha256:one', 'sha256:three', 'sha256:none']);
      expect([...sources.keys()].sort()).toEqual(['sha256:one', 'sha256:three']);
      expect(await store.retirePolicy('watch', '', 11, audit())).toBe(true);
      expect(await store.retirePolicy('watch', '', 12, audit())).toBe(false);
      expect((await store.findPolicy('watch', ''))?.retiredMs).toBe(11);
      expect((await store.findPolicy('watch', 'space'))?.retiredMs).toBeUndefined();
    });

    test('gives each of many that create a policy at once a version of its own', async () => {
      const stores = [store, opened.other];
      const versions = await Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          for (let tries = 0; tries < 50; tries++) {
            const at = stores[index % 2] as Store;
            const version = await at.insertPolicy(policy(`text ${index}`, 'crowded'), audit());
            if (version !== undefined) return version;
          }
          return -1;
        }),
      );
      expect(versions.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, index) => index + 1));
    });

    test('takes a rollout only one above the highest, and of two at once takes one', async () => {
      expect(await store.headRollout('default')).toBeUndefined();
      expect(await store.insertRollout(rollout(2, 'd2'), release('d2'), audit())).toBe(false);
      expect(await store.insertRollout(rollout(1, 'd1'), release('d1'), audit())).toBe(true);
      expect(await store.insertRollout(rollout(1, 'dx'), release('dx'), audit('lost', 'lost-rollout'))).toBe(
        false,
      );
      const both = await Promise.all([
        store.insertRollout(rollout(2, 'd2'), release('d2'), audit()),
        opened.other.insertRollout(rollout(2, 'd3'), release('d3'), audit()),
      ]);
      expect(both.filter(Boolean)).toHaveLength(1);
      const head = await store.headRollout('default');
      expect(head?.sequence).toBe(2);
      expect(await store.findRelease(head?.digest ?? '')).toEqual(release(head?.digest ?? ''));
      expect((await store.listRollouts('default')).map(({ sequence }) => sequence)).toEqual([2, 1]);
      expect((await store.listAudit()).some(({ id }) => id === 'lost-rollout')).toBe(false);
    });

    test('enrols an agent again in its cluster, with its token of before revoked', async () => {
      const first = token('a1-one', { role: 'agent', agentId: 'a1' });
      const second = token('a1-two', { role: 'agent', agentId: 'a1' });
      expect(await store.enrollAgent(agent('a1'), first, audit())).toBe(true);
      expect((await store.findToken('a1-one'))?.agentId).toBe('a1');
      expect(await store.enrollAgent({ ...agent('a1'), node: 'n2' }, second, audit())).toBe(true);
      expect(await store.findToken('a1-one')).toBeUndefined();
      expect((await store.findToken('a1-two'))?.agentId).toBe('a1');
      expect((await store.findAgent('a1'))?.node).toBe('n2');
    });

    test('refuses an agent in another cluster, and leaves its token as it is', async () => {
      await store.enrollAgent(agent('a2'), token('a2-one', { role: 'agent', agentId: 'a2' }), audit());
      const again = token('a2-two', { role: 'agent', agentId: 'a2' });
      expect(await store.enrollAgent(agent('a2', 'c2'), again, audit())).toBe(false);
      expect(await store.findToken('a2-one')).toBeDefined();
      expect(await store.findToken('a2-two')).toBeUndefined();
    });

    test('finds no token of a revoked agent, and lets it not enrol again', async () => {
      await store.enrollAgent(agent('a3'), token('a3-one', { role: 'agent', agentId: 'a3' }), audit());
      expect(await store.revokeAgent('a3', 20, audit())).toBe(true);
      expect(await store.revokeAgent('a3', 20, audit())).toBe(false);
      expect(await store.findToken('a3-one')).toBeUndefined();
      expect(await store.enrollAgent(agent('a3'), token('a3-two', { agentId: 'a3' }), audit())).toBe(false);
    });

    test('keeps the last report of an agent', async () => {
      await store.enrollAgent(agent('a4'), token('a4-one', { agentId: 'a4' }), audit());
      expect(await store.findReport('a4')).toBeUndefined();
      await store.touchAgent('a4', 1_000, 100);
      await store.touchAgent('a4', 1_050, 100);
      expect((await store.findAgent('a4'))?.lastSeenMs).toBe(1_000);
      await store.saveReport('a4', 1_100, 3, '{"releaseSequence":3}');
      expect(await store.findReport('a4')).toBe('{"releaseSequence":3}');
      expect(await store.findAgent('a4')).toMatchObject({
        releaseSequence: 3,
        reportedMs: 1_100,
        lastSeenMs: 1_100,
      });
      expect((await store.listAgents()).map(({ id }) => id)).toEqual(
        expect.arrayContaining(['a1', 'a2', 'a3', 'a4']),
      );
    });

    const job = (key: string, nowMs: number) => ({
      id: `job-${key}`,
      kind: 'work',
      key,
      payload: { key },
      nowMs,
    });

    test('leases a job to one worker at a time, oldest first, and again when the lease is over', async () => {
      expect(await store.enqueueJob(job('one', 100))).toBe(true);
      expect(await store.enqueueJob({ ...job('one', 100), id: 'other' })).toBe(false);
      await store.enqueueJob(job('two', 200));
      expect(await store.leaseJob(['other kind'], 'w1', 300, 50)).toBeUndefined();
      expect(await store.leaseJob(['work'], 'w1', 150, 50)).toMatchObject({
        id: 'job-one',
        attempts: 1,
        payload: { key: 'one' },
      });
      expect(await store.leaseJob(['work'], 'w2', 160, 50)).toBeUndefined();
      expect(await store.leaseJob(['work'], 'w2', 201, 50)).toMatchObject({ id: 'job-one', attempts: 2 });
      expect(await store.completeJob('job-one', 'w1', 202)).toBe(false);
      expect(await store.completeJob('job-one', 'w2', 203)).toBe(true);
      expect(await store.leaseJob(['work'], 'w1', 210, 50)).toMatchObject({ id: 'job-two' });
      expect(await store.failJob('job-two', 'w1', 'went wrong', 400)).toBe(true);
      expect(await store.leaseJob(['work'], 'w1', 399, 50)).toBeUndefined();
      expect(await store.leaseJob(['work'], 'w1', 400, 50)).toMatchObject({
        attempts: 2,
        error: 'went wrong',
      });
      expect(await store.failJob('job-two', 'w1', 'for good', undefined)).toBe(true);
      expect(await store.leaseJob(['work'], 'w1', 9_999, 50)).toBeUndefined();
      expect(await store.countJobs()).toEqual({ ready: 0, leased: 0, done: 1, failed: 1 });
      expect(await store.pruneJobs(1_000)).toBe(1);
    });

    test('hands each of many jobs to exactly one of many workers', async () => {
      for (let index = 0; index < 20; index++) await store.enqueueJob(job(`many-${index}`, 1_000 + index));
      const got: string[] = [];
      await Promise.all(
        Array.from({ length: 6 }, async (_, worker) => {
          const at = worker % 2 === 0 ? store : opened.other;
          for (let misses = 0; misses < 40; ) {
            const row = await at.leaseJob(['work'], `w${worker}`, 2_000, 1_000_000);
            if (row === undefined) misses++;
            else got.push(row.id);
          }
        }),
      );
      expect(got.sort()).toEqual(Array.from({ length: 20 }, (_, index) => `job-many-${index}`).sort());
    });
  });
}
