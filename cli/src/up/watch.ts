// SPDX-License-Identifier: Apache-2.0
// Owns the telling of what of the demonstration the live view has shown already.

/** The demonstration starts a few programs; a stranger who copies its marker must not fill the memory. */
const processesMax = 1_000;

/** Looks at compact lines of events, as they are shown, without colours. */
export class DemoWatch {
  readonly #marker: string;
  readonly #running = new Set<string>();
  #ended = 0;

  /** @param marker A word that only the demonstration's own shells have among their arguments. */
  constructor(marker: string) {
    this.#marker = marker;
  }

  /** How many of the demonstration's shells were shown from their start to their end. */
  get ended(): number {
    return this.#ended;
  }

  see(line: string): void {
    // TIME KIND BINARY[PID] …, and a container's name before the binary; shells have no space or bracket in theirs.
    const [, kind, pid = ''] = /^\S+ (exec|exit) +(?:[^[ ]+ )?[^[ ]*\[(\d+)\]/.exec(line) ?? [];
    if (kind === 'exec' && line.includes(this.#marker)) {
      if (this.#running.size < processesMax) this.#running.add(pid);
    } else if (kind === 'exit' && this.#running.delete(pid)) this.#ended++;
  }
}
