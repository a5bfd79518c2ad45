// SPDX-License-Identifier: Apache-2.0
// Owns the file that is there while an agent runs: who finds one at the start knows that the agent before was ended
// without being told to.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export class RunningMarker {
  readonly #path: string;

  constructor(dataFolder: string) {
    this.#path = join(dataFolder, 'running');
  }

  /** @returns whether an agent ran on these data in this boot, and did not end as it should */
  begin(bootId: string): boolean {
    let before = '';
    try {
      before = readFileSync(this.#path, 'latin1');
    } catch {
      // None: the first, or one that ended well.
    }
    writeFileSync(this.#path, bootId, { mode: 0o600 });
    return before === bootId;
  }

  end(): void {
    rmSync(this.#path, { force: true });
  }
}
