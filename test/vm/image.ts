// SPDX-License-Identifier: Apache-2.0
// Builds the guest's root disk: packages of the host's own release unpacked side by
// side, the host's node, the modules of every kernel under test. No root, no chroot,
// no maintainer scripts: what these would have made and the guest needs is made here.

import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { hostRelease, openUserlandApt, unpackDeb } from './apt.js';
import { buildIntoPlace, markUsed } from './cache.js';
import { execute } from './execute.js';
import type { Kernel } from './kernels.js';
import { cacheFolder, harnessFolder } from './places.js';

const packages = [
  'base-files',
  'bash',
  'bpftool',
  'busybox-static',
  'coreutils',
  'crun',
  'dash',
  'diffutils',
  'e2fsprogs',
  'findutils',
  'grep',
  'gzip',
  'hostname',
  'iproute2',
  'kmod',
  'less',
  'libbpf1',
  'libelf1',
  'libgcc-s1',
  'libstdc++6',
  'mawk',
  'mount',
  'ncurses-base',
  'procps',
  'runc',
  'sed',
  'strace',
  'tar',
  'util-linux',
  'zlib1g',
] as const;

/** Those of the list that a release may lack; the guest then runs without. */
const optionalPackages: readonly string[] = ['bpftool'];

/** Modules outside of these are of no use in a virtual machine of ours. */
const moduleFolders = [
  'kernel/arch',
  'kernel/block',
  'kernel/crypto',
  'kernel/fs',
  'kernel/lib',
  'kernel/net',
  'kernel/drivers/block',
  'kernel/drivers/char',
  'kernel/drivers/firmware',
  'kernel/drivers/net',
  'kernel/drivers/virtio',
] as const;

const mebibyte = 1024 * 1024;
/** Room in the root disk for what scenarios write. The file is sparse: it costs nothing. */
const freeMebibytes = 1024;
/** The disk's signature in its partition table, by which the kernel is told its root. */
const diskSignature = 0x57454952;
export const rootPartitionUuid = `${diskSignature.toString(16)}-01`;
const partitionStartBytes = mebibyte;
const sectorBytes = 512;

/** Returns the path of a root disk that holds the given kernels' modules, building it if need be. */
export async function ensureRootImage(kernels: readonly Kernel[]): Promise<string> {
  mkdirSync(cacheFolder(), { recursive: true });
  const image = join(cacheFolder(), `root-${rootImageKey(kernels)}.img`);
  await buildIntoPlace(image, (partial, scratch) => buildRootImage(partial, scratch, kernels));
  markUsed(image);
  return image;
}

function rootImageKey(kernels: readonly Kernel[]): string {
  const node = statSync(process.execPath);
  const hash = createHash('sha256');
  const inputs = [
    readFileSync(join(harnessFolder(), 'image.ts'), 'utf8'),
    readFileSync(join(harnessFolder(), 'guest', 'boot.sh'), 'utf8'),
    hostRelease(),
    process.version,
    `${node.size} ${node.mtimeMs}`,
    ...kernels.map((kernel) => kernel.release).sort(),
  ];
  for (const input of inputs) hash.update(input).update('\0');
  return hash.digest('hex').slice(0, 16);
}

async function buildRootImage(image: string, scratch: string, kernels: readonly Kernel[]): Promise<void> {
  const root = join(scratch, 'root');
  // Debian merged / into /usr; the links must be there before packages are unpacked.
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  const apt = await openUserlandApt(join(scratch, 'apt'));
  const offered = await apt.search(`^(${optionalPackages.join('|')})$`);
  const wanted = packages.filter((name) => !optionalPackages.includes(name) || offered.includes(name));
  for (const deb of await apt.download(wanted)) await unpackDeb(deb, root);
  addSystemFiles(root);
  await addNode(root);
  for (const kernel of kernels) await addModules(root, kernel);
  await makeDisk(root, image);
}

/** Makes the few files that maintainer scripts would have made. */
function addSystemFiles(root: string): void {
  for (const folder of ['dev', 'proc', 'sys', 'run', 'tmp', 'root', 'weir', 'etc', 'mnt']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n' +
      'user:x:1000:1000:user:/tmp:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\ndaemon:x:1:\nuser:x:1000:\nnogroup:x:65534:\n');
  writeFileSync(join(root, 'etc/shadow'), 'root:*:19000:0:99999:7:::\n', { mode: 0o640 });
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost guest\n10.0.2.2 host\n');
  writeFileSync(join(root, 'etc/hostname'), 'guest\n');
  writeFileSync(join(root, 'etc/profile'), "PATH=/usr/sbin:/usr/bin:/weir/bin\nPS1='guest:\\w# '\n");
  const awk = join(root, 'usr/bin/awk');
  if (!existsSync(awk)) symlinkSync('mawk', awk);
  const boot = join(root, 'usr/sbin/weir-boot');
  copyFileSync(join(harnessFolder(), 'guest', 'boot.sh'), boot);
  chmodSync(boot, 0o755);
}

/** Copies the node that runs this, with the libraries that the userland's packages have not brought. */
async function addNode(root: string): Promise<void> {
  const node = realpathSync(process.execPath);
  const target = join(root, 'usr/bin/node');
  copyFileSync(node, target);
  chmodSync(target, 0o755);
  const libraries = await execute('ldd', [node]);
  for (const [, path = ''] of libraries.matchAll(/=> (\/\S+)/g)) {
    const place = join(root, path);
    const usual = ['usr/lib/x86_64-linux-gnu', 'usr/lib64'].some((folder) =>
      existsSync(join(root, folder, basename(path))),
    );
    if (usual || existsSync(place)) continue;
    mkdirSync(dirname(place), { recursive: true });
    copyFileSync(realpathSync(path), place);
  }
}

async function addModules(root: string, kernel: Kernel): Promise<void> {
  const from = join(kernel.modules, kernel.release);
  const to = join(root, 'usr/lib/modules', kernel.release);
  mkdirSync(to, { recursive: true });
  for (const name of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order']) {
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
  }
  for (const folder of moduleFolders) {
    const source = join(from, folder);
    if (existsSync(source)) cpSync(source, join(to, folder), { recursive: true });
  }
  // The userland's own depmod: it is of the host's release, so it runs here.
  await execute(join(root, 'usr/bin/kmod'), ['-b', root, kernel.release], {
    argv0: 'depmod',
    env: { LD_LIBRARY_PATH: join(root, 'usr/lib/x86_64-linux-gnu') },
  });
}

/** Makes a disk with a partition table and one ext4 partition that holds a folder. */
async function makeDisk(folder: string, image: string): Promise<void> {
  const partitionMebibytes = (await folderMebibytes(folder)) + freeMebibytes;
  await makeExt4(folder, image, partitionMebibytes, partitionStartBytes);
  const table = Buffer.alloc(sectorBytes);
  table.writeUInt32LE(diskSignature, 440);
  table.writeUInt8(0x83, 446 + 4);
  table.writeUInt32LE(partitionStartBytes / sectorBytes, 446 + 8);
  table.writeUInt32LE((partitionMebibytes * mebibyte) / sectorBytes, 446 + 12);
  table.writeUInt16LE(0xaa55, 510);
  const file = openSync(image, 'r+');
  writeSync(file, table, 0, table.length, 0);
  closeSync(file);
}

async function folderMebibytes(folder: string): Promise<number> {
  const text = await execute('du', ['--summarize', '--block-size=1M', folder]);
  return Number.parseInt(text, 10);
}

/** Makes a bare ext4 disk that holds a folder, with some room to write. */
export async function makeWorkDisk(folder: string, image: string): Promise<void> {
  await makeExt4(folder, image, Math.ceil((await folderMebibytes(folder)) * 1.2) + 64, 0);
}

async function makeExt4(
  folder: string,
  image: string,
  sizeMebibytes: number,
  offsetBytes: number,
): Promise<void> {
  rmSync(image, { force: true });
  // No journal: the disk is written once and thrown away. mkfs copies owners from the
  // folder, so that an ordinary user's files must look like root's.
  const mkfs = [
    'mkfs.ext4',
    '-q',
    '-F',
    '-O',
    '^has_journal,^metadata_csum',
    '-E',
    `offset=${offsetBytes},lazy_itable_init=1,root_owner=0:0`,
    '-d',
    folder,
    image,
    `${sizeMebibytes}M`,
  ];
  const isRoot = process.getuid?.() === 0;
  await execute(isRoot ? 'mkfs.ext4' : 'fakeroot', isRoot ? mkfs.slice(1) : mkfs, {
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
}
