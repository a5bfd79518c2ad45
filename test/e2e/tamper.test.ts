// SPDX-License-Identifier: Apache-2.0
// Another hand changes the agent's maps, stops it and kills it: it is noticed, told of with who did it, and mended.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openMapById } from '@weir/native';
import { afterEach, describe, expect, test } from 'vitest';
import { policyOf, withHooks } from '../vm/guest/hooks.js';
import { World, waitFor, whyNoAgent } from './support.js';

const why = whyNoAgent();

test('maps that another hand changed are found and mended', async ({ skip }) => {
  if (why !== undefined) return skip(why);
  const folder = mkdtempSync(join(tmpdir(), 'weir-tamper-'));
  const path = join(folder, 'opened');
  try {
    await withHooks(async (hooks) => {
      await hooks.apply(
        policyOf(
          'watched',
          'sys_openat',
          ['int', 'string'],
          [
            {
              matchArgs: [{ index: 1, operator: 'Equal', values: [path] }],
              matchBinaries: [{ operator: 'NotIn', values: ['/nowhere'] }],
            },
          ],
        ),
      );
      const seen = () => {
        spawnSync('cat', [path]);
        return hooks.events().filter(({ args }) => args[1]?.text === path).length;
      };
      const ids = hooks.mapIds();
      const change = (name: string, how: (map: ReturnType<typeof openMapById>) => void) => {
        const map = openMapById(ids[name] ?? 0);
        how(map);
        map.close();
      };
      const clear = (name: string) =>
        change(name, (map) => {
          for (const key of [...keysOf(map)]) map.delete(key);
        });
      const keysOf = (map: ReturnType<typeof openMapById>) => {
        const keys: Uint8Array[] = [];
        map.forEachKey((key) => keys.push(Uint8Array.from(key)));
        return keys;
      };
      expect(await hooks.set.inspect(false)).toEqual([]);
      expect(seen()).toBe(1);
      const ways: Record<string, () => void> = {
        hook_states: () =>
          change('hook_states', (map) => {
            for (const index of [0, 1])
              map.update(new Uint8Array(Uint32Array.of(index).buffer), new Uint8Array(map.valueBytes));
          }),
        hook_configs: () =>
          change('hook_configs', (map) => {
            for (const index of [0, 1])
              map.update(new Uint8Array(Uint32Array.of(index).buffer), new Uint8Array(map.valueBytes));
          }),
        string_masks: () => clear('string_masks'),
        selectors: () => clear('selectors'),
      };
      for (const [name, tamper] of Object.entries(ways)) {
        tamper();
        expect(seen(), `${name} changed: it is blind`).toBe(0);
        expect(await hooks.set.inspect(false), name).not.toEqual([]);
        expect(seen(), `${name} looked at only`).toBe(0);
        expect(await hooks.set.inspect(true), name).not.toEqual([]);
        expect(await hooks.set.inspect(false), `${name} mended`).toEqual([]);
        expect(seen(), `${name} mended`).toBe(1);
      }
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('an agent that others signal', () => {
  let world: World | undefined;
  afterEach(() => world?.close());

  test('says who stopped it, and the next one that it was killed', async ({ skip }) => {
    if (why !== undefined) return skip(why);
    world = new World();
    const one = world;
    await one.startControlPlane();
    const agent = await one.startAgent();
    const script = 'kill -STOP "$1"; kill -CONT "$1"; exit 0';
    const { pid } = spawnSync('/bin/sh', ['-c', script, 'weir-e2e-stops-it', String(agent.child.pid)]);
    const rows = (sql: string) =>
      waitFor(sql, async () => {
        const found = await one.query(sql);
        return found.length > 0 && found;
      });
    const [stopped] = await rows(`SELECT message, pid, arguments FROM events WHERE kind = 'tamper'`);
    expect(stopped?.[0]).toBe('signal 19 was sent to the agent');
    expect(Number(stopped?.[1])).toBe(pid);
    expect(stopped?.[2]).toContain('weir-e2e-stops-it');

    await agent.end('SIGKILL');
    await one.startAgent();
    const status = await one.status();
    expect(status.tamper).toEqual({ count: 1, current: [] });
    await rows(
      `SELECT 1 FROM events WHERE kind = 'tamper' AND message = 'the agent before this one ended without being told to'`,
    );
  });
});
