// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { containerIdAt } from './container.js';

const id = '0123456789abcdef'.repeat(4);

function found(name: string): string {
  const bytes = Uint8Array.from(Buffer.from(`..${name}..`));
  const at = containerIdAt(bytes, 2, name.length);
  return at < 0 ? '' : Buffer.from(bytes).toString('latin1', at, at + 64);
}

describe('container id of a cgroup name', () => {
  it.each([
    id,
    `docker-${id}.scope`,
    `cri-containerd-${id}.scope`,
    `crio-${id}.scope`,
    `libpod-${id}.scope`,
    `nerdctl-${id}.scope`,
  ])('is found in %s', (name) => expect(found(name)).toBe(id));

  it.each([
    '',
    'user.slice',
    id.slice(1),
    `${id}0`,
    id.toUpperCase(),
    `docker-${id.slice(1)}g.scope`,
    `other-${id}.scope`,
    `docker-${id}.slice`,
    `libpod-conmon-${id}.scope`,
  ])('is not found in %s', (name) => expect(found(name)).toBe(''));
});
