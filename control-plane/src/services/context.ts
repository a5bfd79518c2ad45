// SPDX-License-Identifier: Apache-2.0
// Owns what every service is given, and the making of audit rows.
import type { AcceptancePolicy } from '@weir/filter-accept';
import type { Principal } from '../auth/permissions.js';
import { randomBytes, type Signer, toHex } from '../crypto.js';
import type { Archive, Clock, Log, ModuleStore } from '../ports.js';
import type { ReleaseWatch } from '../release-watch.js';
import type { Audit, Store } from '../store/store.js';

export interface Services {
  readonly store: Store;
  readonly modules: ModuleStore;
  readonly archive: Archive;
  readonly signer: Signer;
  readonly watch: ReleaseWatch;
  readonly clock: Clock;
  readonly log: Log;
  /** Bounds of filter modules, where they are not the defaults. */
  readonly filterLimits?: Partial<AcceptancePolicy> | undefined;
}

/** The one target there is until rollouts select agents by label. */
export const defaultTarget = 'default';

/** Tries of a change that another may make at the same moment. */
export const triesMax = 16;

/** An id that sorts by time: 12 hexadecimal digits of milliseconds, 20 of chance. */
export function newId(nowMs: number): string {
  return nowMs.toString(16).padStart(12, '0') + toHex(randomBytes(10));
}

export function auditOf(
  services: Services,
  principal: Principal,
  action: string,
  subject: string,
  details: Audit['details'] = {},
): Audit {
  const timeMs = services.clock.nowMs();
  return {
    id: newId(timeMs),
    timeMs,
    actor: principal.tokenId,
    role: principal.role,
    action,
    subject,
    details,
  };
}
