// SPDX-License-Identifier: Apache-2.0
// Owns `weir filter …`.
import { basename, dirname, join, resolve } from 'node:path';
import {
  benchFilter,
  buildFilter,
  checkLoad,
  FilterBuildError,
  formatBench,
  formatBuild,
  formatCost,
  formatDiagnostics,
  formatNew,
  formatTest,
  newFilter,
  sizeOfModule,
  testFilter,
} from '@weir/filter-compile';
import { type Command, wantsJson, wholeNumber } from '../command.js';
import { CliError } from '../errors.js';
import { readInput } from '../files.js';
import { cell, type Output, printableLines, table, time } from '../output.js';
import { connect } from '../state.js';
import { signatureFor } from './filter-sign.js';

async function building<T>(output: Output, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof FilterBuildError)) throw cause;
    for (const line of printableLines(formatDiagnostics(cause.diagnostics)))
      if (line !== '') output.note(line);
    throw new CliError(cause.message, [], 1, { cause });
  }
}

export const filterCommands: readonly Command[] = [
  {
    name: 'filter new',
    parameters: '[--name NAME] FOLDER',
    summary: 'begin a filter: a source, a manifest, a test that passes',
    options: { name: { type: 'string' } },
    takes: [1, 1],
    async run({ output, positionals: [folder = ''], text }) {
      const name = text('name') ?? basename(resolve(folder));
      const made = await building(output, () => newFilter(folder, name));
      for (const line of printableLines(formatNew(made))) output.line(line);
      return undefined;
    },
  },
  {
    name: 'filter build',
    parameters: '[--out FILE] [FOLDER]',
    summary: 'compile a filter to a module, and check it as the control plane will',
    options: { out: { type: 'string' } },
    takes: [0, 1],
    async run({ output, positionals: [source = '.'], text }) {
      const outFile = text('out');
      const result = await building(output, () =>
        buildFilter({ source, ...(outFile === undefined ? {} : { outFile }) }),
      );
      for (const line of printableLines(formatBuild(result))) output.line(line);
      // One that is bound to other kinds than the made-up events have, or that must be configured, has no cost to show.
      const cost = await benchFilter({ module: result.bytes, eventsMin: 10_000 }).catch(() => undefined);
      for (const line of printableLines(formatCost(sizeOfModule(result.bytes), cost))) output.line(line);
      return undefined;
    },
  },
  {
    name: 'filter test',
    parameters: '[--events FILE]... [FOLDER]',
    summary: 'run a filter over the recorded events in its folder tests/',
    options: { events: { type: 'string', multiple: true } },
    takes: [0, 1],
    async run({ output, positionals: [source = '.'], list }) {
      return building(output, async () => {
        const { bytes } = await buildFilter({ source });
        const folder = source.endsWith('.ts') ? dirname(source) : source;
        const given = list('events');
        const tests = given.length > 0 ? given : [join(folder, 'tests')];
        const result = await testFilter({ module: bytes, tests });
        for (const line of printableLines(formatTest(result))) output.line(line);
        return result.passed ? undefined : 1;
      });
    },
  },
  {
    name: 'filter bench',
    parameters: '[--fixtures FILE]... [--config JSON] [--events N] [-o text|json] FOLDER|MODULE.wasm',
    summary: 'measure what a filter costs: events a second, ns and fuel an event, memory',
    help: [
      'Fixtures are recordings: weir events record, or JSON lines of weir events -o json. Without, made-up events.',
    ],
    options: {
      fixtures: { type: 'string', multiple: true },
      config: { type: 'string' },
      events: { type: 'string' },
      output: { type: 'string', short: 'o' },
    },
    takes: [0, 1],
    async run({ output, positionals: [source = '.'], list, text }) {
      const json = wantsJson(text('output'), 'text');
      const config = text('config');
      const eventsMin = wholeNumber('events', text('events'), { least: 1, most: 1e9, otherwise: 300_000 });
      const result = await building(output, async () => {
        const module = source.endsWith('.wasm')
          ? readInput(source).bytes
          : (await buildFilter({ source })).bytes;
        return benchFilter({
          module,
          fixtures: list('fixtures'),
          eventsMin,
          ...(config === undefined ? {} : { config }),
        });
      });
      if (json) output.json(result);
      else for (const line of printableLines(formatBench(result))) output.line(line);
      return undefined;
    },
  },
  {
    name: 'filter push',
    parameters: '[--key FILE] [--config JSON] [--no-release] FOLDER|MODULE.wasm',
    summary: 'build, sign and send a filter to the control plane, and put it in force',
    help: [
      'It is signed with --key, with the key of WEIR_FILTER_KEY, or by MODULE.wasm.sig; weir filter keygen makes a key.',
      'A folder is built first. What cannot be loaded with its configuration is not sent.',
      'Versions never change: raise "version" in filter.json for another content.',
    ],
    options: { key: { type: 'string' }, config: { type: 'string' }, 'no-release': { type: 'boolean' } },
    takes: [1, 1],
    async run({ output, positionals: [source = ''], text, flag }) {
      const configText = text('config');
      let config: Record<string, never> | undefined;
      try {
        config = configText === undefined ? undefined : (JSON.parse(configText) as Record<string, never>);
      } catch (cause) {
        throw new CliError('--config must be a JSON object.', [], 2, { cause });
      }
      if (config !== undefined && (typeof config !== 'object' || config === null || Array.isArray(config)))
        throw new CliError('--config must be a JSON object.', [], 2);
      const moduleFile = source.endsWith('.wasm') ? source : undefined;
      const module =
        moduleFile !== undefined
          ? readInput(moduleFile).bytes
          : new Uint8Array((await building(output, () => buildFilter({ source }))).bytes);
      const isConfigured = config !== undefined && Object.keys(config).length > 0;
      await building(output, () => checkLoad(module, isConfigured ? JSON.stringify(config) : undefined));
      const signature = await signatureFor(module, { keyFile: text('key'), moduleFile });
      const { filter, created, releaseSequence } = await connect().uploadFilter(module, {
        release: !flag('no-release'),
        ...(config === undefined ? {} : { config }),
        ...(signature === undefined ? {} : { signature }),
      });
      const said = created ? '' : ' is there already';
      const released = releaseSequence === undefined ? '' : `, in force with release ${releaseSequence}`;
      const by = signature === undefined ? ', not signed' : `, signed by ${signature.keyId}`;
      output.line(`${cell(filter.name)} ${cell(filter.version)}${said}${released} (${filter.digest})${by}`);
      return undefined;
    },
  },
  {
    name: 'filter list',
    parameters: '[-o table|json]',
    summary: 'list the filters of the control plane',
    options: { output: { type: 'string', short: 'o' } },
    takes: [0, 0],
    async run({ output, text }) {
      const client = connect();
      const filters = await client.filters();
      if (wantsJson(text('output'))) {
        output.json(filters);
        return undefined;
      }
      const { content } = await client.release();
      const rows = filters.map((filter) => {
        const place = content.filters.findIndex(
          ({ name, version }) => name === filter.name && version === filter.version,
        );
        const state = place < 0 ? 'stored' : `in force, ${place + 1} of ${content.filters.length}`;
        return [filter.name, filter.version, state, filter.bytes, time(filter.createdMs), filter.digest];
      });
      for (const line of table(['NAME', 'VERSION', 'STATE', 'BYTES', 'CREATED', 'DIGEST'], rows))
        output.line(line);
      return undefined;
    },
  },
];
