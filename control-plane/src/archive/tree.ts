// SPDX-License-Identifier: Apache-2.0
// Owns the tree of a process: the executions above one and below it, from the pairs (exec_id, parent_exec_id) that
// every event carries. The archive is what agents say, so the pairs may lie: circles are cut, depth is bounded.
import { ArchiveError } from './error.js';
import type { QueryAnswer } from './query-runner.js';

export interface ProcessNode {
  execId: string;
  parentExecId?: string;
  /** 0 for the root. */
  depth: number;
  pid?: number;
  binary?: string;
  arguments?: string[];
  user?: string;
  uid?: number;
  startTime?: string;
  endTime?: string;
  exitStatus?: number;
  exitSignal?: string;
  /** Events of it in the archive. */
  events: number;
}

export interface ProcessTree {
  /** exec_id of the oldest known ancestor. */
  root: string;
  /** Each after its parent. */
  processes: ProcessNode[];
  truncated: boolean;
}

const depthMax = 128;
export const processesMax = 10_000;

/** Two columns of all events give the links; `UNION` (not ALL) ends at circles by itself. */
export const treeSql = `
WITH RECURSIVE
links AS MATERIALIZED (
  SELECT exec_id, any_value(parent_exec_id) AS parent FROM events WHERE exec_id IS NOT NULL GROUP BY exec_id
),
up AS (
  SELECT exec_id, parent FROM links WHERE exec_id = $exec_id
  UNION
  SELECT links.exec_id, links.parent FROM up JOIN links ON links.exec_id = up.parent
),
down AS (
  SELECT exec_id FROM links WHERE exec_id = $exec_id
  UNION
  SELECT links.exec_id FROM down JOIN links ON links.parent = down.exec_id
),
wanted AS (
  SELECT exec_id FROM up UNION SELECT exec_id FROM (SELECT exec_id FROM down LIMIT ${processesMax})
)
SELECT exec_id, any_value(parent_exec_id) AS parent, arg_max(pid, time_ns) AS pid,
  any_value("binary") AS "binary", any_value(arguments) AS arguments, any_value("user") AS "user",
  any_value(uid) AS uid, min(start_time) AS start_time,
  max(time) FILTER (kind = 'exit') AS end_time, max(exit_status) AS exit_status, max(exit_signal) AS exit_signal,
  count(*) AS events, any_value(parent_binary) AS parent_binary, any_value(parent_pid) AS parent_pid
FROM events WHERE exec_id IN (SELECT exec_id FROM wanted) GROUP BY exec_id`;

/** Puts the rows of {@link treeSql} into order. @throws {ArchiveError} not-found */
export function buildTree(execId: string, answer: QueryAnswer): ProcessTree {
  const names = answer.columns.map(({ name }) => name);
  const nodes = new Map<string, ProcessNode>();
  const parents = new Map<string, { binary: unknown; pid: unknown }>();
  for (const row of answer.rows) {
    const value = (name: string): unknown => row[names.indexOf(name)] ?? undefined;
    const node = nodeOf(value);
    nodes.set(node.execId, node);
    if (node.parentExecId !== undefined) {
      parents.set(node.parentExecId, { binary: value('parent_binary'), pid: value('parent_pid') });
    }
  }
  if (!nodes.has(execId))
    throw new ArchiveError('not-found', `no event of execution ${execId.slice(0, 200)}`);
  const root = rootOf(execId, nodes);
  addUnseenParent(root, nodes, parents);
  const above = root.parentExecId === undefined ? undefined : nodes.get(root.parentExecId);
  const top = above ?? root;
  const processes = inOrder(top, nodes);
  return { root: top.execId, processes, truncated: answer.truncated || nodes.size > processes.length };
}

function nodeOf(value: (name: string) => unknown): ProcessNode {
  const node: ProcessNode = { execId: String(value('exec_id')), depth: 0, events: Number(value('events')) };
  const set = <K extends keyof ProcessNode>(
    key: K,
    given: unknown,
    read: (given: unknown) => ProcessNode[K],
  ): void => {
    if (given !== undefined && given !== null) node[key] = read(given);
  };
  set('parentExecId', value('parent'), String);
  set('pid', value('pid'), Number);
  set('binary', value('binary'), String);
  set('arguments', value('arguments'), (given) => (given as unknown[]).map(String));
  set('user', value('user'), String);
  set('uid', value('uid'), Number);
  set('startTime', value('start_time'), String);
  set('endTime', value('end_time'), String);
  set('exitStatus', value('exit_status'), Number);
  set('exitSignal', value('exit_signal'), String);
  return node;
}

function rootOf(execId: string, nodes: ReadonlyMap<string, ProcessNode>): ProcessNode {
  const seen = new Set<string>();
  let node = nodes.get(execId);
  let root = node;
  while (node !== undefined && !seen.has(node.execId) && seen.size < depthMax) {
    seen.add(node.execId);
    root = node;
    node = node.parentExecId === undefined ? undefined : nodes.get(node.parentExecId);
  }
  // `execId` is in the map: its caller has looked.
  return root as ProcessNode;
}

/** A parent of which no event was archived is known by what its children's events say of it. */
function addUnseenParent(
  root: ProcessNode,
  nodes: Map<string, ProcessNode>,
  parents: ReadonlyMap<string, { binary: unknown; pid: unknown }>,
): void {
  const id = root.parentExecId;
  if (id === undefined || nodes.has(id)) return;
  const known = parents.get(id);
  const node: ProcessNode = { execId: id, depth: 0, events: 0 };
  if (typeof known?.binary === 'string') node.binary = known.binary;
  if (typeof known?.pid === 'number') node.pid = known.pid;
  nodes.set(id, node);
}

function inOrder(top: ProcessNode, nodes: ReadonlyMap<string, ProcessNode>): ProcessNode[] {
  const children = new Map<string, ProcessNode[]>();
  for (const node of nodes.values()) {
    if (node.parentExecId === undefined || node === top) continue;
    const siblings = children.get(node.parentExecId);
    if (siblings === undefined) children.set(node.parentExecId, [node]);
    else siblings.push(node);
  }
  const ordered: ProcessNode[] = [];
  const stack = [{ node: top, depth: 0 }];
  const seen = new Set<string>();
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (seen.has(next.node.execId) || next.depth > depthMax) continue;
    seen.add(next.node.execId);
    ordered.push({ ...next.node, depth: next.depth });
    const below = children.get(next.node.execId) ?? [];
    below.sort((a, b) => (a.startTime ?? '').localeCompare(b.startTime ?? ''));
    for (const node of below.reverse()) stack.push({ node, depth: next.depth + 1 });
  }
  return ordered;
}
