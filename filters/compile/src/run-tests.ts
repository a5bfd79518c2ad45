// SPDX-License-Identifier: Apache-2.0
// Owns testing a filter on recorded events: events become batches, the real host judges them, and what it says is
// compared with what the author expects. A test file (tests/*.json beside the source):
//
//   { "config": "...", "cases": [ {
//       "name": "drops what /proc tells of oneself",
//       "events": [ ...events in JSON ]   or   "events": "recorded.jsonl"   or   "events": "captured.wseg",
//       "expect": [ "drop", { "verdict": "keep", "labels": { "shell": "bash" }, "severity": "high" } ],
//       "count": { "drop": 3, "keep": 1 },
//       "absent": [ "hunter2" ],
//       "alerts": 1
//   } ] }
//
// `config` is an object, or a string that is passed on as it is. In `expect`, `arguments` are those of the process, as
// they go on. No text of `absent` may be anywhere in what goes on: it was masked.
// `expect` has one entry an event; `count` is for recordings. A case begins with fresh state. Its events are judged a
// second time, each in a batch of its own: what a filter says of an event must not hang on which others lie beside it.

import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { FilterHost, type FilterReport, Judgement } from '@weir/filter-host';
import {
  BATCH_HEADER_BYTES,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  severityNames,
} from '@weir/schema';
import { BatchDecoder, BatchReader, type DecodedAnnotation, readSegment } from '@weir/segment';
import type { CaseResult } from './case-result.js';
import { FilterBuildError } from './error.js';
import { batchOfEvents, isJudged } from './events.js';
import { runUnitTests, UNIT_TEST_SUFFIX } from './unit-tests.js';

export interface TestOptions {
  /** The module, as built. */
  module: Uint8Array;
  /**
   * Test files (`.json` with cases, `.unit.ts` with unit tests), or folders that hold some. A recording (JSON lines, a batch or a segment) is judged as it is: its
   * verdicts are counted, and it fails only where the filter does.
   */
  tests: readonly string[];
  /** Time limit of the filter for one batch. Default 1000 ms: a test says what is wrong, not how slow it is. */
  timeLimitMs?: number;
}

export interface TestResult {
  passed: boolean;
  cases: CaseResult[];
  events: number;
  durationMs: number;
}

interface Expectation {
  verdict?: 'keep' | 'drop';
  severity?: string;
  message?: string;
  labels?: Record<string, string>;
  arguments?: string;
}

interface Case {
  name: string;
  batches: Uint8Array[];
  expect: Expectation[] | undefined;
  count: Record<string, number> | undefined;
  alerts: number | undefined;
  absent: string[];
}

const bad = (where: string, what: string): FilterBuildError =>
  new FilterBuildError('test', `${where}: ${what}`);

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(where, 'must be an object');
  return value as Record<string, unknown>;
}

function onlyFields(value: Record<string, unknown>, known: readonly string[], where: string): void {
  for (const key of Object.keys(value)) {
    if (!known.includes(key))
      throw bad(where, `${JSON.stringify(key)} is not known; known are ${known.join(', ')}`);
  }
}

function expectation(value: unknown, where: string): Expectation {
  if (value === 'keep' || value === 'drop') return { verdict: value };
  const given = object(value, `${where} must be "keep", "drop", or an object; it`);
  onlyFields(given, ['verdict', 'severity', 'message', 'labels', 'arguments'], where);
  const { verdict = 'keep', severity, message, labels, arguments: list } = given;
  if (verdict !== 'keep' && verdict !== 'drop') throw bad(`${where}.verdict`, 'must be "keep" or "drop"');
  if (severity !== undefined && !Object.values(severityNames).includes(severity as string)) {
    throw bad(`${where}.severity`, `must be one of ${Object.values(severityNames).join(', ')}`);
  }
  if (message !== undefined && typeof message !== 'string') throw bad(`${where}.message`, 'must be a string');
  if (labels !== undefined) object(labels, `${where}.labels`);
  if (list !== undefined && typeof list !== 'string') throw bad(`${where}.arguments`, 'must be a string');
  return {
    verdict,
    ...(severity === undefined ? {} : { severity: severity as string }),
    ...(message === undefined ? {} : { message }),
    ...(labels === undefined ? {} : { labels: labels as Record<string, string> }),
    ...(list === undefined ? {} : { arguments: list }),
  };
}

async function loadEvents(value: unknown, file: string, where: string): Promise<Uint8Array[]> {
  if (Array.isArray(value)) return value.length === 0 ? [] : [batchOfEvents(value, `${where}.events`)];
  if (typeof value !== 'string')
    throw bad(`${where}.events`, 'must be a list of events or the name of a file');
  return loadRecording(resolve(dirname(file), value), `${where}.events`);
}

async function loadRecording(path: string, where: string): Promise<Uint8Array[]> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new FilterBuildError(
      'fixture',
      `${where}: ${path} cannot be read: ${(error as Error).message}`,
      [],
      { cause: error },
    );
  }
  if (['.jsonl', '.json', '.ndjson'].includes(extname(path))) {
    const text = bytes.toString('utf8');
    const events = text
      .split('\n')
      .map((line, index) => ({ line, number: index + 1 }))
      .filter(({ line }) => line.trim() !== '')
      .map(({ line, number }) => {
        try {
          return JSON.parse(line) as unknown;
        } catch (error) {
          throw new FilterBuildError('fixture', `${path}:${number}: ${(error as Error).message}`, [], {
            cause: error,
          });
        }
      });
    return splitBatches(events, path);
  }
  try {
    return captured(bytes);
  } catch (error) {
    throw new FilterBuildError(
      'fixture',
      `${path} is neither JSON lines, a batch nor a segment: ${(error as Error).message}`,
      [],
      { cause: error },
    );
  }
}

/** Recordings are cut into batches as an agent would make them. */
const EVENTS_A_BATCH = 256;

function splitBatches(events: readonly unknown[], path: string): Uint8Array[] {
  const batches: Uint8Array[] = [];
  const judged = events.filter(isJudged);
  for (let from = 0; from < judged.length; from += EVENTS_A_BATCH) {
    batches.push(batchOfEvents(judged.slice(from, from + EVENTS_A_BATCH), basename(path)));
  }
  return batches;
}

function captured(bytes: Uint8Array): Uint8Array[] {
  const isBatch =
    bytes.length > BATCH_HEADER_BYTES && Buffer.from(bytes.subarray(0, 4)).toString('latin1') === 'WEIR';
  if (isBatch) return [new BatchReader(bytes).bytes];
  return readSegment(bytes).batches.map((batch) => batch.bytes);
}

async function readCases(file: string): Promise<{ config: string | undefined; cases: Case[] }> {
  if (extname(file) !== '.json') {
    const batches = await loadRecording(file, 'recording');
    return {
      config: undefined,
      cases: [
        { name: basename(file), batches, expect: undefined, count: undefined, alerts: undefined, absent: [] },
      ],
    };
  }
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new FilterBuildError('test', `${file}: ${(error as Error).message}`, [], { cause: error });
  }
  const given = object(json, file);
  onlyFields(given, ['config', 'cases'], file);
  const { cases } = given;
  const config =
    given.config === undefined || typeof given.config === 'string'
      ? given.config
      : JSON.stringify(object(given.config, `${file}: config`));
  if (!Array.isArray(cases) || cases.length === 0)
    throw bad(`${file}: cases`, 'must be a list with at least one case');
  const found: Case[] = [];
  for (const [index, one] of cases.entries()) {
    const where = `${file}: cases[${index}]`;
    const fields = object(one, where);
    onlyFields(fields, ['name', 'events', 'expect', 'count', 'alerts', 'absent'], where);
    if (typeof fields.name !== 'string' || fields.name === '')
      throw bad(`${where}.name`, 'must say what is tested');
    const { expect, count, alerts, absent = [] } = fields;
    if (!Array.isArray(absent) || absent.some((text) => typeof text !== 'string' || text === '')) {
      throw bad(`${where}.absent`, 'must be a list of strings');
    }
    if (expect === undefined && count === undefined) throw bad(where, 'must have expect or count');
    if (expect !== undefined && !Array.isArray(expect)) throw bad(`${where}.expect`, 'must be a list');
    if (alerts !== undefined && (!Number.isInteger(alerts) || (alerts as number) < 0)) {
      throw bad(`${where}.alerts`, 'must be a whole number');
    }
    if (count !== undefined) onlyFields(object(count, `${where}.count`), ['keep', 'drop'], `${where}.count`);
    found.push({
      name: fields.name,
      batches: await loadEvents(fields.events, file, where),
      expect: expect?.map((entry: unknown, at: number) => expectation(entry, `${where}.expect[${at}]`)),
      count: count as Record<string, number> | undefined,
      alerts: alerts as number | undefined,
      absent: absent as string[],
    });
  }
  return { config, cases: found };
}

async function testFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    let names: string[] | undefined;
    try {
      names = await readdir(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw bad(path, 'there is no such file or folder');
    }
    if (names === undefined) files.push(path);
    else
      files.push(
        ...names
          .filter((name) => name.endsWith('.json') || name.endsWith(UNIT_TEST_SUFFIX))
          .sort()
          .map((name) => join(path, name)),
      );
  }
  if (files.length === 0)
    throw bad(paths.join(', '), 'there are no tests: write a file such as tests/cases.json');
  return files.map((file) => resolve(file));
}

interface Judged {
  verdict: 'keep' | 'drop' | 'held back';
  annotation: DecodedAnnotation | undefined;
  what: string;
  arguments: string;
}

async function judge(
  host: FilterHost,
  batches: Iterable<Uint8Array>,
  absent: readonly string[],
): Promise<{ judged: Judged[]; alerts: number; errors: number; lost: number; found: string[] }> {
  const judged: Judged[] = [];
  const found = new Set<string>();
  let alerts = 0;
  let errors = 0;
  let lost = 0;
  for (const batch of batches) {
    const slot = await host.acquireWhenFree();
    try {
      if (batch.length > slot.bytes.length)
        throw bad('events', `a batch of ${batch.length} bytes is more than a host takes`);
      slot.bytes.set(batch);
      const result = await host.run(slot, batch.length);
      alerts += result.alertCount;
      errors += result.errors;
      lost += result.annotationsLost;
      // A copy: the decoder keeps views, and the slot is used again.
      const bytes = slot.bytes.slice(0, result.byteLength);
      const held = Buffer.from(bytes);
      for (const text of absent) if (held.includes(text)) found.add(text);
      const decoder = new BatchDecoder(new BatchReader(bytes));
      for (let index = 0; index < result.recordCount; index++) {
        const record = decoder.record(index);
        const verdict = slot.verdicts[index];
        judged.push({
          verdict: verdict === Judgement.keep ? 'keep' : verdict === Judgement.drop ? 'drop' : 'held back',
          annotation: record.annotation,
          arguments: record.process?.arguments.join(' ') ?? '',
          what: `${record.kind} of ${record.process?.binary || `pid ${record.pid}`}`,
        });
      }
    } finally {
      host.release(slot);
    }
  }
  return { judged, alerts, errors, lost, found: [...found] };
}

/** Events of a case that are judged alone as well. */
const ALONE_MAX = 1000;

/** The first events of batches, each as a batch of its own, with all that lies around it: one that names only its record. */
function* alone(batches: readonly Uint8Array[]): Generator<Uint8Array> {
  let left = ALONE_MAX;
  for (const batch of batches) {
    const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
    const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true);
    const count = view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
    for (let index = 0; index < count; index++) {
      if (left-- === 0) return;
      const one = new Uint8Array(batch);
      const header = new DataView(one.buffer);
      header.setUint32(BATCH_HEADER_OFFSETS_AT_AT, offsetsAt + index * 4, true);
      header.setUint32(BATCH_HEADER_RECORD_COUNT_AT, 1, true);
      yield one;
    }
  }
}

/** What a filter says of events by themselves that differs from what it said of them together. */
function differencesAlone(together: readonly Judged[], apart: readonly Judged[], masks: boolean): string[] {
  const said = ({ verdict, annotation }: Judged) => {
    const { severity, message, labels, error } = annotation ?? {};
    // What is masked of a process is so in all its events of a batch, and in what is said of them.
    return masks ? [verdict, severity, error] : [verdict, severity, error, message, labels];
  };
  const failures: string[] = [];
  for (const [index, one] of apart.entries()) {
    const [alone, beside] = [said(one), said(together[index] as Judged)].map((words) =>
      JSON.stringify(words),
    );
    if (alone === beside) continue;
    failures.push(
      `event ${index} (${one.what}): ${alone} in a batch of its own, but ${beside} beside others: it goes by more than the event`,
    );
    // Those behind differ by what the first has changed.
    break;
  }
  return failures;
}

function compare(index: number, expected: Expectation, actual: Judged, prefix: string): string[] {
  const failures: string[] = [];
  const where = `event ${index} (${actual.what})`;
  const differs = (what: string, wanted: unknown, got: unknown) => {
    if (wanted !== undefined && wanted !== got) {
      failures.push(
        `${where}: ${what} is ${JSON.stringify(got ?? null)}, expected ${JSON.stringify(wanted)}`,
      );
    }
  };
  differs('verdict', expected.verdict, actual.verdict);
  differs('severity', expected.severity, actual.annotation?.severity ?? 'none');
  differs('message', expected.message, actual.annotation?.message ?? '');
  differs('arguments', expected.arguments, actual.arguments);
  for (const [name, value] of Object.entries(expected.labels ?? {})) {
    differs(`label ${name}`, value, actual.annotation?.labels[`${prefix}${name}`]);
  }
  if (actual.annotation?.error === true) {
    failures.push(
      `${where}: the filter trapped: ${actual.annotation.labels[`${prefix}error`] ?? 'no reason is known'}`,
    );
  }
  return failures;
}

async function runCase(
  options: TestOptions,
  config: string | undefined,
  file: string,
  one: Case,
): Promise<CaseResult> {
  const reports: FilterReport[] = [];
  const host = await FilterHost.create({
    slots: 1,
    timeLimitMs: options.timeLimitMs ?? 1000,
    averageNs: Number.MAX_SAFE_INTEGER,
    onReport: (report) => reports.push(report),
  });
  try {
    const source = config === undefined ? { bytes: options.module } : { bytes: options.module, config };
    const set = await host.setFilters([source]);
    const prefix = `filter.${set.filters[0]?.name ?? ''}.`;
    const { judged, alerts, errors, lost, found } = await judge(host, one.batches, one.absent);
    const failures: string[] = [];
    if (one.expect !== undefined) {
      if (one.expect.length !== judged.length) {
        failures.push(`there are ${judged.length} events, but ${one.expect.length} expectations`);
      }
      for (const [index, expected] of one.expect.entries()) {
        const actual = judged[index];
        if (actual !== undefined) failures.push(...compare(index, expected, actual, prefix));
      }
    } else if (errors > 0) failures.push(`the filter trapped on ${errors} events`);
    const counted = (verdict: string) => judged.filter((entry) => entry.verdict === verdict).length;
    for (const [verdict, wanted] of Object.entries(one.count ?? {})) {
      const got = counted(verdict);
      if (got !== wanted) failures.push(`${verdict}: ${got} events, expected ${wanted}`);
    }
    for (const text of found) failures.push(`${JSON.stringify(text)} is in what goes on, unmasked`);
    if (one.alerts !== undefined && alerts !== one.alerts)
      failures.push(`${alerts} alerts, expected ${one.alerts}`);
    for (const report of reports) {
      if (report.type === 'quarantine') failures.push(`quarantined (${report.code}): ${report.reason}`);
      if (report.type === 'label') failures.push(report.reason);
    }
    const log = reports.flatMap((report) => (report.type === 'log' ? [report.text] : []));
    // Where there is no room for all that is said of a batch, what is left out hangs on the others.
    if (failures.length === 0 && lost === 0 && judged.length > 1) {
      await host.setFilters([]);
      await host.setFilters([source]);
      const apart = await judge(host, alone(one.batches), []);
      const masks = (set.filters[0]?.manifest.redacts.length ?? 0) > 0;
      failures.push(...differencesAlone(judged, apart.judged, masks));
    }
    return {
      file,
      name: one.name,
      passed: failures.length === 0,
      failures,
      events: judged.length,
      kept: counted('keep'),
      dropped: counted('drop'),
      log,
    };
  } finally {
    await host.close();
  }
}

/** Runs a filter's tests. @throws {FilterBuildError} where a test or a fixture cannot be read. */
export async function testFilter(options: TestOptions): Promise<TestResult> {
  const started = performance.now();
  const cases: CaseResult[] = [];
  for (const file of await testFiles(options.tests)) {
    if (file.endsWith(UNIT_TEST_SUFFIX)) {
      cases.push(...(await runUnitTests(file)));
      continue;
    }
    const { config, cases: found } = await readCases(file);
    for (const one of found) cases.push(await runCase(options, config, file, one));
  }
  return {
    passed: cases.every((one) => one.passed),
    cases,
    events: cases.reduce((sum, one) => sum + one.events, 0),
    durationMs: performance.now() - started,
  };
}

/** A report for people: a line a case, and beneath it what differs. */
export function formatTest(result: TestResult): string {
  const lines: string[] = [];
  for (const one of result.cases) {
    const judged = one.file.endsWith(UNIT_TEST_SUFFIX) ? '' : ` (${one.kept} kept, ${one.dropped} dropped)`;
    lines.push(`${one.passed ? 'ok  ' : 'FAIL'} ${one.name}${judged}`);
    for (const failure of one.failures) lines.push(`       ${failure}`);
    if (!one.passed) for (const line of one.log) lines.push(`       log: ${line}`);
  }
  const failed = result.cases.filter((one) => !one.passed).length;
  lines.push(
    `${result.cases.length - failed} of ${result.cases.length} cases pass, ${result.events} events, ${Math.round(result.durationMs)} ms`,
  );
  return lines.join('\n');
}
