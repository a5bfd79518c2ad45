// SPDX-License-Identifier: Apache-2.0
// Owns the drawing of a process tree for a terminal.
import type { ProcessTree } from '@weir/control-plane/client';
import { cell } from './output.js';

type Process = ProcessTree['processes'][number];

function describe(process: Process, marked: boolean): string {
  const words = [process.binary ?? '?', ...(process.arguments ?? [])].map(cell);
  const facts = [
    ...(process.pid === undefined ? [] : [`pid ${process.pid}`]),
    ...(process.user !== undefined
      ? [cell(process.user)]
      : process.uid !== undefined
        ? [`uid ${process.uid}`]
        : []),
    ...(process.exitSignal !== undefined
      ? [`ended by ${cell(process.exitSignal)}`]
      : process.exitStatus !== undefined
        ? [`exit ${process.exitStatus}`]
        : []),
    `${process.events} event${process.events === 1 ? '' : 's'}`,
  ];
  return `${words.join(' ')}  (${facts.join(', ')})${marked ? '  <-' : ''}`;
}

/** Draws the tree; the process that was asked for is marked. */
export function drawTree(tree: ProcessTree, execId: string): string[] {
  const { processes } = tree;
  const lines: string[] = [];
  processes.forEach((process, index) => {
    const marked = process.execId === execId;
    if (process.depth === 0) {
      lines.push(describe(process, marked));
      return;
    }
    let prefix = '';
    for (let depth = 1; depth < process.depth; depth++)
      prefix += hasMore(processes, index, depth) ? '│  ' : '   ';
    prefix += hasMore(processes, index, process.depth) ? '├─ ' : '└─ ';
    lines.push(prefix + describe(process, marked));
  });
  if (tree.truncated) lines.push('… and more');
  return lines;
}

/** Whether a later process stands at `depth` before one that stands above it. */
function hasMore(processes: readonly Process[], index: number, depth: number): boolean {
  for (const later of processes.slice(index + 1)) {
    if (later.depth < depth) return false;
    if (later.depth === depth) return true;
  }
  return false;
}
