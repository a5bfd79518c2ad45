// SPDX-License-Identifier: Apache-2.0
// Says, without building anything, whether this host can run the guest.

import { findProgram } from './execute.js';

const tools: readonly (readonly [program: string, aptPackage: string])[] = [
  ['qemu-system-x86_64', 'qemu-system-x86'],
  ['mkfs.ext4', 'e2fsprogs'],
  ['apt-get', 'apt'],
  ['dpkg-deb', 'dpkg'],
  ['tar', 'tar'],
  ['setpriv', 'util-linux'],
  ['gcc', 'gcc'],
];

/**
 * Returns why the guest cannot be run here, naming what would help; null if it can.
 * What only shows later (a download that fails) is thrown as a `VmError` for which
 * `isUnavailable` holds.
 */
export function vmUnavailableReason(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `the test guest needs an x86-64 Linux host, this is ${process.platform} ${process.arch}`;
  }
  const missing = tools.filter(([program]) => findProgram(program) === null);
  // Files in the image must belong to root; only root or fakeroot can make them so.
  if (process.getuid?.() !== 0 && findProgram('fakeroot') === null) {
    missing.push(['fakeroot', 'fakeroot']);
  }
  if (missing.length === 0) return null;
  const programs = missing.map(([program]) => program).join(', ');
  const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
  return `the test guest needs ${programs}: apt-get install ${packages}`;
}
