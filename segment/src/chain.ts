// SPDX-License-Identifier: Apache-2.0
// Owns the question whether a run of segments is whole: none taken out, changed or moved.
import { CHAIN_START, type ChainLink } from './segment.js';

/** How a segment stands to what is known of its chain before it. */
export type ChainPosition =
  /** It follows. */
  | 'next'
  /** It is one that is known already. */
  | 'duplicate'
  /** Segments between the last known one and it are missing. */
  | 'gap'
  /** It claims a place that another has, or follows one that was not there: a chain that forks. */
  | 'fork';

export interface ChainHead {
  readonly sequence: bigint;
  readonly digest: string;
}

/**
 * Says where a segment stands after `head`, the last one known of its chain (undefined: none is).
 * Below the head only the head itself is known to be a duplicate; for others ask a catalogue first.
 */
export function chainPosition(link: ChainLink, head: ChainHead | undefined): ChainPosition {
  const expected = head === undefined ? 0n : head.sequence + 1n;
  if (head !== undefined && link.sequence === head.sequence) {
    return link.digest === head.digest ? 'duplicate' : 'fork';
  }
  if (link.sequence < expected) return 'fork';
  if (link.sequence > expected) return 'gap';
  return link.previous === (head?.digest ?? CHAIN_START) ? 'next' : 'fork';
}

export interface ChainBreak {
  readonly agentId: string;
  readonly chainId: string;
  /** The segment at which it shows. */
  readonly sequence: bigint;
  readonly position: 'gap' | 'fork';
  /** Sequences that are missing before it, first and last. */
  readonly missing?: readonly [bigint, bigint];
}

/**
 * Goes along the segments of any number of chains, each in the order given, and names every break. After a break
 * it goes on from there, so that one missing segment is one break. Digests must have been checked
 * ({@link readSegment}).
 */
export function verifyChain(links: Iterable<ChainLink>): ChainBreak[] {
  const breaks: ChainBreak[] = [];
  const heads = new Map<string, ChainHead>();
  for (const link of links) {
    const key = `${link.chainId} ${link.agentId}`;
    const head = heads.get(key);
    const position = chainPosition(link, head);
    if (position === 'gap' || position === 'fork') {
      const { agentId, chainId, sequence } = link;
      const missing = [head === undefined ? 0n : head.sequence + 1n, sequence - 1n] as const;
      breaks.push({ agentId, chainId, sequence, position, ...(position === 'gap' ? { missing } : {}) });
    }
    heads.set(key, { sequence: link.sequence, digest: link.digest });
  }
  return breaks;
}
