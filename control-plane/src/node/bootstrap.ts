// SPDX-License-Identifier: Apache-2.0
// Owns what the first start makes: the signing key, and the first admin and bootstrap tokens, in files of mode 0600.
import { join } from 'node:path';
import { createToken, type NewToken } from '../auth/tokens.js';
import { createSigner, generateSigningKey, type Signer } from '../crypto.js';
import type { Clock } from '../ports.js';
import { newId } from '../services/context.js';
import type { Role, Store } from '../store/store.js';
import { readIfThere, writeSecretFile } from './files.js';

/** Where the first tokens are, in the data folder. */
export const credentialsFile = 'credentials.json';

export interface Credentials {
  readonly adminToken: string;
  readonly bootstrapToken: string;
}

/** Reads the signing key, or makes it where there is none. */
export async function loadSigner(path: string): Promise<Signer> {
  const text = await readIfThere(path);
  if (text !== undefined) {
    const key = JSON.parse(text) as { privateKey?: unknown; publicKey?: unknown };
    if (typeof key.privateKey !== 'string' || typeof key.publicKey !== 'string') {
      throw new Error(`${path} must hold privateKey and publicKey.`);
    }
    return createSigner({ privateKey: key.privateKey, publicKey: key.publicKey });
  }
  const key = await generateSigningKey();
  await writeSecretFile(path, `${JSON.stringify(key, undefined, 2)}\n`);
  return createSigner(key);
}

/**
 * Makes the first tokens where the database has no admin yet. The file goes first: should the process end in
 * between, the next start writes it anew. Gives its path, or nothing where there was an admin.
 */
export async function createFirstTokens(
  store: Store,
  options: { dataFolder: string; cluster: string; clock: Clock },
): Promise<string | undefined> {
  if ((await store.countTokens('admin')) > 0) return undefined;
  const path = join(options.dataFolder, credentialsFile);
  const nowMs = options.clock.nowMs();
  // Fixed ids, so that of several replicas that start at once one wins.
  const admin = await createToken('first-admin');
  const bootstrap = await createToken(`first-bootstrap-${newId(nowMs).slice(-12)}`);
  const credentials: Credentials = { adminToken: admin.token, bootstrapToken: bootstrap.token };
  await writeSecretFile(path, `${JSON.stringify(credentials, undefined, 2)}\n`);
  const insert = (token: NewToken, role: Role, cluster: string | undefined) =>
    store.insertToken(
      {
        id: token.id,
        role,
        hash: token.hash,
        description: 'made at the first start',
        cluster,
        labels: undefined,
        agentId: undefined,
        createdMs: nowMs,
        expiresMs: undefined,
        revokedMs: undefined,
      },
      {
        id: newId(nowMs),
        timeMs: nowMs,
        actor: 'first-start',
        role: 'admin',
        action: 'token.create',
        subject: token.id,
        details: { role },
      },
    );
  await insert(bootstrap, 'bootstrap', options.cluster);
  if (!(await insert(admin, 'admin', undefined))) {
    throw new Error('Another process made the first tokens at the same moment; they are in its data folder.');
  }
  return path;
}
