// SPDX-License-Identifier: Apache-2.0
// Credentials, capabilities, user namespaces and commands of bpf(2) as arguments: what is read of them.

import assert from 'node:assert/strict';
import {
  CREDENTIAL_ARGUMENT_BYTES,
  readCredentialArgument,
  readUserNamespaceArgument,
  USER_NAMESPACE_ARGUMENT_BYTES,
} from '@weir/schema';
import { type HookEvent, policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

function payload(event: HookEvent | undefined, position: number, size: number): DataView {
  const bytes = Buffer.from(event?.args[position]?.text ?? '', 'latin1');
  assert.equal(bytes.length, size);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

const capabilitySysAdmin = 21n;
const capabilityChown = 1n << 0n;

export default scenario(
  'hooks read credentials, capabilities and user namespaces',
  { timeoutMs: 120_000 },
  async ({ run }) => {
    await withHooks(async (hooks) => {
      // A change of user: the new credentials and the old ones.
      await hooks.apply(policyOf('setuid', 'security_task_fix_setuid', ['cred', 'cred', 'int'], [{}]));
      hooks.events();
      const changed = await run('/usr/bin/setpriv', ['--reuid', '1234', '--clear-groups', '/bin/true']);
      assert.equal(changed.code, 0, changed.stderr);
      const [event] = hooks.events().filter(({ pid }) => pid === changed.pid);
      const [next, before] = [0, 1].map((n) =>
        readCredentialArgument(payload(event, n, CREDENTIAL_ARGUMENT_BYTES), 0),
      );
      assert.deepEqual([next?.uid, next?.euid, before?.uid, before?.euid], [1234, 1234, 0, 0]);
      assert.equal((before?.capEffective ?? 0n) & capabilityChown, capabilityChown);
      assert.equal(before?.userNamespaceLevel, 0);

      // Asked for by number or name, in which namespace.
      const capable = (name: string, operator: string, ...values: string[]) =>
        policyOf(
          name,
          'security_capable',
          ['cred', 'user_namespace', 'capability'],
          [
            {
              matchArgs: [{ index: 2, operator, values }],
              matchBinaries: [{ operator: 'Postfix', values: ['/unshare'] }],
            },
          ],
        );
      await hooks.apply(
        capable('name', 'Equal', 'CAP_SYS_ADMIN'),
        capable('range', 'InRange', '21:21'),
        capable('other', 'Equal', 'CAP_SYS_BOOT'),
      );
      hooks.events();
      await run('unshare', ['--uts', '/bin/true']);
      const asked = hooks.events();
      assert.ok(asked.length >= 2);
      assert.deepEqual([...new Set(asked.map(({ policy }) => policy))].sort(), ['name', 'range']);
      assert.deepEqual([...new Set(asked.map(({ args }) => args[2]?.value))], [capabilitySysAdmin]);
      const namespace = readUserNamespaceArgument(payload(asked[0], 1, USER_NAMESPACE_ARGUMENT_BYTES), 0);
      assert.deepEqual([namespace.level, namespace.owner, namespace.group], [0, 0, 0]);
      assert.ok(namespace.inode > 0);

      // Sets of capabilities, by their addresses.
      await hooks.apply(
        policyOf(
          'capset',
          'security_capset',
          ['cred', 'cred', 'cap_effective', 'cap_inheritable', 'cap_permitted'],
          [{}],
        ),
      );
      hooks.events();
      const dropped = await run('/usr/bin/setpriv', ['--inh-caps', '-all,+chown', '/bin/true']);
      assert.equal(dropped.code, 0, dropped.stderr);
      const sets = hooks.events().filter(({ pid }) => pid === dropped.pid);
      assert.ok(sets.length > 0);
      assert.equal(sets.at(-1)?.args[3]?.value, capabilityChown);
      assert.ok((sets.at(-1)?.args[4]?.value ?? 0n) > capabilityChown);

      // Commands of bpf(2): this very agent makes maps, and names them.
      await hooks.apply(
        policyOf(
          'bpf',
          'security_bpf',
          ['bpf_cmd'],
          [{ matchArgs: [{ index: 0, operator: 'LT', values: ['3'] }] }],
        ),
      );
      hooks.events();
      await hooks.apply(
        policyOf(
          'bpf',
          'security_bpf',
          ['bpf_cmd'],
          [{ matchArgs: [{ index: 0, operator: 'LT', values: ['3'] }] }],
        ),
        capable('name', 'Equal', 'CAP_SYS_ADMIN'),
      );
      const commands = hooks.events().filter(({ pid, policy }) => policy === 'bpf' && pid === process.pid);
      assert.ok(commands.length > 0);
      assert.ok(commands.every(({ args }) => (args[0]?.value ?? 9n) < 3n));
      assert.equal(hooks.counter('undecided'), 0n);
      assert.equal(hooks.counter('unreadable'), 0n);
    });
  },
);
