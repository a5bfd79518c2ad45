// SPDX-License-Identifier: Apache-2.0
// Owns the files that a new filter begins with: a filter that does something, and a test that passes.

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { checkManifest } from '@weir/filter-accept';
import { FilterBuildError } from './error.js';

const source = `import { drop, Event, EventKind, keep, Severity, Verdict } from '@weir/filter-sdk';

/** Called once for each event that filter.json binds the filter to. */
export function filter(event: Event): Verdict {
  const process = event.process;

  // Health checks of the node's own agent are of no interest.
  if (event.kind == EventKind.exec && process.parent.binary.equals('/usr/bin/kubelet')) return drop();

  if (process.binary.startsWith('/tmp/')) {
    return keep().severity(Severity.medium).label('runs-from-tmp', process.binary).message('a program in /tmp was run');
  }
  return keep();
}
`;

const cases = {
  cases: [
    {
      name: 'drops what the kubelet runs, marks what runs from /tmp',
      events: [
        {
          process_exec: {
            process: { pid: 200, uid: 0, binary: '/bin/sh', arguments: '-c true', flags: 'execve' },
            parent: { pid: 100, binary: '/usr/bin/kubelet' },
          },
          time: '2026-01-02T03:04:05.000000001Z',
        },
        {
          process_exec: {
            process: { pid: 201, uid: 1000, binary: '/tmp/tool', arguments: '--now', flags: 'execve' },
            parent: { pid: 101, binary: '/usr/bin/bash' },
          },
          time: '2026-01-02T03:04:06Z',
        },
        {
          process_exec: {
            process: { pid: 202, uid: 1000, binary: '/usr/bin/id', flags: 'execve' },
            parent: { pid: 101, binary: '/usr/bin/bash' },
          },
          time: '2026-01-02T03:04:07Z',
        },
      ],
      expect: ['drop', { severity: 'medium', labels: { 'runs-from-tmp': '/tmp/tool' } }, 'keep'],
    },
  ],
};

/** For editors: AssemblyScript's types, and the SDK's. */
const tsconfig = {
  extends: 'assemblyscript/std/assembly.json',
  include: ['./*.ts'],
};

export interface NewFilterResult {
  folder: string;
  files: string[];
}

/** Writes a new filter into a folder that is empty or not there yet. */
export async function newFilter(folder: string, name: string): Promise<NewFilterResult> {
  const manifest = {
    name,
    version: '0.1.0',
    description: '',
    failMode: 'open',
    binds: { kinds: ['exec'], policies: [] },
    labels: ['runs-from-tmp'],
  };
  const checked = checkManifest({ abi: 1, ...manifest });
  if (!checked.ok) throw new FilterBuildError('manifest', checked.reason);
  const target = resolve(folder);
  const present = await readdir(target).catch(() => []);
  if (present.length > 0) {
    throw new FilterBuildError(
      'exists',
      `${target} is not empty: name a folder that is new, so that nothing is overwritten`,
    );
  }
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  const files: Record<string, string> = {
    'filter.ts': source,
    'filter.json': json(manifest),
    'tests/cases.json': json(cases),
    'tsconfig.json': json(tsconfig),
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(target, path)), { recursive: true });
    await writeFile(join(target, path), text);
  }
  return { folder: target, files: Object.keys(files) };
}

/** What was made, and what to do next. */
export function formatNew(result: NewFilterResult): string {
  return [
    `${result.folder}: ${result.files.join(', ')}`,
    `next: weir filter test ${result.folder}`,
    `then: weir filter build ${result.folder}`,
  ].join('\n');
}
