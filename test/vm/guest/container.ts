// SPDX-License-Identifier: Apache-2.0
// Runs a container of busybox in the guest, for scenarios.

import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunResult, ScenarioContext } from '../scenario.js';

export interface ContainerOptions {
  readonly runtime?: 'crun' | 'runc';
  readonly id: string;
  /** What runs in it: busybox applets, or files that `addFiles` put into the root file system. */
  readonly args: readonly string[];
  /** Called with the root file system's folder before the container starts. */
  readonly addFiles?: (rootfs: string) => void;
  /** Where its cgroup is to be, from the root of cgroups; the runtime's choice by default. */
  readonly cgroup?: string;
  readonly timeoutMs?: number;
}

const containerTimeoutMsDefault = 30_000;

/** Runs a container to its end. */
export async function runContainer(ctx: ScenarioContext, options: ContainerOptions): Promise<RunResult> {
  const runtime = options.runtime ?? 'crun';
  const bundle = join(ctx.folder, options.id);
  const rootfs = join(bundle, 'rootfs');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc']) {
    mkdirSync(join(rootfs, name), { recursive: true });
  }
  copyFileSync('/usr/bin/busybox', join(rootfs, 'bin/busybox'));
  const applets = await ctx.run('busybox', ['--list']);
  for (const name of applets.stdout.split('\n')) {
    if (name !== '' && name !== 'busybox') symlinkSync('busybox', join(rootfs, 'bin', name));
  }
  options.addFiles?.(rootfs);
  await ctx.run(runtime, ['spec'], { cwd: bundle });
  const file = join(bundle, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as {
    process: { terminal: boolean; args: readonly string[] };
    linux: { cgroupsPath?: string };
  };
  config.process.terminal = false;
  config.process.args = options.args;
  if (options.cgroup !== undefined) config.linux.cgroupsPath = options.cgroup;
  writeFileSync(file, JSON.stringify(config));
  return ctx.run(runtime, ['run', '--bundle', bundle, options.id], {
    timeoutMs: options.timeoutMs ?? containerTimeoutMsDefault,
  });
}
