// SPDX-License-Identifier: Apache-2.0
// Runs what the pages of docs/ show: each block marked `sh`, in order, a page in one go, as docs/README.md says: at the
// top of a clone, while `weir up` runs. Blocks marked `sh no-test` need another place. The first filter is also changed
// as its page says.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor, whyNoAgent } from './support.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const whyNot = whyNoAgent();
/** A page's block may take this long. */
const blockMs = 60_000;

interface Block {
  readonly place: string;
  readonly text: string;
}

/** Blocks of a page with just this mark. */
function blocks(page: string, mark = 'sh'): Block[] {
  const found: Block[] = [];
  let open: { line: number; fits: boolean; lines: string[] } | undefined;
  for (const [index, line] of readFileSync(join(root, page), 'utf8').split('\n').entries()) {
    if (!line.startsWith('```')) open?.lines.push(line);
    else if (open === undefined) open = { line: index + 1, fits: line.slice(3).trim() === mark, lines: [] };
    else {
      if (open.fits) found.push({ place: `${page}:${open.line}`, text: open.lines.join('\n') });
      open = undefined;
    }
  }
  return found;
}

const pages = readdirSync(join(root, 'docs'))
  .filter((name) => name.endsWith('.md') && name !== 'first-filter.md')
  .map((name) => `docs/${name}`)
  .filter((page) => blocks(page).length > 0);

describe.skipIf(whyNot !== undefined)(
  `the commands of the docs${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`,
  () => {
    let folder: string;
    let environment: NodeJS.ProcessEnv;
    let up: ChildProcess;
    let printed = '';

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'weir-docs-'));
      // Looks like the top of a clone, and is thrown away.
      for (const name of ['policy', 'docs', 'node_modules', 'package.json'])
        symlinkSync(join(root, name), join(folder, name));
      writeFileSync(join(folder, 'weir'), `#!/bin/sh\nexec '${root}/weir' "$@"\n`);
      chmodSync(join(folder, 'weir'), 0o755);
      const { WEIR_URL: _, WEIR_TOKEN: __, WEIR_SOCKET: ___, ...rest } = process.env;
      environment = { ...rest, WEIR_HOME: join(folder, 'home'), PATH: `${folder}:${process.env.PATH}` };
      up = spawn(process.execPath, [join(root, 'cli/dist/main.js'), 'up'], {
        cwd: folder,
        env: environment,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      for (const stream of [up.stdout, up.stderr]) {
        stream?.setEncoding('utf8').on('data', (text: string) => {
          printed = (printed + text).slice(-100_000);
        });
      }
      await waitFor(
        'weir up',
        () => {
          if (up.exitCode !== null) throw new Error(printed);
          return printed.includes('live events, until ctrl-c');
        },
        { limitMs: 180_000, detail: () => printed },
      );
    });

    afterAll(async () => {
      if (up.exitCode === null) {
        const ended = once(up, 'exit');
        up.kill('SIGINT');
        await ended;
      }
      spawnSync('./weir', ['down'], { cwd: folder, env: environment });
      rmSync(folder, { recursive: true, force: true });
      rmSync('/tmp/tool', { force: true });
    });

    /** Runs a block, waiting beside it: `weir up` goes on printing. Every command of it has to succeed. */
    async function run({ place, text }: Block): Promise<string> {
      const child = spawn('/bin/sh', ['-e', '-c', text], {
        cwd: folder,
        env: environment,
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: blockMs,
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          output += chunk;
        });
      }
      const [code, signal] = await once(child, 'close');
      expect({ place, code, signal, output }).toMatchObject({ code: 0 });
      return output;
    }

    for (const page of pages) {
      test(`${page} can be followed`, { timeout: 300_000 }, async () => {
        for (const block of blocks(page)) await run(block);
      });
    }

    test('docs/first-filter.md can be followed, with the change that it asks for', {
      timeout: 300_000,
    }, async () => {
      const page = 'docs/first-filter.md';
      const [begin, push, act, ask, ...more] = blocks(page);
      if (begin === undefined || push === undefined || act === undefined || ask === undefined)
        throw new Error(`${page} lacks blocks`);
      expect(more).toEqual([]);
      await run(begin);
      const [shown, change] = blocks(page, 'ts').map(({ text }) => text);
      const source = join(folder, 'tmp-watch/filter.ts');
      const made = readFileSync(source, 'utf8');
      expect(made.replace(/^\/\/.*\n/gm, '').trim()).toBe(shown?.trim());
      for (const { place, text } of blocks(page, 'console')) {
        const [command = '', ...expected] = text.split('\n');
        const output = await run({ place, text: command.replace(/^\$ /, '') });
        const timeless = (lines: string) => lines.trim().replace(/\d+ ms/g, 'N ms');
        expect(timeless(output)).toBe(timeless(expected.join('\n')));
      }
      const changed = made
        .replace('import { drop', 'import { alert, drop')
        .replace(/^( *return keep\(\)\.severity)/m, `${change}\n$1`);
      expect(changed).not.toBe(made);
      writeFileSync(source, changed);
      expect(await run(push)).toMatch(/in force with release \d+/);
      // The agent has it as soon as its status says so.
      await waitFor('the filter', () =>
        /filter tmp-watch \S+ loaded/.test(
          spawnSync('./weir', ['status'], { cwd: folder, env: environment, encoding: 'utf8' }).stdout,
        ),
      );
      await run(act);
      const answer = await waitFor('the archive', async () => {
        const output = await run(ask);
        return output.includes('runs-from-tmp') && output;
      });
      expect(answer).toContain('a program in /tmp was run');
      await waitFor('the alert', async () =>
        (
          await run({
            place: page,
            text: `./weir archive query "SELECT message FROM events WHERE kind = 'alert'"`,
          })
        ).includes('root runs a program in /tmp'),
      );
    });
  },
);
