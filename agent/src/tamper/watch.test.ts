// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RunningMarker } from './marker.js';
import { STOPPED_MS, TamperWatch, WATCH_MS } from './watch.js';

function setup(mend: boolean) {
  const world = { found: [] as string[], detached: [] as string[], nowMs: 0, mended: 0, fails: false };
  const said: string[] = [];
  const watch = new TamperWatch({
    inspect: async (mends) => {
      if (mends) world.mended++;
      if (world.fails) throw new Error('the maps are closed');
      return world.found;
    },
    detached: () => world.detached,
    hasFunctionHooks: () => false,
    say: (message) => said.push(message),
    onError: (error) => said.push(String(error)),
    mend,
    now: () => world.nowMs,
  });
  const look = async (afterMs: number = WATCH_MS) => {
    world.nowMs += afterMs;
    await watch.look();
  };
  return { world, said, watch, look };
}

describe('the watch over the agent', () => {
  it('says once what is wrong, and again when it has been right meanwhile', async () => {
    const { world, said, watch, look } = setup(false);
    await look();
    world.found = ['security_file_open: its state in the kernel was changed by another hand'];
    await look();
    await look();
    expect(said).toEqual(world.found);
    expect(watch.current).toEqual(world.found);
    const [finding] = world.found;
    world.found = [];
    await look();
    expect(watch.current).toEqual([]);
    world.found = [finding ?? ''];
    await look();
    expect(said).toHaveLength(2);
    expect(watch.count).toBe(2);
    expect(world.mended).toBe(0);
  });

  it('says each time what it has to mend', async () => {
    const { world, said, look } = setup(true);
    world.found = ['scopes: 1 entries'];
    await look();
    await look();
    expect(said).toEqual(['scopes: 1 entries', 'scopes: 1 entries']);
    expect(world.mended).toBe(2);
  });

  it('names programs of the sensor that are attached no more', async () => {
    const { world, said, look } = setup(false);
    world.detached = ['process_exec'];
    await look();
    expect(said).toEqual(['process_exec: its program is attached no more']);
  });

  it('goes on after a look that failed', async () => {
    const { world, said, look } = setup(false);
    world.fails = true;
    await look();
    world.fails = false;
    world.found = ['a finding'];
    await look();
    expect(said).toEqual(['Error: the maps are closed', 'a finding']);
  });

  it('says that the agent was stopped, and takes no late look for it', async () => {
    const { said, look } = setup(false);
    await look(WATCH_MS + 900);
    expect(said).toEqual([]);
    await look(STOPPED_MS + 1000);
    expect(said).toEqual([`the agent did not run for ${STOPPED_MS / 1000 + 1} s`]);
  });
});

describe('the mark of a running agent', () => {
  it('tells an agent that was killed from one that ended, and from one of another boot', () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-marker-'));
    try {
      expect(new RunningMarker(folder).begin('boot-1')).toBe(false);
      // Killed.
      const second = new RunningMarker(folder);
      expect(second.begin('boot-1')).toBe(true);
      second.end();
      expect(new RunningMarker(folder).begin('boot-1')).toBe(false);
      // The machine went down with it.
      expect(new RunningMarker(folder).begin('boot-2')).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
