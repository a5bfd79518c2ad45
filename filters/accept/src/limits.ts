// SPDX-License-Identifier: Apache-2.0
// Owns the limits of modules as a deployment writes them down: `memory=8MiB,table=1024`. Agents and control planes read
// them by this same code.
import { defaultPolicy } from './accept.js';
import type { AcceptancePolicy } from './types.js';

interface Limit {
  readonly field: keyof AcceptancePolicy;
  readonly least: number;
  readonly most: number;
  readonly isBytes: boolean;
}

const KiB = 1024;
const MiB = 1024 * KiB;

const known: Record<string, Limit> = {
  module: { field: 'moduleBytesMax', least: KiB, most: defaultPolicy.moduleBytesMax, isBytes: true },
  // A filter's memory holds a batch beside its own state.
  memory: { field: 'memoryBytesMax', least: defaultPolicy.memoryBytesMin, most: 64 * MiB, isBytes: true },
  functions: { field: 'functionsMax', least: 8, most: defaultPolicy.functionsMax, isBytes: false },
  table: { field: 'tableElementsMax', least: 1, most: 65_536, isBytes: false },
};

const units: Record<string, number> = { '': 1, KiB, MiB };

/** Why limits cannot be read: names the one that is wrong, and what would be right. */
export class FilterLimitError extends Error {
  override readonly name = 'FilterLimitError';
  readonly code = 'filter-limit';
}

function write(value: number, isBytes: boolean): string {
  if (!isBytes) return String(value);
  return value % MiB === 0 ? `${value / MiB}MiB` : `${Math.round(value / KiB)}KiB`;
}

/**
 * Reads limits, each `NAME=VALUE`, several of them in one text with commas between: `memory` (bytes of a module's memory),
 * `module` (its own bytes), `functions`, `table` (elements). Bytes may end in KiB or MiB.
 * @throws {FilterLimitError}
 */
export function parseFilterLimits(texts: readonly string[]): Partial<AcceptancePolicy> {
  const policy: Partial<AcceptancePolicy> = {};
  for (const one of texts.flatMap((text) => text.split(','))) {
    const [name = '', text = ''] = one.trim().split('=', 2);
    const limit = Object.hasOwn(known, name) ? known[name] : undefined;
    if (limit === undefined) {
      throw new FilterLimitError(`"${one}" must be NAME=VALUE with one of ${Object.keys(known).join(', ')}`);
    }
    const { field, least, most, isBytes } = limit;
    const [, digits, unit = ''] = /^(\d{1,12})(KiB|MiB)?$/.exec(text) ?? [];
    const value =
      digits === undefined || (unit !== '' && !isBytes) ? Number.NaN : Number(digits) * (units[unit] ?? 1);
    if (!(value >= least && value <= most)) {
      throw new FilterLimitError(
        `${name} must be ${write(least, isBytes)} to ${write(most, isBytes)}, not "${text}"`,
      );
    }
    policy[field] = value;
  }
  return policy;
}
