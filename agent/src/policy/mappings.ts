// SPDX-License-Identifier: Apache-2.0
// Owns how the kernel is brought to tell of files that are mapped to run: a perf event on each CPU, which a program
// looks on at.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type BpfLink, openMappingEvent } from '@weir/native';
import { PolicyLoadError } from './errors.js';

/** Reads a list of CPUs as the kernel writes it, such as `0-3,8`. */
export function readCpuList(text: string): number[] {
  const cpus: number[] = [];
  for (const part of text.trim().split(',')) {
    const [, from, to] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (from === undefined) throw new TypeError(`${JSON.stringify(text)} is no list of CPUs`);
    for (let cpu = Number(from); cpu <= Number(to ?? from); cpu++) cpus.push(cpu);
  }
  return cpus;
}

/** A number by which a program knows the events of this agent among those of others. */
export function newMappingMark(): bigint {
  return randomBytes(8).readBigUInt64LE() | 1n;
}

/** Opens an event on each CPU that runs. @throws {PolicyLoadError} with none open */
export function openMappingEvents(mark: bigint): BpfLink[] {
  const events: BpfLink[] = [];
  try {
    for (const cpu of readCpuList(readFileSync('/sys/devices/system/cpu/online', 'latin1')))
      events.push(openMappingEvent(cpu, mark));
    return events;
  } catch (error) {
    for (const event of events) event.close();
    throw new PolicyLoadError(
      'attach',
      `loader: the kernel cannot be asked to tell of mappings (perf_event_open with build_id, from 5.12 on): ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  }
}
