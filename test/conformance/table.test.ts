// SPDX-License-Identifier: Apache-2.0
// The table of the conformance matrix is what the planner says, of the cells that it was not asked about as well.
import { readFileSync } from 'node:fs';
import { Random } from '@weir/policy/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  actions,
  carrierOf,
  cellRefusal,
  kinds,
  nominalCarrier,
  operators,
  types,
} from '../vm/dist/conformance/matrix.js';
import { judgeAll, page, pageText, taken, takenText } from './table.mjs';

interface Row {
  readonly type: string;
  readonly isRefused: boolean;
  readonly whyNot: string | undefined;
  readonly byOperator: ReadonlyMap<string, string | undefined>;
  readonly byAction: ReadonlyMap<string, string | undefined>;
}

describe('the conformance table', () => {
  let all: readonly { readonly kind: string; readonly rows: readonly Row[] }[] = [];

  beforeAll(() => {
    all = judgeAll();
  });

  it('is what the planner says: else run node test/conformance/table.mjs', () => {
    expect(readFileSync(page, 'utf8')).toBe(pageText(all));
    expect(readFileSync(taken, 'utf8')).toBe(takenText(all));
  });

  it('has a row for each type on each kind of hook, and each says why it is not tried', () => {
    expect(all.map(({ kind }) => kind)).toEqual(kinds);
    for (const { kind, rows } of all) {
      expect(rows.map(({ type }) => type)).toEqual(types);
      for (const { type, isRefused, whyNot, byOperator, byAction } of rows) {
        expect([...byOperator.keys()], `${kind} ${type}`).toEqual(operators);
        expect([...byAction.keys()], `${kind} ${type}`).toEqual(actions);
        const isTried = carrierOf(kind as (typeof kinds)[number], type) !== undefined;
        expect(isRefused || isTried || whyNot !== undefined, `${kind} ${type}`).toBe(true);
        if (isRefused) expect([...byOperator.values()].every((message) => message !== '')).toBe(true);
      }
    }
  });

  // The table asks for each operator with one action, and for each action with one operator.
  const seed = Number(process.env.WEIR_SEED ?? 57);
  it(`says of cells drawn by chance what the planner says (seed ${seed})`, () => {
    const random = new Random(seed);
    const wrong: string[] = [];
    for (let n = 0; n < 4000; n++) {
      const { kind, rows } = random.pick(all);
      const row = random.pick(rows);
      const operator = random.pick(operators);
      const action = random.pick(actions);
      const of = kind as (typeof kinds)[number];
      const carrier = carrierOf(of, row.type) ?? nominalCarrier(of, row.type);
      const taken =
        !row.isRefused &&
        row.byOperator.get(operator) === undefined &&
        row.byAction.get(action) === undefined;
      const refusal = cellRefusal(carrier, row.type, operator, action);
      if ((refusal === undefined) !== taken)
        wrong.push(`${kind} ${row.type} ${operator} ${action}: ${refusal ?? 'taken'}`);
    }
    expect(wrong).toEqual([]);
  });
});
