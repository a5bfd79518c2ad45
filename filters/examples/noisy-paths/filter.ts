// SPDX-License-Identifier: Apache-2.0
import { drop, Event, keep, Verdict } from '@weir/filter-sdk';

export function filter(event: Event): Verdict {
  if (event.argument(0).path.startsWith('/proc/self/')) return drop();
  return keep();
}
