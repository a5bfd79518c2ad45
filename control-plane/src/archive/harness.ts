// SPDX-License-Identifier: Apache-2.0
// Owns what the archive's tests share: an archive on real parts, with a queue of jobs that the test empties itself,
// and a story that a node could tell.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArgumentType, EventKind, ExecFlag } from '@weir/schema';
import {
  AGENT_CPU,
  BatchWriter,
  type EventDescription,
  frameParts,
  readWholeFrames,
  sealSegment,
  socketPayload,
} from '@weir/segment';
import Database from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import type { BlobStore } from '../blobs/blob-store.js';
import { type CatalogueTables, KyselyCatalogue } from './catalogue.js';
import { ConversionThread } from './conversion-thread.js';
import { convertJob, Ingest } from './ingest.js';
import { FileCache } from './local-files.js';
import { Merger, mergeJob } from './merge.js';
import { QueryRunner } from './query-runner.js';
import { ArchiveReader } from './reader.js';

export const scratch = mkdtempSync(join(tmpdir(), 'weir-archive-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

export const origin = { agentId: 'agent-1', cluster: 'prod', node: 'node-1' };
export const chainId = 'cd'.repeat(16);
export const bootId = Uint8Array.from({ length: 16 }, (_, i) => 255 - i);
/** 2026-03-01T12:00:00Z. */
export const noon = 1_772_366_400_000_000_000n;

export interface Sealed {
  bytes: Uint8Array;
  digest: string;
}

export async function seal(
  sequence: bigint,
  previous: string,
  batches: Uint8Array[],
  agentId = 'agent-1',
  chain = chainId,
): Promise<Sealed> {
  const raw = Buffer.concat(batches.flatMap((batch) => frameParts(batch, new Uint8Array())));
  const { frames } = readWholeFrames(raw);
  return await sealSegment({ agentId, chainId: chain, sequence, previous, raw, frames });
}

/** An archive with a queue of jobs that the test empties itself. */
export class Harness {
  readonly jobs = new Map<string, [string, Record<string, string>]>();
  nowMs = Date.now();

  private constructor(
    readonly blobs: BlobStore,
    readonly catalogue: KyselyCatalogue,
    readonly ingest: Ingest,
    readonly reader: ArchiveReader,
    readonly merger: Merger,
    readonly close: () => Promise<void>,
  ) {}

  static async open(blobs: BlobStore, db: Kysely<CatalogueTables>, name: string): Promise<Harness> {
    const scratchFolder = join(scratch, name);
    mkdirSync(scratchFolder);
    const catalogue = new KyselyCatalogue(db);
    await catalogue.migrate();
    const conversion = new ConversionThread();
    const runner = new QueryRunner();
    const cache = new FileCache(blobs, join(scratchFolder, 'cache'));
    const enqueue = async (kind: string, key: string, payload: Record<string, string>): Promise<void> => {
      harness.jobs.set(`${kind} ${key}`, [kind, payload]);
    };
    const nowMs = () => harness.nowMs;
    const common = { blobs, catalogue, conversion, scratchFolder, nowMs };
    const harness: Harness = new Harness(
      blobs,
      catalogue,
      new Ingest({ ...common, enqueue }),
      new ArchiveReader({ catalogue, cache, runner }),
      new Merger({ ...common, cache }),
      async () => {
        runner.close();
        await conversion.close();
      },
    );
    return harness;
  }

  async work(): Promise<void> {
    for (const [key, [kind, payload]] of this.jobs) {
      this.jobs.delete(key);
      if (kind === convertJob) await this.ingest.convert(payload.digest ?? '');
      if (kind === mergeJob) await this.merger.merge(payload.day ?? '', payload.cluster ?? '');
    }
  }

  async take(sealed: Sealed, from = origin): Promise<string> {
    const { status } = await this.ingest.accept(sealed.bytes, from);
    await this.work();
    return status;
  }

  async sql(sql: string, limit = 1000, timeoutMs = 20_000): Promise<unknown[][]> {
    return (await this.reader.sql({ sql, limit, timeoutMs })).rows;
  }
}

export function sqlite(): Kysely<CatalogueTables> {
  return new Kysely<CatalogueTables>({ dialect: new SqliteDialect({ database: new Database(':memory:') }) });
}

/** A path that hurts: not UTF-8, a newline, an escape sequence, a quote, an escape of ours that is really there. */
export const wildPath = Buffer.concat([
  Buffer.from('/tmp/\n\u001b[31m\'"$x'),
  Buffer.from([0xff, 0xc3]),
  Buffer.from('\uef80é'),
]);

/** A shell that starts a tool, which opens a file, connects, and is killed. */
export function story(firstSequence = 0n): Uint8Array {
  const writer = new BatchWriter({
    bootId,
    bootToUnixNs: noon,
    node: 'says-otherwise',
    cluster: 'says-otherwise',
  });
  const pod = writer.pod({
    namespace: 'shop',
    name: 'web-1',
    containerName: 'web',
    imageName: 'web:1',
    workload: 'web',
  });
  const init = writer.process({ pid: 1, startNs: 1n, execNs: 1n, binary: '/sbin/init' });
  const shell = writer.process({
    pid: 100,
    startNs: 10n,
    execNs: 20n,
    parentPid: 1,
    parentExecNs: 1n,
    podIndex: pod,
    binary: '/bin/sh',
    arguments: ['-c', 'tool "$@"', ''],
    uid: 1000,
    userName: 'app',
    execFlags: ExecFlag.execve,
    containerId: 'c0ffee',
  });
  const tool = writer.process({
    pid: 200,
    startNs: 30n,
    execNs: 40n,
    parentPid: 100,
    parentExecNs: 20n,
    podIndex: pod,
    binary: '/usr/bin/tool',
    arguments: [Buffer.from([0x61, 0xff])],
    uid: 1000,
    inode: 2n ** 64n - 1n,
  });
  const binding = writer.binding({
    bindingId: 1,
    eventKind: EventKind.lsm,
    policyName: 'watch-files',
    functionName: 'file_open',
    message: 'a file was opened',
    tags: ['files', 'mitre.T1005'],
  });
  let sequence = firstSequence;
  const add = (event: EventDescription) => writer.event({ cpu: 3, sequence: sequence++, ...event });
  add({
    kind: EventKind.exec,
    timeNs: 20n,
    pid: 100,
    tid: 100,
    process: shell,
    parent: init,
    binary: '/bin/sh',
  });
  add({
    kind: EventKind.exec,
    timeNs: 40n,
    pid: 200,
    tid: 200,
    process: tool,
    parent: shell,
    binary: '/usr/bin/tool',
  });
  add({
    kind: EventKind.lsm,
    timeNs: 50_000n,
    pid: 200,
    process: tool,
    parent: shell,
    binding,
    bindingId: 1,
    action: 1,
    arguments: [
      { type: ArgumentType.file, payload: wildPath, value: 0o100644n },
      {
        type: ArgumentType.sock,
        payload: socketPayload({
          family: 2,
          sourceAddress: [10, 0, 0, 1],
          destinationAddress: [192, 0, 2, 7],
          sourcePort: 40000,
          destinationPort: 443,
        }),
      },
    ],
    returnValue: { type: ArgumentType.int32, value: BigInt.asUintN(64, -13n) },
    annotation: { severity: 4, message: 'looks bad', labels: { 'filter.f.why': 'it' } },
  });
  add({ kind: EventKind.exit, timeNs: 60_000n, pid: 200, process: tool, parent: shell, signal: 9 });
  add({ kind: EventKind.loss, timeNs: 70_000n, cpu: AGENT_CPU, stage: 0, count: 5n });
  return writer.finish();
}
