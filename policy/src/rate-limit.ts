// SPDX-License-Identifier: Apache-2.0
// Owns what `rateLimit` and `rateLimitScope` of an action mean.
import type { PlannedRateLimit } from './plan-types.js';
import type { ExpandedSelector } from './selectors.js';

/** A year of 366 days. */
export const rateLimitSecondsMax = 366 * 24 * 3600;

const unitSeconds: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600 };

/** Seconds of a rate limit as policies write it (`5`, `5s`, `1m`, `1h`); undefined where it is no time. */
export function rateLimitSeconds(text: string | number): number | undefined {
  const found = /^([0-9]{1,9})([smh]?)$/i.exec(String(text));
  if (found === null) return undefined;
  return Number(found[1]) * (unitSeconds[(found[2] ?? '').toLowerCase()] ?? 1);
}

/** The rate limit of a selector's events; one of 0 seconds is none. */
export function rateLimitOf(selector: ExpandedSelector): { readonly rateLimit?: PlannedRateLimit } {
  const post = [...selector.matchActions, ...selector.part('matchReturnActions')].find(
    ({ item }) => item.rateLimit !== undefined,
  )?.item;
  const seconds = rateLimitSeconds(post?.rateLimit ?? 0) ?? 0;
  return seconds === 0 ? {} : { rateLimit: { seconds, scope: post?.rateLimitScope ?? 'thread' } };
}
