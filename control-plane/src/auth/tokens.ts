// SPDX-License-Identifier: Apache-2.0
// Owns the form of bearer tokens, and how one is recognised. A token is `weir1.<id>.<secret>`: the id finds its row,
// the secret has 256 random bits, so a plain SHA-256 of it is enough to store. Nothing here logs.
import { equalInConstantTime, randomBytes, sha256, toBase64Url, toHex, utf8 } from '../crypto.js';
import type { Store, TokenRow } from '../store/store.js';

const pattern = /^weir1\.([-a-z0-9]{1,64})\.([-_A-Za-z0-9]{43})$/;

/** Hash that no secret has; compared with where a token is unknown, so that both ways take the same steps. */
const noHash = '0'.repeat(64);

export interface NewToken {
  readonly id: string;
  /** SHA-256 of the secret, hexadecimal: what is stored. */
  readonly hash: string;
  /** The whole token: shown once, never stored. */
  readonly token: string;
}

export async function createToken(id = toHex(randomBytes(10))): Promise<NewToken> {
  const secret = toBase64Url(randomBytes(32));
  return { id, hash: toHex(await sha256(utf8(secret))), token: `weir1.${id}.${secret}` };
}

/** Gives the row of a token that is known, right, neither expired nor revoked; else nothing, without saying why. */
export async function recogniseToken(
  store: Store,
  authorization: string | undefined,
  nowMs: number,
): Promise<TokenRow | undefined> {
  const match = pattern.exec(/^Bearer (.*)$/i.exec(authorization ?? '')?.[1] ?? '');
  if (match === null) return undefined;
  const [, id = '', secret = ''] = match;
  const row = await store.findToken(id);
  const hash = toHex(await sha256(utf8(secret)));
  if (!equalInConstantTime(utf8(hash), utf8(row?.hash ?? noHash)) || row === undefined) return undefined;
  if (row.expiresMs !== undefined && row.expiresMs <= nowMs) return undefined;
  return row;
}
