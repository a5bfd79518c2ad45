// SPDX-License-Identifier: Apache-2.0
// Builds the work disk: what is to be run in the guest, mounted there at /weir.
// The repository's layout is kept, so that a package finds its addon, its eBPF
// objects and its dependencies there by the same relative paths as here.
//
//   /weir/vm/            init.sh, runner.mjs, scenario-main.mjs, scenarios/*.mjs
//   /weir/bin/           programs of test/vm/programs, static
//   /weir/<workspace>/   built files of the agent and of all that it depends on
//   /weir/node_modules/  their production dependencies

import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { build } from 'esbuild';
import { buildIntoPlace } from './cache.js';
import { execute } from './execute.js';
import { makeWorkDisk } from './image.js';
import { cacheFolder, harnessFolder, repositoryRoot } from './places.js';

/** The workspaces that the guest runs; those that they depend on come along. */
const guestWorkspaces = ['agent', 'native', 'policy', 'schema', 'bpf'] as const;

/** Needed to build a package, not to run it, though npm calls them dependencies. */
const buildOnlyPackages = new Set(['node-addon-api', 'node-api-headers']);

/** Files outside of dist/ that packages read when they run. */
const runtimeFile = /(?:\.node|\.bpf\.o|\.wasm|\.ya?ml|^package\.json)$/;
const uselessInGuest = /(?:\.map|\.tsbuildinfo|\.d\.ts|\.test\.js)$/;
const uselessFolders = new Set(['node_modules', 'src', '.git', 'obj.target', '.deps']);

/** A file for the guest: from here, to this path below /weir. */
export interface GuestFile {
  readonly from: string;
  readonly to: string;
}

/** Builds a work disk in `folder` and returns its path. `extra` files are put over the rest. */
export async function buildWorkDisk(folder: string, extra: readonly GuestFile[] = []): Promise<string> {
  const staging = mkdtempSync(join(folder, 'work-'));
  try {
    await addHarness(staging);
    await addPrograms(staging);
    addWorkspaces(staging);
    for (const { from, to } of extra) {
      mkdirSync(dirname(join(staging, to)), { recursive: true });
      cpSync(from, join(staging, to), { recursive: true });
    }
    const image = join(folder, 'work.img');
    await makeWorkDisk(staging, image);
    return image;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** Returns the names of the scenario modules, sorted. */
export function scenarioFiles(): string[] {
  return readdirSync(join(harnessFolder(), 'scenarios'))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.slice(0, -'.ts'.length))
    .sort();
}

/** Bundles TypeScript of the harness; packages stay imports, to be resolved where it runs. */
export async function bundle(entryPoints: readonly string[], outdir: string): Promise<void> {
  await build({
    entryPoints: [...entryPoints],
    outdir,
    bundle: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'silent',
  });
}

async function addHarness(staging: string): Promise<void> {
  const source = harnessFolder();
  const target = join(staging, 'vm');
  mkdirSync(target, { recursive: true });
  copyFileSync(join(source, 'guest', 'init.sh'), join(target, 'init.sh'));
  await bundle([join(source, 'guest', 'runner.ts'), join(source, 'guest', 'scenario-main.ts')], target);
  await bundle(
    scenarioFiles().map((name) => join(source, 'scenarios', `${name}.ts`)),
    join(target, 'scenarios'),
  );
}

/** Compiles each program once for each state of its source. */
async function addPrograms(staging: string): Promise<void> {
  const source = join(harnessFolder(), 'programs');
  const target = join(staging, 'bin');
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(source).filter((file) => file.endsWith('.c'))) {
    const file = join(source, name);
    const key = createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16);
    const program = join(cacheFolder(), 'programs', `${basename(name, '.c')}-${key}`);
    await buildIntoPlace(program, async (partial) => {
      await execute('gcc', ['-O1', '-Wall', '-Werror', '-static', '-pthread', '-o', partial, file]);
    });
    copyFileSync(program, join(target, basename(name, '.c')));
  }
}

interface PackageManifest {
  readonly name?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function addWorkspaces(staging: string): void {
  const root = repositoryRoot();
  const queue = guestWorkspaces.map((name) => join(root, name)).filter((path) => existsSync(path));
  const done = new Set<string>();
  for (let folder = queue.pop(); folder !== undefined; folder = queue.pop()) {
    if (done.has(folder)) continue;
    done.add(folder);
    const place = relative(root, folder);
    if (place.split('/').includes('node_modules')) {
      copyPackage(folder, join(staging, place));
    } else {
      copyBuiltFiles(folder, join(staging, place), false);
    }
    const manifestFile = join(folder, 'package.json');
    if (!existsSync(manifestFile)) continue;
    const manifest = JSON.parse(readFileSync(manifestFile, 'utf8')) as PackageManifest;
    if (manifest.name?.startsWith('@weir/') === true) {
      const link = join(staging, 'node_modules', manifest.name);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(relative(dirname(link), join(staging, place)), link);
    }
    for (const name of Object.keys({
      ...manifest.dependencies,
      ...manifest.optionalDependencies,
    })) {
      if (buildOnlyPackages.has(name)) continue;
      const found = resolvePackage(name, folder, root);
      if (found !== null) queue.push(found);
    }
  }
}

/** Finds a package as node does: node_modules of each folder upwards. */
function resolvePackage(name: string, from: string, root: string): string | null {
  for (let folder = from; folder.startsWith(root); folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(candidate)) return realpathSync(candidate);
  }
  return null;
}

function copyPackage(from: string, to: string): void {
  cpSync(from, to, {
    recursive: true,
    dereference: true,
    filter: (source) => source === from || basename(source) !== 'node_modules',
  });
}

function copyBuiltFiles(from: string, to: string, insideDist: boolean): void {
  for (const name of readdirSync(from)) {
    const source = join(from, name);
    const stat = lstatSync(source);
    if (stat.isDirectory()) {
      if (uselessFolders.has(name)) continue;
      copyBuiltFiles(source, join(to, name), insideDist || name === 'dist');
    } else if (stat.isFile() && (insideDist ? !uselessInGuest.test(name) : runtimeFile.test(name))) {
      mkdirSync(to, { recursive: true });
      copyFileSync(source, join(to, name));
    }
  }
}
