// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { manifest } from './fixtures.js';
import { checkManifest } from './index.js';

describe('a manifest', () => {
  const wrong: [unknown, RegExp][] = [
    [[], /JSON object/],
    [{ ...manifest, abi: '1' }, /abi must be/],
    [{ ...manifest, name: 'Tiny' }, /name must be/],
    [{ ...manifest, name: '-a' }, /name must be/],
    [{ ...manifest, version: 'a b' }, /version must be/],
    [{ ...manifest, failMode: 'shut' }, /failMode/],
    [{ ...manifest, colour: 1 }, /"colour" is no field/],
    [{ ...manifest, binds: { kinds: ['execve'] } }, /binds\.kinds\[0\] is "execve"; kinds are exec, clone/],
    [{ ...manifest, binds: { kinds: ['alert'] } }, /binds\.kinds\[0\]/],
    [
      { ...manifest, binds: { pods: [] } },
      /binds\.pods is not known; binds has kinds, policies, hooks, labels/,
    ],
    [{ ...manifest, binds: { hooks: [''] } }, /binds\.hooks\[0\] must be the name/],
    [{ ...manifest, binds: { labels: ['app'] } }, /binds\.labels\[0\] must be name=value/],
    [{ ...manifest, binds: { labels: ['=web'] } }, /binds\.labels\[0\] must be name=value/],
    [{ ...manifest, binds: { policies: [''] } }, /binds\.policies\[0\]/],
    [{ ...manifest, labels: ['ok', 'ok'] }, /labels\[1\] repeats/],
    [{ ...manifest, labels: ['a.b'] }, /labels\[0\]/],
    [{ ...manifest, redacts: ['process.binary'] }, /redacts\[0\] is "process.binary"; known are process.arg/],
    [{ ...manifest, redacts: 'arguments' }, /redacts must be a list/],
    [{ ...manifest, reads: ['verdicts'] }, /reads\[0\] is "verdicts"; known are labels/],
    [{ ...manifest, labels: ['error'] }, /keeps for itself/],
    [{ ...manifest, budget: [] }, /budget must be an object with fuelPerEvent, averageFuel, averageNs$/],
    [{ ...manifest, budget: { cpu: 1 } }, /budget\.cpu is not known; known are fuelPerEvent/],
    [{ ...manifest, budget: { averageNs: 0 } }, /budget\.averageNs must be a whole number from 1/],
    [{ ...manifest, budget: { averageFuel: 2 ** 41 } }, /budget\.averageFuel must be/],
    [{ ...manifest, labels: Array.from({ length: 65 }, (_, i) => `l${i}`) }, /at most 64/],
  ];
  it.each(wrong)('is refused: %j', (value, reason) => {
    const result = checkManifest(value);
    expect(result.ok ? '' : result.reason).toMatch(reason);
  });

  it('has a budget where it asks for one', () => {
    const read = (value: object) => {
      const result = checkManifest({ ...manifest, ...value });
      return result.ok ? result.manifest.budget : result.reason;
    };
    expect(read({})).toBeUndefined();
    expect(read({ budget: { averageNs: 500 } })).toEqual({ averageNs: 500 });
  });
});
