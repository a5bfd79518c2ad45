// SPDX-License-Identifier: Apache-2.0
// Owns the start of a spool: what a stopped, killed or powered-off agent has left is brought in order. Every state
// that the steps of sealing (spool.ts) can leave is one of these:
//
//   <n>.segment.tmp                         was not whole: removed
//   <n>.segment and <n>.open                sealed, the open file not yet removed: it is removed
//   <n>.segment, chain.json says next = n   sealed, the chain not yet written: it goes on from the segment
//   <n>.open with a torn tail               the tail is cut and counted
//   <n>.segment, chain.json gave up n       its loss is counted, the file not yet removed: it is removed
import { open, readFile, stat, truncate, unlink } from 'node:fs/promises';
import { readSegment, readWholeFrames } from '@weir/segment';
import { type ChainState, newChain, readChainState, writeChainState } from './chain-state.js';
import { SpoolError } from './error.js';
import { listSpool, type SpoolFile, syncFolder } from './files.js';
import { ready, type SealedSegment } from './sealed.js';

export interface Recovery {
  /** True where there was no spool. */
  readonly isNew: boolean;
  readonly chain: ChainState;
  /** Sealed and not acknowledged, oldest first. */
  readonly segments: readonly SealedSegment[];
  /** To be sealed, oldest first. */
  readonly openFiles: readonly {
    readonly sequence: bigint;
    readonly path: string;
    readonly length: number;
  }[];
  /** Records in the open files. */
  readonly openRecords: number;
  /** Bytes that were cut off the ends of open files: frames that were never whole. */
  readonly tornBytes: number;
  /** Accounting of the last batch that was written and survived. */
  readonly accounting: Uint8Array | undefined;
}

/** @throws {SpoolError} damaged, wrong-agent */
export async function recover(folder: string, agentId: string): Promise<Recovery> {
  const { files, unfinished } = await listSpool(folder);
  for (const path of unfinished) await unlink(path);
  const found = await readChainState(folder);
  if (found === undefined && files.length > 0) {
    throw new SpoolError('damaged', `${folder} has no chain.json: move it away to begin a new spool`);
  }
  let chain = found ?? newChain(agentId);
  if (chain.agentId !== agentId) {
    throw new SpoolError(
      'wrong-agent',
      `${folder} is the spool of ${chain.agentId}: give ${agentId} a folder of its own`,
    );
  }
  if (found === undefined) await writeChainState(folder, chain);
  const segments: SealedSegment[] = [];
  const givenUp = chain.givenUp?.through ?? -1n;
  for (const file of files.filter((each) => each.kind === 'segment')) {
    if (file.sequence <= givenUp) {
      await unlink(file.path);
      continue;
    }
    const segment = await readSealed(file);
    if (segment !== undefined) segments.push(segment);
  }
  const newest = segments.at(-1);
  if (newest !== undefined && newest.sequence >= chain.next) {
    const accounting = readSegment(await newest.read()).accounting.findLast((bytes) => bytes.length > 0);
    chain = {
      ...chain,
      next: newest.sequence + 1n,
      previous: newest.digest,
      accounting: accounting ?? chain.accounting,
    };
    await writeChainState(folder, chain);
  }
  const opened = await recoverOpen(files, chain);
  if (files.length + unfinished.length > 0) await syncFolder(folder);
  return {
    isNew: found === undefined,
    chain,
    segments,
    ...opened,
    accounting: opened.accounting ?? chain.accounting,
  };
}

/** Reads what upload and chain need of a segment; the whole of it is checked by who receives it. */
async function readSealed(file: SpoolFile): Promise<SealedSegment | undefined> {
  const { size } = await stat(file.path);
  const handle = await open(file.path, 'r');
  try {
    const header = Buffer.alloc(192);
    const digest = Buffer.alloc(32);
    await handle.read(header, 0, 192, 0);
    await handle.read(digest, 0, 32, Math.max(0, size - 32));
    const agentId = header.subarray(128, 192);
    const end = agentId.indexOf(0);
    return ready(
      {
        agentId: agentId.subarray(0, end === -1 ? 64 : end).toString('utf8'),
        chainId: header.toString('hex', 112, 128),
        sequence: file.sequence,
        previous: header.toString('hex', 80, 112),
        digest: digest.toString('hex'),
        recordCount: Number(header.readBigUInt64LE(32)),
        path: file.path,
      },
      size,
    );
  } finally {
    await handle.close();
  }
}

async function recoverOpen(
  files: readonly SpoolFile[],
  chain: ChainState,
): Promise<Pick<Recovery, 'openFiles' | 'openRecords' | 'tornBytes' | 'accounting'>> {
  const openFiles: { sequence: bigint; path: string; length: number }[] = [];
  let openRecords = 0;
  let tornBytes = 0;
  let accounting: Uint8Array | undefined;
  for (const { sequence, path } of files.filter((each) => each.kind === 'open')) {
    if (sequence < chain.next) {
      await unlink(path);
      continue;
    }
    const bytes = await readFile(path);
    const { frames, byteLength } = readWholeFrames(bytes);
    if (byteLength < bytes.length) {
      tornBytes += bytes.length - byteLength;
      await truncate(path, byteLength);
    }
    openRecords += frames.reduce((sum, frame) => sum + frame.recordCount, 0);
    // A copy: the view would hold the whole file.
    const last = frames.findLast((frame) => frame.accounting.length > 0)?.accounting;
    if (last !== undefined) accounting = last.slice();
    openFiles.push({ sequence, path, length: byteLength });
  }
  // Files at the end that lost all they had take no place in the chain.
  for (let last = openFiles.at(-1); last !== undefined && last.length === 0; last = openFiles.at(-1)) {
    await unlink(last.path);
    openFiles.pop();
  }
  return { openFiles, openRecords, tornBytes, accounting };
}
