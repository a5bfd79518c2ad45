// SPDX-License-Identifier: Apache-2.0
// Owns the counters of one replica, in the text form of Prometheus. Labels come from fixed sets (routes, statuses),
// never from what is sent, so that their number is bounded.

export class Metrics {
  readonly #counters = new Map<string, number>();

  count(name: string, labels: Record<string, string> = {}, by = 1): void {
    const pairs = Object.entries(labels).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    const key = pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`;
    this.#counters.set(key, (this.#counters.get(key) ?? 0) + by);
  }

  /** @param gauges values of the moment, by name */
  render(gauges: Record<string, number>): string {
    const lines = [...this.#counters].map(([key, value]) => `${key} ${value}`);
    for (const [name, value] of Object.entries(gauges)) lines.push(`${name} ${value}`);
    return `${lines.sort().join('\n')}\n`;
  }
}
