// SPDX-License-Identifier: Apache-2.0
// Owns which cells of the conformance matrix a run tries. With all tests a kernel tries its rows (each operator with
// Post, each action with an operator, which is another one for another type) and its share of all other cells.
import { type KernelName, kernelNames } from '../kernels.js';
import { accepted } from './accepted.js';
import type { Carrier } from './carrier.js';
import { noOperator, types } from './matrix.js';

/** All cells, or a kernel's rows and its share of the others. */
export type Run = 'whole' | KernelName;

/** The operators and actions that the planner takes, as the table has them. */
function takenOf(kind: string, type: string): { operators: string[]; actions: string[] } {
  const line = accepted.split('\n').find((text) => text.startsWith(`${kind} ${type}: `));
  const [, operators = '', actions = ''] = line?.split(': ') ?? [];
  return {
    operators: operators.split(' ').flatMap((name) => (name === '' ? [] : name === '-' ? noOperator : name)),
    actions: actions.split(' ').filter((name) => name !== ''),
  };
}

/** The cells of a type on a carrier that a run tries. */
export function cellsOf(carrier: Carrier, type: string, run: Run): { operator: string; action: string }[] {
  const { operators, actions } = takenOf(carrier.kind, type);
  const turn = types.indexOf(type);
  const isOthers = (n: number) =>
    carrier.costly === undefined && (run === 'whole' || n % kernelNames.length === kernelNames.indexOf(run));
  return operators.flatMap((operator, at) =>
    actions.flatMap((action, place) => {
      const isOfRow = action === 'Post' || at === (turn + 5 * place) % operators.length;
      return isOfRow || isOthers(turn + at + place) ? [{ operator, action }] : [];
    }),
  );
}
