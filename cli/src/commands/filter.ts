// SPDX-License-Identifier: Apache-2.0
// Owns `weir filter …`.
import { basename, dirname, join, resolve } from 'node:path';
import {
  buildFilter,
  FilterBuildError,
  formatBuild,
  formatDiagnostics,
  formatNew,
  formatTest,
  newFilter,
  testFilter,
} from '@weir/filter-compile';
import { printable } from '@weir/segment';
import { type Command, wantsJson } from '../command.js';
import { CliError } from '../errors.js';
import { readInput } from '../files.js';
import { cell, type Output, table, time } from '../output.js';
import { connect } from '../state.js';

/** Lines of the compiler, which quote the author's source. */
function lines(text: string): string[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => printable(line));
}

async function building<T>(output: Output, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof FilterBuildError)) throw cause;
    for (const line of lines(formatDiagnostics(cause.diagnostics))) if (line !== '') output.note(line);
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
      for (const line of lines(formatNew(made))) output.line(line);
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
      for (const line of lines(formatBuild(result))) output.line(line);
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
        for (const line of lines(formatTest(result))) output.line(line);
        return result.passed ? undefined : 1;
      });
    },
  },
  {
    name: 'filter push',
    parameters: '[--config JSON] [--no-release] FOLDER|MODULE.wasm',
    summary: 'send a filter to the control plane, and put it in force',
    help: [
      'A folder is built first. Versions never change: raise "version" in filter.json for another content.',
    ],
    options: { config: { type: 'string' }, 'no-release': { type: 'boolean' } },
    takes: [1, 1],
    async run({ output, positionals: [source = ''], text, flag }) {
      const configText = text('config');
      let config: Record<string, never> | undefined;
      try {
        config = configText === undefined ? undefined : (JSON.parse(configText) as Record<string, never>);
      } catch (cause) {
        throw new CliError('--config must be a JSON object.', [], 2, { cause });
      }
      const module = source.endsWith('.wasm')
        ? readInput(source).bytes
        : new Uint8Array((await building(output, () => buildFilter({ source }))).bytes);
      const { filter, created, releaseSequence } = await connect().uploadFilter(module, {
        release: !flag('no-release'),
        ...(config === undefined ? {} : { config }),
      });
      const said = created ? '' : ' is there already';
      const released = releaseSequence === undefined ? '' : `, in force with release ${releaseSequence}`;
      output.line(`${cell(filter.name)} ${cell(filter.version)}${said}${released} (${filter.digest})`);
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
