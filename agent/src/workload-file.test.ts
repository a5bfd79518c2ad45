// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConfigError } from './config.js';
import type { Workload } from './policy/index.js';
import { readWorkloads, WorkloadFile } from './workload-file.js';

const folder = mkdtempSync(join(tmpdir(), 'weir-workloads-'));
mkdirSync(join(folder, 'a'));
afterAll(() => rmSync(folder, { recursive: true }));
const { ino } = statSync(join(folder, 'a'), { bigint: true });

const web = { cgroup: '/a', namespace: 'shop', labels: { app: 'web' }, container: 'main', repo: 'r' };

describe('the file of workloads', () => {
  it('names containers by their cgroups, and leaves out those that are not there', () => {
    expect(readWorkloads(JSON.stringify([web, { cgroup: '/b' }, { cgroup: '/a' }]), folder)).toEqual([
      { cgroupId: ino, namespace: 'shop', labels: { app: 'web' }, container: 'main', repo: 'r' },
    ]);
  });

  it.each([
    ['{', 'no JSON'],
    ['{}', 'must be a JSON array'],
    ['[3]', '[0] must be an object'],
    ['[{"cgroup":"a"}]', '[0].cgroup must be a path'],
    ['[{"cgroup":"/a/../../etc"}]', '[0].cgroup must be a path'],
    ['[{"cgroup":"/a","pod":"x"}]', '[0].pod is no field'],
    ['[{"cgroup":"/a","labels":{"x":1}}]', '[0].labels.x must be text'],
    ['[{"cgroup":"/a","labels":[]}]', '[0].labels must be an object'],
  ])('refuses %s', (text, message) => {
    expect(() => readWorkloads(text, folder)).toThrow(ConfigError);
    expect(() => readWorkloads(text, folder)).toThrow(message);
  });

  it('is refused at the start where it cannot be read', async () => {
    const path = join(folder, 'list');
    const set = async (): Promise<void> => undefined;
    const open = () => WorkloadFile.open({ path, set, complain: () => undefined, cgroups: folder });
    await expect(open()).rejects.toThrow(/ENOENT/);
    const told: (readonly Workload[])[] = [];
    writeFileSync(path, JSON.stringify([web]));
    const file = await WorkloadFile.open({
      path,
      cgroups: folder,
      complain: () => undefined,
      set: async (workloads) => {
        told.push(workloads);
      },
    });
    await file.close();
    expect(told[0]?.[0]?.cgroupId).toBe(ino);
  });
});
