// SPDX-License-Identifier: Apache-2.0
// Policies bent at random are put in force, as many as a while allows, in monitor mode: each is loaded or refused with a
// reason, the kernel warns of nothing, and what was there before tells afterwards what it told before.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Policy, plan } from '@weir/policy';
import { mutateStructure, PolicyTrees, policyOfDocument, Random } from '@weir/policy/testing';
import { libraryPolicy, policyOf, withHooks } from '../guest/hooks.js';
import { bpfObjectPath } from '../guest/process-sensor.js';
import { scenario } from '../scenario.js';

const seed = 58;
/** How long policies are put in force. */
const whileMs = 8_000;
const batchPolicies = 10;
/** Hooks that one of them may have: each has a program to be loaded. */
const hooksMax = 4;

/** A bent policy that can be planned, which only tells. */
function bent(random: Random, trees: PolicyTrees, name: string): Policy | undefined {
  const document = JSON.parse(mutateStructure(random, trees)) as { spec?: object; metadata?: object } | null;
  const options = [{ name: 'policy-mode', value: 'monitor' }];
  try {
    const policy = policyOfDocument({
      ...document,
      metadata: { ...document?.metadata, name },
      spec: { ...document?.spec, options },
    });
    const planned = plan([{ id: 1, policy }]);
    return planned.hooks.length > 0 && planned.hooks.length <= hooksMax ? policy : undefined;
  } catch (error) {
    // What is no policy, by its shape or by what it means.
    if (error instanceof Error && 'issues' in error) return undefined;
    throw error;
  }
}

export default scenario(
  'policies bent at random are loaded or refused',
  { timeoutMs: 120_000 },
  async (context) => {
    const { run, log } = context;
    const library = join(dirname(bpfObjectPath('hook.bpf.o')), '../../policy/library');
    const names = readdirSync(library)
      .filter((file) => file.endsWith('.yaml'))
      .map((file) => file.slice(0, -'.yaml'.length));
    const trees = new PolicyTrees(names.map(libraryPolicy));
    const random = new Random(seed);
    await withHooks(async (hooks) => {
      const told = policyOf(
        'before',
        'sys_setpriority',
        ['int', 'int', 'int'],
        [{ matchArgs: [{ index: 2, operator: 'Equal', values: ['7'] }] }],
      );
      await hooks.apply(told);
      const startMs = performance.now();
      const counts = { bent: 0, loaded: 0, refused: 0 };
      while (performance.now() - startMs < whileMs) {
        const batch: Policy[] = [];
        for (let tries = 0; tries < 200 && batch.length < batchPolicies; tries++) {
          counts.bent++;
          const policy = bent(random, trees, `bent-${counts.bent}`);
          if (policy !== undefined) batch.push(policy);
        }
        const outcomes = await hooks.set.apply(batch);
        for (const { name, state, reason } of outcomes) {
          if (state === 'loaded') counts.loaded++;
          else counts.refused++;
          assert.ok(state === 'loaded' || (reason ?? '') !== '', `${name}: refused without a reason`);
        }
        hooks.events();
      }
      log(`seed ${seed}: ${JSON.stringify(counts)}`);
      assert.ok(counts.loaded > 0, 'none was loaded');
      await hooks.apply(told);
      hooks.events();
      const made = await run('nice', ['-n', '7', 'true']);
      assert.equal(made.code, 0, made.stderr);
      assert.deepEqual(
        hooks.events().map(({ policy }) => policy),
        ['before'],
      );
      assert.equal(hooks.counter('enforceFailed'), 0n);
    });
  },
);
