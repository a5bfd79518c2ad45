// SPDX-License-Identifier: Apache-2.0
// Owns imaHash: at which LSM hooks the kernel can hash the file that they are about, and which file that is.
import type { Findings } from './findings.js';
import type { PlannedSelector } from './plan-types.js';
import type { ExpandedSelector } from './selectors.js';

/** What the first parameter of an LSM hook is: the program that is about to run, or a file. */
export type ImaFile = 'program' | 'file';

const files: Readonly<Record<string, ImaFile>> = {
  bprm_check_security: 'program',
  bprm_committed_creds: 'program',
  bprm_committing_creds: 'program',
  bprm_creds_from_file: 'program',
  file_ioctl: 'file',
  file_lock: 'file',
  file_open: 'file',
  file_post_open: 'file',
  file_receive: 'file',
  mmap_file: 'file',
};

/** The file that an LSM hook is about; undefined where it is about none that can be hashed. */
export function imaFileOf(hook: string): ImaFile | undefined {
  return Object.hasOwn(files, hook) ? files[hook] : undefined;
}

export function wantsHash(selector: ExpandedSelector): boolean {
  return selector.matchActions.some(({ item }) => item.imaHash === true);
}

/** Whether the events of a selector have a hash. */
export function hashOf(selector: ExpandedSelector): Pick<PlannedSelector, 'imaHash'> {
  return wantsHash(selector) ? { imaHash: true } : {};
}

/** Says of an LSM hook what of its files has no hash. */
export function warnOfHashes(findings: Findings, hook: string, selector: ExpandedSelector): void {
  if (hook !== 'file_open') return;
  for (const { item, path } of selector.matchActions) {
    if (item.imaHash === true)
      findings.warn(
        'blind-spot',
        `${path}.imaHash`,
        'a file cannot be read yet when file_open asks: it has a hash only where IMA has measured it before; file_post_open (6.9 and later) and bprm_check_security always have one',
      );
  }
}
