// SPDX-License-Identifier: Apache-2.0
// Owns what is told of one test: a case of recorded events, or a function of a `*.unit.ts`.

export interface CaseResult {
  file: string;
  name: string;
  passed: boolean;
  /** What differs, one line each. */
  failures: string[];
  events: number;
  kept: number;
  dropped: number;
  /** What the filter logged. */
  log: string[];
}
