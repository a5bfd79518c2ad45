// SPDX-License-Identifier: Apache-2.0
// The host's side of the whole: which scenarios there are, which boots they need,
// and what must be built before the first.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { vmUnavailableReason } from './availability.js';
import { sweepCache } from './cache.js';
import { VmError } from './errors.js';
import { ensureRootImage } from './image.js';
import { ensureKernel, type Kernel, type KernelName, kernelNames } from './kernels.js';
import { cacheFolder, harnessFolder, repositoryRoot } from './places.js';
import type { Scenario, VariantName } from './scenario.js';
import { Session } from './session.js';
import { buildWorkDisk, bundle, type GuestFile, scenarioFiles } from './worktree.js';

export interface LoadedScenario {
  readonly file: string;
  readonly scenario: Scenario;
}

/** A boot, and what runs in it. */
export interface BootPlan {
  readonly kernel: KernelName;
  readonly variant: VariantName;
  readonly network: boolean;
  readonly scenarios: readonly LoadedScenario[];
}

/** Loads the declarations of all scenarios. A module that cannot be loaded throws, naming it. */
export async function loadScenarios(): Promise<LoadedScenario[]> {
  // Inside the repository, so that imports of packages are found from there.
  const parent = join(repositoryRoot(), '.cache');
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, 'scenarios-'));
  try {
    const files = scenarioFiles();
    await bundle(
      files.map((file) => join(harnessFolder(), 'scenarios', `${file}.ts`)),
      folder,
    );
    const loaded: LoadedScenario[] = [];
    for (const file of files) {
      const url = pathToFileURL(join(folder, `${file}.mjs`)).href;
      try {
        const module = (await import(url)) as { default?: Scenario };
        if (module.default === undefined) throw new Error('it has no default export');
        loaded.push({ file, scenario: module.default });
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`test/vm/scenarios/${file}.ts cannot be loaded: ${why}`, { cause });
      }
    }
    return loaded;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Groups scenarios into as few boots as their kernels, variants and network need. */
export function planBoots(
  scenarios: readonly LoadedScenario[],
  kernels: readonly KernelName[] = kernelNames,
): BootPlan[] {
  const plans = new Map<string, BootPlan & { readonly scenarios: LoadedScenario[] }>();
  for (const kernel of kernels) {
    for (const loaded of scenarios) {
      const { kernels: only, variants = ['default'], network = false } = loaded.scenario;
      if (only !== undefined && !only.includes(kernel)) continue;
      for (const variant of variants) {
        const key = bootName({ kernel, variant, network });
        const plan = plans.get(key) ?? { kernel, variant, network, scenarios: [] };
        plan.scenarios.push(loaded);
        plans.set(key, plan);
      }
    }
  }
  return [...plans.values()];
}

/** Names a boot for people and for folders: `6.1`, `6.12-no-bpf-lsm`. */
export function bootName(plan: Pick<BootPlan, 'kernel' | 'variant' | 'network'>): string {
  const variant = plan.variant === 'default' ? '' : `-${plan.variant}`;
  return `${plan.kernel}${variant}${plan.network ? '-network' : ''}`;
}

/** Disks and kernels, ready to boot. */
export interface Preparation {
  readonly kernels: ReadonlyMap<KernelName, Kernel>;
  readonly rootImage: string;
  readonly workImage: string;
  /** Removes the work disk. */
  close(): void;
}

/**
 * Builds or finds what a boot needs. Throws a `VmError`; where `isUnavailable` holds for it,
 * the guest cannot be had on this machine.
 */
export async function prepare(extra: readonly GuestFile[] = []): Promise<Preparation> {
  const reason = vmUnavailableReason();
  if (reason !== null) throw new VmError('TOOL_MISSING', reason);
  mkdirSync(cacheFolder(), { recursive: true });
  sweepCache();
  const kernels = new Map<KernelName, Kernel>();
  for (const name of kernelNames) kernels.set(name, await ensureKernel(name));
  const rootImage = await ensureRootImage([...kernels.values()]);
  const folder = mkdtempSync(join(cacheFolder(), 'run-'));
  const close = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    return { kernels, rootImage, workImage: await buildWorkDisk(folder, extra), close };
  } catch (error) {
    close();
    throw error;
  }
}

export function findKernel(preparation: Preparation, name: KernelName): Kernel {
  const kernel = preparation.kernels.get(name);
  if (kernel === undefined) throw new Error(`kernel ${name} was not prepared`);
  return kernel;
}

/** Opens a session for a planned boot. The guest starts with the first scenario. */
export function openSession(preparation: Preparation, plan: BootPlan): Session {
  return new Session({
    kernel: findKernel(preparation, plan.kernel),
    variant: plan.variant,
    network: plan.network,
    rootImage: preparation.rootImage,
    workImage: preparation.workImage,
    results: join(cacheFolder(), 'results', bootName(plan)),
  });
}
