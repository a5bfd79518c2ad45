// SPDX-License-Identifier: Apache-2.0
// Owns how links are followed as the host's processes follow them: an agent in a container has a root of its own, and
// an absolute link in the host's tree starts at the host's root, not at the agent's.
import { lstatSync, readlinkSync } from 'node:fs';
import type { RealPath } from '@weir/policy';

/** As many links as the kernel follows in one path (include/linux/namei.h, MAXSYMLINKS). */
const linksMax = 40;

/** Follows links inside `root`: `/proc/1/root` for the host's tree, empty for that of this process. */
export function realPathIn(root: string): RealPath {
  return (path) => {
    const left = path.split('/').filter((part) => part !== '');
    const done: string[] = [];
    let links = 0;
    for (;;) {
      const part = left.shift();
      if (part === undefined) return `/${done.join('/')}`;
      if (part === '.') continue;
      if (part === '..') {
        done.pop();
        continue;
      }
      const here = `${root}/${[...done, part].join('/')}`;
      try {
        if (!lstatSync(here).isSymbolicLink()) {
          done.push(part);
          continue;
        }
        if (++links > linksMax) return undefined;
        const target = readlinkSync(here);
        if (target.startsWith('/')) done.length = 0;
        left.unshift(...target.split('/').filter((name) => name !== ''));
      } catch {
        return undefined; // not there, or not to be seen: then nothing is known of its links
      }
    }
  };
}

/** The root of the host's file tree: that of its first process where it can be seen; else empty, for this one's own. */
export function hostRoot(procPath = '/proc'): string {
  const root = `${procPath}/1/root`;
  try {
    lstatSync(`${root}/.`);
    return root;
  } catch {
    return '';
  }
}

/** Follows links as the host's first process does, where its root can be seen; else as this process does. */
export function hostRealPath(procPath = '/proc'): RealPath {
  return realPathIn(hostRoot(procPath));
}
