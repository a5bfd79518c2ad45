// SPDX-License-Identifier: Apache-2.0
// The kernels' shares of the conformance matrix are together the whole of it.
import { describe, expect, it } from 'vitest';
import { kernelNames } from '../kernels.js';
import { carriers } from './carriers.js';
import { cellsOf, type Run } from './runs.js';

function namesOf(run: Run): string[] {
  return carriers.flatMap((carrier) =>
    carrier.types.flatMap((type) =>
      cellsOf(carrier, type, run).map(
        ({ operator, action }) => `${carrier.kind} ${type} ${operator} ${action}`,
      ),
    ),
  );
}

describe('the cells of the conformance matrix', () => {
  it('are all tried, each by one of the kernels at least', () => {
    const shares = kernelNames.flatMap(namesOf);
    expect([...new Set(shares)].sort()).toEqual(namesOf('whole').sort());
    for (const kernel of kernelNames) expect(namesOf(kernel).length).toBeLessThan(shares.length * 0.6);
  });

  it('are each of one carrier', () => {
    const names = namesOf('whole');
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(10_000);
  });

  it('have every operator and every action of a type on every kernel', () => {
    const partsOf = (run: Run) => {
      const parts = carriers.flatMap((carrier) =>
        carrier.types.flatMap((type) =>
          cellsOf(carrier, type, run).flatMap(({ operator, action }) => [
            `${carrier.kind} ${type} ${operator} with Post: ${action === 'Post'}`,
            `${carrier.kind} ${type} ${action}`,
          ]),
        ),
      );
      return [...new Set(parts)].filter((part) => !part.endsWith('false')).sort();
    };
    for (const kernel of kernelNames) expect(partsOf(kernel)).toEqual(partsOf('whole'));
  });
});
