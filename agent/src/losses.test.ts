// SPDX-License-Identifier: Apache-2.0
// Losses against a simple model, with a spool that is too small, kills and refused uploads at seeded moments: whatever
// happens, what was produced is archived, or told of as lost in what is archived, and never both.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventKind, LossStage, lossStageNames } from '@weir/schema';
import { AGENT_CPU, BatchDecoder, BatchReader, BatchWriter, readSegment } from '@weir/segment';
import { random } from '@weir/segment/fixtures';
import { afterAll, describe, expect, it } from 'vitest';
import { Accounting, decodeAccounting } from './join/accounting.js';
import { BOOKS_CPUS_MAX, Losses, splitBooks } from './losses.js';
import { Spool } from './spool/index.js';

const root = mkdtempSync(join(tmpdir(), 'weir-losses-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const bootId = new Uint8Array(16).fill(3);
let folders = 0;

interface Said {
  readonly stage: number;
  readonly count: number;
  readonly sequence: bigint;
  readonly onTaken: () => void;
}

/** A node: its kernel numbers events on one CPU, its agents come and go, its archive keeps what it was given. */
class Node {
  readonly folder = join(root, String(++folders));
  produced = 0;
  scratchBusy = 0;
  throttled = 0;
  readonly archive: Uint8Array[] = [];
  agent!: Agent;

  async start(bytesMax: number): Promise<void> {
    this.agent = await Agent.start(this, bytesMax);
  }

  /** Events, and what loss records tell, by stage. */
  archived(): { events: number; lost: Record<string, number> } {
    let events = 0;
    const lost: Record<string, number> = {};
    for (const bytes of this.archive) {
      const reader = new BatchReader(bytes);
      const decoder = new BatchDecoder(reader);
      for (let index = 0; index < reader.recordCount; index++) {
        const record = decoder.record(index);
        if (record.loss !== undefined)
          lost[record.loss.stage] = (lost[record.loss.stage] ?? 0) + Number(record.loss.count);
        else if (record.cpu !== AGENT_CPU) events++;
      }
    }
    return { events, lost };
  }

  balance(): { produced: number; accounted: number } {
    const { events, lost } = this.archived();
    const sum = Object.values(lost).reduce((total, count) => total + count, 0);
    return { produced: this.produced + this.scratchBusy + this.throttled, accounted: events + sum };
  }
}

/** What the agent and its pipeline do, without a kernel and filters. */
class Agent {
  readonly losses: Losses;
  readonly accounting = new Accounting(1, bootId);
  readonly noted: Record<string, number> = {};
  #said: Said[] = [];
  #sequence = 0n;
  ownLost = 0;
  readonly node: Node;
  readonly spool: Spool;

  private constructor(node: Node, spool: Spool) {
    this.node = node;
    this.spool = spool;
    this.losses = new Losses({
      store: spool,
      say: (stage, count, onTaken) => {
        const sequence = BigInt(Date.now()) * 1_000_000n + ++this.#sequence;
        this.#said.push({ stage, count, sequence, onTaken });
        return sequence;
      },
      note: (stage, count) => {
        const name = lossStageNames[stage] as string;
        this.noted[name] = (this.noted[name] ?? 0) + count;
      },
      noteOwn: (count) => {
        this.ownLost += count;
      },
      onError: (error) => {
        throw error;
      },
    });
  }

  static async start(node: Node, bytesMax: number): Promise<Agent> {
    let agent: Agent | undefined;
    const spool = await Spool.open({
      folder: node.folder,
      agentId: 'a',
      bytesMax,
      segmentBytes: 4000,
      segmentMs: Infinity,
      syncMs: Infinity,
      onLoss: (stage) => {
        if (stage === 'upload') agent?.losses.gaveUp(spool.eventsGivenUp);
        else agent?.losses.refused(stage === 'sink' ? LossStage.sink : LossStage.spoolFull);
      },
    });
    agent = new Agent(node, spool);
    const { accounting, losses } = splitBooks(spool.recovered.accounting);
    const books = decodeAccounting(accounting, bootId);
    const gone = agent.accounting.resume(books ?? [], [node.produced]);
    agent.losses.resume(losses, losses, spool.eventsGivenUp);
    if (books === undefined)
      await agent.losses.append(new BatchWriter({ bootId }).finish(), agent.accounting.encode());
    agent.#tellNumbers(LossStage.agentDown, gone);
    return agent;
  }

  #tellNumbers(stage: number, lost: ReturnType<Accounting['settle']>): void {
    const count = lost.reduce((sum, each) => sum + each.count, 0);
    if (count > 0) this.losses.tellNumbers(stage, count, () => this.accounting.told(lost));
  }

  settle(): void {
    this.#tellNumbers(LossStage.ringFull, this.accounting.settle());
    this.losses.sawScratchBusy(this.node.scratchBusy);
    this.losses.sawThrottled(this.node.throttled);
    this.losses.tell();
  }

  /** A batch of events; `missing` numbers before it never came, a filter holds back some. Joined now, stored later. */
  put(events: number, missing = 0, heldBack = 0): Promise<boolean> {
    const writer = new BatchWriter({ bootId });
    for (const { stage, count, sequence, onTaken } of this.#said.splice(0)) {
      writer.event({
        kind: EventKind.loss,
        cpu: AGENT_CPU,
        sequence,
        stage,
        count: BigInt(count),
        timeNs: 1n,
      });
      onTaken();
    }
    this.node.produced += missing + heldBack;
    for (let index = 0; index < events; index++) {
      writer.event({
        kind: EventKind.exit,
        cpu: 0,
        sequence: BigInt(this.node.produced++),
        pid: 1,
        timeNs: 1n,
      });
    }
    this.accounting.next[0] = this.node.produced;
    this.accounting.handled[0] = (this.accounting.handled[0] as number) + events + heldBack;
    if (heldBack > 0) this.losses.lose(LossStage.filter, heldBack);
    return this.losses.append(writer.finish(), this.accounting.encode());
  }

  /** The oldest segment is stored elsewhere, or given up. */
  async upload(outcome: 'stored' | 'refused'): Promise<void> {
    await this.spool.rotate();
    await this.spool.settled();
    const segment = this.spool.oldestSealed();
    if (segment === undefined) return;
    if (outcome === 'stored')
      for (const { bytes } of readSegment(await segment.read()).batches)
        this.node.archive.push(bytes.slice());
    await this.spool.acknowledge(segment, outcome);
  }

  async uploadAll(): Promise<void> {
    do await this.upload('stored');
    while (this.spool.oldestSealed() !== undefined);
  }

  /** Two looks, as gaps need; then all that is left goes out. */
  async finish(): Promise<void> {
    for (let turn = 0; turn < 4; turn++) {
      this.settle();
      await this.put(0);
      await this.uploadAll();
    }
    await this.spool.close();
  }
}

describe('losses', () => {
  it('tells of what a full spool refused, once there is room, also after a kill', async () => {
    const node = new Node();
    await node.start(12_000);
    expect(await node.agent.put(5)).toBe(true);
    expect(await node.agent.put(3000)).toBe(false);
    expect(await node.agent.put(5)).toBe(true);
    await node.agent.spool.abandon();
    await node.start(1_000_000);
    await node.agent.finish();
    expect(node.archived()).toEqual({ events: 10, lost: { spool_full: 3000 } });
    expect(node.produced).toBe(3010);
  });

  it('tells again of a loss whose record was refused with its batch', async () => {
    const node = new Node();
    await node.start(12_000);
    await node.agent.put(5, 7);
    node.agent.settle();
    node.agent.settle();
    expect(await node.agent.put(3000)).toBe(false);
    await node.agent.finish();
    expect(node.archived()).toEqual({ events: 5, lost: { ring_full: 7, spool_full: 3000 } });
  });

  it('counts what a segment that was given up held, and what that would have told of, also after a kill', async () => {
    const node = new Node();
    await node.start(1_000_000);
    await node.agent.put(5, 7);
    node.agent.settle();
    node.agent.settle();
    await node.agent.put(2);
    await node.agent.upload('refused');
    await node.agent.spool.abandon();
    await node.start(1_000_000);
    await node.agent.finish();
    expect(node.archived()).toEqual({ events: 0, lost: { upload: 14 } });
  });

  it('counts what was produced before the first batch was stored, when it is killed there', async () => {
    const node = new Node();
    await node.start(1_000_000);
    node.produced += 40;
    await node.agent.spool.abandon();
    await node.start(1_000_000);
    await node.agent.finish();
    expect(node.archived().lost).toEqual({ agent_down: 40 });
  });

  it('tells of counters once, over kills', async () => {
    const node = new Node();
    await node.start(1_000_000);
    node.scratchBusy = 3;
    node.throttled = 70;
    node.agent.settle();
    await node.agent.put(1);
    node.scratchBusy = 5;
    node.throttled = 90;
    await node.agent.spool.abandon();
    await node.start(1_000_000);
    await node.agent.finish();
    expect(node.archived().lost).toEqual({ scratch_busy: 5, throttled: 90 });
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'balances whatever happens, in whatever order (seed %i)',
    async (seed) => {
      const next = random(seed);
      const node = new Node();
      await node.start(9000);
      const under: Promise<unknown>[] = [];
      for (let step = 0; step < 120; step++) {
        const { agent } = node;
        const what = next(12);
        if (what < 5) under.push(agent.put(next(20), next(3) === 0 ? next(4) : 0));
        else if (what === 5) under.push(agent.put(60 + next(60)));
        else if (what === 6) {
          agent.settle();
          agent.settle();
        } else if (what === 7) under.push(agent.put(next(5), 0, 1 + next(5)));
        else if (what === 8) {
          node.scratchBusy += next(3);
          node.throttled += next(4);
        } else if (what === 9) await agent.upload('refused');
        else if (what === 10) await agent.upload('stored');
        else {
          await agent.spool.abandon();
          await Promise.allSettled(under.splice(0));
          await node.start(9000);
        }
      }
      await Promise.all(under);
      await node.agent.spool.abandon();
      await node.start(1_000_000);
      await node.agent.finish();
      const { produced, accounted } = node.balance();
      expect(accounted, JSON.stringify(node.archived())).toBe(produced);
    },
  );

  it('keeps its books beside those of as many CPUs as there may be', async () => {
    const accounting = new Accounting(BOOKS_CPUS_MAX, bootId);
    const node = new Node();
    await node.start(1_000_000);
    expect(await node.agent.losses.append(new BatchWriter({ bootId }).finish(), accounting.encode())).toBe(
      true,
    );
    await node.agent.spool.close();
  });
});
