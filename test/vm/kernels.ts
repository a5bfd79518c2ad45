// SPDX-License-Identifier: Apache-2.0
// Owns the kernels under test: which there are, and their files in the cache.
//
// Debian's cloud kernels have NVMe and ext4 built in, so that they boot from an
// ext4 image without an initramfs; the ordinary ones do not.

import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openKernelApt, unpackDeb } from './apt.js';
import { buildIntoPlace } from './cache.js';
import { VmError } from './errors.js';
import { cacheFolder } from './places.js';

export const kernelNames = ['6.1', '6.12'] as const;
export type KernelName = (typeof kernelNames)[number];

const packagePatterns: Record<KernelName, RegExp> = {
  '6.1': /^linux-image-6\.1\.0-\d+-cloud-amd64$/,
  '6.12': /^linux-image-6\.12\.[\w.+~]+-cloud-amd64$/,
};

export interface Kernel {
  readonly name: KernelName;
  /** What `uname -r` says. */
  readonly release: string;
  readonly vmlinuz: string;
  /** A folder that holds `<release>/kernel/…`, as /lib/modules does. */
  readonly modules: string;
  /** The kernel's own order of security modules (CONFIG_LSM). */
  readonly lsms: readonly string[];
}

/** Returns a kernel's files, downloading the newest build of it if none is in the cache. */
export async function ensureKernel(name: KernelName): Promise<Kernel> {
  const folder = join(cacheFolder(), 'kernels', name);
  await buildIntoPlace(folder, (partial, scratch) => downloadKernel(name, partial, scratch));
  return readKernel(name, folder);
}

function readKernel(name: KernelName, folder: string): Kernel {
  const boot = join(folder, 'boot');
  const image = readdirSync(boot).find((file) => file.startsWith('vmlinuz-'));
  if (image === undefined) {
    throw new VmError('BUILD_FAILED', `${boot} has no vmlinuz: remove ${folder} to download it again`);
  }
  const release = image.slice('vmlinuz-'.length);
  const config = readFileSync(join(boot, `config-${release}`), 'utf8');
  const lsms = /^CONFIG_LSM="([^"]*)"$/m.exec(config)?.[1]?.split(',') ?? [];
  const modules = [join(folder, 'usr/lib/modules'), join(folder, 'lib/modules')].find(existsSync);
  if (modules === undefined) throw new VmError('BUILD_FAILED', `${folder} has no modules`);
  return { name, release, vmlinuz: join(boot, image), modules, lsms };
}

async function downloadKernel(name: KernelName, folder: string, scratch: string): Promise<void> {
  for (const withBackports of [false, true]) {
    const apt = await openKernelApt(join(scratch, 'apt'), withBackports);
    // The newest: version numbers inside the names order them.
    const newest = (await apt.search(`^linux-image-${name.replace('.', '\\.')}.*-cloud-amd64$`))
      .filter((candidate) => packagePatterns[name].test(candidate))
      .sort(new Intl.Collator('en', { numeric: true }).compare)
      .at(-1);
    if (newest === undefined) continue;
    mkdirSync(folder, { recursive: true });
    await unpackDeb(await apt.downloadOne(newest), folder);
    return;
  }
  throw new VmError(
    'KERNEL_NOT_FOUND',
    `Debian bookworm offers no cloud kernel ${name} (security, backports)`,
  );
}
