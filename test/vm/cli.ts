// SPDX-License-Identifier: Apache-2.0
// `node test/vm/run.mjs`: runs scenarios, lists them, or opens a shell in the guest.

import { parseArgs } from 'node:util';
import { bootShell } from './appliance.js';
import { VmError } from './errors.js';
import { bootName, loadScenarios, openSession, planBoots, prepare } from './host.js';
import { type KernelName, kernelNames } from './kernels.js';
import { type VariantName, variantNames } from './scenario.js';

const usage = `usage: node test/vm/run.mjs [--kernel ${kernelNames.join('|')}|all] [--variant ${variantNames.join('|')}]
                            [--scenario NAME] [--list | --shell]

Runs the guest scenarios, by default all on all kernels. --shell opens a root shell
in the guest (by default 6.12); ctrl-a x ends it from outside.`;

export async function main(args: readonly string[]): Promise<number> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        kernel: { type: 'string', default: 'all' },
        variant: { type: 'string' },
        scenario: { type: 'string', multiple: true, default: [] },
        list: { type: 'boolean', default: false },
        shell: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      return 0;
    }
    const kernels = values.kernel === 'all' ? kernelNames : [oneOf('--kernel', values.kernel, kernelNames)];
    const variant =
      values.variant === undefined ? undefined : oneOf('--variant', values.variant, variantNames);
    if (values.shell) {
      await bootShell(kernels.at(-1) ?? '6.12', variant ?? 'default');
      return 0;
    }
    if (values.list) return await listScenarios(kernels);
    return await runScenarios(kernels, variant, values.scenario);
  } catch (error) {
    if (error instanceof VmError) console.error(`${error.code}: ${error.message}`);
    else if (error instanceof TypeError && 'code' in error) console.error(`${error.message}\n${usage}`);
    else console.error(error);
    return 2;
  }
}

function oneOf<T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new Error(`${option} is "${value}"; it can be ${allowed.join(', ')}`);
}

async function listScenarios(kernels: readonly KernelName[]): Promise<number> {
  for (const plan of planBoots(await loadScenarios(), kernels)) {
    for (const { scenario, file } of plan.scenarios) {
      console.log(`${bootName(plan)}\t${scenario.name}\ttest/vm/scenarios/${file}.ts`);
    }
  }
  return 0;
}

async function runScenarios(
  kernels: readonly KernelName[],
  variant: VariantName | undefined,
  names: readonly string[],
): Promise<number> {
  const all = await loadScenarios();
  const unknown = names.filter(
    (name) => !all.some(({ scenario, file }) => scenario.name === name || file === name),
  );
  if (unknown.length > 0) {
    throw new Error(`there is no scenario ${unknown.join(', ')}; --list shows those that are`);
  }
  const chosen = all.filter(
    ({ scenario, file }) =>
      (names.length === 0 && scenario.onDemand !== true) ||
      names.includes(scenario.name) ||
      names.includes(file),
  );
  const plans = planBoots(chosen, kernels).filter(
    (plan) => variant === undefined || plan.variant === variant,
  );
  const startMs = performance.now();
  const preparation = await prepare();
  console.log(`prepared in ${seconds(performance.now() - startMs)}`);
  // Leaves no work disk behind when a person has seen enough; guests die with this process.
  process.once('exit', () => preparation.close());
  process.once('SIGINT', () => process.exit(130));
  let passed = 0;
  let failed = 0;
  try {
    for (const plan of plans) {
      const session = openSession(preparation, plan);
      let boots = 0;
      for (const loaded of plan.scenarios) {
        const outcome = await session.run(loaded);
        if (session.boots !== boots) {
          boots = session.boots;
          console.log(
            `${bootName(plan)}: booted ${session.ready?.release} in ${seconds(session.bootMs)}, node ${session.ready?.node}`,
          );
        }
        if (outcome.passed) passed += 1;
        else failed += 1;
        console.log(
          `${outcome.passed ? 'ok    ' : 'FAILED'} ${bootName(plan)} ${outcome.scenario} (${seconds(outcome.durationMs)})`,
        );
        if (outcome.error !== null) console.log(`${outcome.error}\nresults: ${outcome.folder}`);
      }
      await session.close();
    }
  } finally {
    preparation.close();
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
