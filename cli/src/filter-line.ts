// SPDX-License-Identifier: Apache-2.0
// Owns how a running filter is shown, by the agent of this machine and by what an agent reported: how it is, what it
// judged, what it costs, and why it is in quarantine.
import { cell } from './output.js';

export interface FilterFigures {
  readonly name: string;
  readonly version?: string | undefined;
  readonly state: string;
  readonly code?: string | undefined;
  readonly reason?: string | undefined;
  readonly events?: number | undefined;
  readonly kept?: number | undefined;
  readonly dropped?: number | undefined;
  readonly traps?: number | undefined;
  readonly cpuNs?: number | undefined;
  readonly memoryBytes?: number | undefined;
  readonly fuel?: number | undefined;
  readonly heldBack?: number | undefined;
  readonly labelsRefused?: number | undefined;
  readonly logLinesLost?: number | undefined;
}

export function filterLine(filter: FilterFigures): string {
  const { events = 0, kept = 0, dropped = 0, traps = 0, heldBack = 0 } = filter;
  const { cpuNs = 0, memoryBytes = 0, fuel = 0, labelsRefused = 0, logLinesLost = 0 } = filter;
  const each =
    events === 0
      ? ''
      : ` (${Math.round(cpuNs / events)} ns and ${Math.round(fuel / events)} units of fuel an event)`;
  const code = filter.code === undefined ? '' : ` (${cell(filter.code)})`;
  return [
    `filter ${cell(filter.name)} ${cell(filter.version)} ${filter.state}${code}`,
    `, kept ${kept}, dropped ${dropped}, traps ${traps}`,
    heldBack === 0 ? '' : `, held back ${heldBack}`,
    labelsRefused === 0 ? '' : `, labels refused ${labelsRefused}`,
    logLinesLost === 0 ? '' : `, log lines lost ${logLinesLost}`,
    `, ${Math.round(cpuNs / 1e6)} ms of processor${each}`,
    `, ${Math.round(memoryBytes / 1024)} KiB`,
    filter.reason === undefined ? '' : `: ${cell(filter.reason)}`,
  ].join('');
}
