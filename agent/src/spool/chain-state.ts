// SPDX-License-Identifier: Apache-2.0
// Owns `chain.json`: what of the chain must be known when its segments are long uploaded and removed.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CHAIN_START } from '@weir/segment';
import { SpoolError } from './error.js';
import { writeDurably } from './files.js';

export interface ChainState {
  readonly agentId: string;
  /** 32 hexadecimal digits, made with the spool. */
  readonly chainId: string;
  /** Sequence of the next segment to be sealed. */
  readonly next: bigint;
  /** Digest of the last one. */
  readonly previous: string;
  /** Accounting of the last batch that was sealed. */
  readonly accounting: Uint8Array | undefined;
  /** Of segments that were given up: the last one, and the events that were lost with all of them. */
  readonly givenUp?: { readonly through: bigint; readonly events: number };
}

export function newChain(agentId: string): ChainState {
  const chainId = randomBytes(16).toString('hex');
  return { agentId, chainId, next: 0n, previous: CHAIN_START, accounting: undefined };
}

/** Reads the state; undefined where there is none. @throws {SpoolError} damaged */
export async function readChainState(folder: string): Promise<ChainState | undefined> {
  const path = join(folder, 'chain.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new SpoolError('damaged', `${path} is no JSON: move the spool's folder away to begin a new one`, {
      cause,
    });
  }
  const { agentId, chainId, next, previous, accounting, givenUp } = value;
  if (
    typeof agentId !== 'string' ||
    typeof chainId !== 'string' ||
    !/^[0-9a-f]{32}$/.test(chainId) ||
    typeof next !== 'string' ||
    !/^\d{1,19}$/.test(next) ||
    typeof previous !== 'string' ||
    !/^[0-9a-f]{64}$/.test(previous)
  ) {
    throw new SpoolError('damaged', `${path} lacks a field: move the spool's folder away to begin a new one`);
  }
  return {
    agentId,
    chainId,
    next: BigInt(next),
    previous,
    accounting: typeof accounting === 'string' ? Buffer.from(accounting, 'base64') : undefined,
    ...readGivenUp(givenUp),
  };
}

function readGivenUp(value: unknown): Pick<ChainState, 'givenUp'> {
  const { through, events } = (value ?? {}) as { through?: unknown; events?: unknown };
  if (typeof through !== 'string' || !/^\d{1,19}$/.test(through) || typeof events !== 'number') return {};
  return { givenUp: { through: BigInt(through), events } };
}

export async function writeChainState(folder: string, state: ChainState): Promise<void> {
  const { accounting, givenUp } = state;
  const text = JSON.stringify({
    agentId: state.agentId,
    chainId: state.chainId,
    next: state.next.toString(),
    previous: state.previous,
    ...(accounting === undefined ? {} : { accounting: Buffer.from(accounting).toString('base64') }),
    ...(givenUp === undefined
      ? {}
      : { givenUp: { through: givenUp.through.toString(), events: givenUp.events } }),
  });
  await writeDurably(folder, join(folder, 'chain.json'), Buffer.from(`${text}\n`));
}
