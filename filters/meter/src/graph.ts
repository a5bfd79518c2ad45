// SPDX-License-Identifier: Apache-2.0
// Owns the graph of calls: in which order functions can be looked at so that those they call come first, and which
// can come to call themselves.
import type { FunctionScan } from './scan.js';

export interface CallGraph {
  /**
   * All functions, those that are called before those that call them; those that call one another in a circle
   * together. The number after the last function stands for what can be called through a table.
   */
  components: number[][];
  /** 1 for a function that can call itself, directly or through others. */
  recursive: Uint8Array;
}

/** Whom each function calls; last, what can be called through a table. */
export function calls(scans: readonly FunctionScan[], referenced: readonly number[]): (readonly number[])[] {
  const hub = scans.length;
  const all: (readonly number[])[] = scans.map((scan) =>
    scan.callsIndirectly ? [...scan.callees, hub] : [...scan.callees],
  );
  all.push(referenced);
  return all;
}

/**
 * Finds the cycles of calls (Tarjan's algorithm, without recursion of its own: the depth is the module's choice). A
 * call through a table goes to one more node, which calls all functions that can be in a table.
 */
export function callGraph(scans: readonly FunctionScan[], referenced: readonly number[]): CallGraph {
  const successors = calls(scans, referenced);
  const count = scans.length + 1;
  const number = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const onStack = new Uint8Array(count);
  const stack: number[] = [];
  const recursive = new Uint8Array(count);
  const components: number[][] = [];
  let next = 0;
  for (let root = 0; root < count; root++) {
    if (number[root] !== -1) continue;
    const path: { node: number; edge: number }[] = [{ node: root, edge: 0 }];
    while (path.length > 0) {
      const top = path[path.length - 1] as { node: number; edge: number };
      const { node } = top;
      if (number[node] === -1) {
        number[node] = low[node] = next++;
        stack.push(node);
        onStack[node] = 1;
      }
      const to = (successors[node] as readonly number[])[top.edge];
      if (to !== undefined) {
        top.edge++;
        if (to === node) recursive[node] = 1;
        if (number[to] === -1) path.push({ node: to, edge: 0 });
        else if (onStack[to] === 1) low[node] = Math.min(low[node] as number, number[to] as number);
        continue;
      }
      if (low[node] === number[node]) {
        const cycle: number[] = [];
        let member: number;
        do {
          member = stack.pop() as number;
          onStack[member] = 0;
          cycle.push(member);
        } while (member !== node);
        if (cycle.length > 1) for (const one of cycle) recursive[one] = 1;
        components.push(cycle);
      }
      path.pop();
      const parent = path[path.length - 1];
      if (parent !== undefined) low[parent.node] = Math.min(low[parent.node] as number, low[node] as number);
    }
  }
  return { components, recursive: recursive.subarray(0, scans.length) };
}
