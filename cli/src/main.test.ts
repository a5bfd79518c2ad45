// SPDX-License-Identifier: Apache-2.0
// Tests the command line as a person uses it: against a real control plane, by what it prints and its exit code.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../../control-plane/src/testing/harness.js';
import { main } from './main.js';
import { cell, jsonText, type Output, table } from './output.js';
import { drawTree } from './tree.js';

let t: TestServer;
let folder: string;
const before = { ...process.env };
beforeAll(async () => {
  t = await startTestServer();
  folder = mkdtempSync(join(tmpdir(), 'weir-cli-'));
  process.env.WEIR_URL = t.url;
  process.env.WEIR_TOKEN = t.adminToken;
  process.env.WEIR_HOME = join(folder, 'home');
});
afterAll(async () => {
  process.env = before;
  await t?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function weir(...args: string[]): Promise<{ code: number; out: string; notes: string }> {
  const out: string[] = [];
  const notes: string[] = [];
  const output: Output = {
    line: (text = '') => void out.push(text),
    json: (value) => void out.push(jsonText(value)),
    note: (text) => void notes.push(text),
  };
  const code = await main(args, output);
  return { code, out: out.join('\n'), notes: notes.join('\n') };
}

const policy = `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: watch
spec:
  kprobes:
    - call: security_file_open
      syscall: false
      args:
        - index: 0
          type: file
      selectors:
        - matchArgs:
            - index: 0
              operator: Equal
              values: ["/etc/shadow"]
`;

describe('usage', () => {
  const wrong: Array<{ args: string[]; says: string }> = [
    { args: ['nothing'], says: 'There is no command "nothing".' },
    { args: ['policy'], says: 'weir policy check' },
    { args: ['policy', 'check'], says: 'lacks an argument' },
    { args: ['agents', 'x'], says: 'does not take "x"' },
    { args: ['agents', '--wrong'], says: "Unknown option '--wrong'" },
    { args: ['agents', '-o', 'xml'], says: '--output must be table or json, not "xml"' },
    { args: ['archive', 'query', '--limit', '1e9'], says: '--limit must be a whole number' },
    {
      args: ['archive', 'query', '--limit', '-1', 'SELECT 1'],
      says: '--limit must be a whole number from 1 to 10000, not "-1"',
    },
    {
      args: ['token', 'create', '--role', 'reader', '--days', '-1'],
      says: '--days must be a whole number from 1 to 3650, not "-1"',
    },
    { args: ['archive', 'query', '--limit', '--node', 'x'], says: '--limit lacks its value' },
    { args: ['archive', 'query', '-o', '--node', 'x'], says: 'lacks its value: what follows' },
    { args: ['archive', 'query', '--binary', '/bin/sh', 'SELECT 1'], says: 'not both' },
    { args: ['token', 'create'], says: '--role is missing' },
    { args: ['token', 'create', '--role', 'reader', '--label', 'x'], says: 'NAME=VALUE' },
    { args: ['filter', 'push', '--config', '{', 'x.wasm'], says: '--config must be a JSON object' },
  ];
  for (const { args, says } of wrong) {
    test(`says what is wrong with: weir ${args.join(' ')}`, async () => {
      const { code, notes } = await weir(...args);
      expect(notes).toContain(says);
      expect(code).toBe(2);
      expect(notes).not.toMatch(/^\s+at /m);
    });
  }

  test('every command tells its usage', async () => {
    const { code, out } = await weir('--help');
    expect(code).toBe(0);
    const names = [...out.matchAll(/^ {2}([a-z]+(?: [-a-z]+)*) {2}/gm)].map(([, name = '']) => name);
    expect(names.length).toBeGreaterThan(20);
    for (const name of names) {
      const help = await weir(...name.split(' '), '--help');
      expect([name, help.code, help.out]).toEqual([name, 0, expect.stringContaining(`usage: weir ${name}`)]);
    }
  });

  test('says what the control plane says, without a stack', async () => {
    expect(await weir('policy', 'show', 'nobody')).toMatchObject({
      code: 1,
      notes: 'weir: There is no policy nobody.',
    });
    process.env.WEIR_URL = 'http://127.0.0.1:1';
    expect((await weir('agents')).notes).toMatch(
      /^weir: The control plane at http:\/\/127\.0\.0\.1:1 does not answer.*\n {2}weir up starts one here/,
    );
    process.env.WEIR_URL = 'nowhere';
    expect(await weir('agents')).toMatchObject({
      code: 2,
      notes: 'weir: "nowhere" is not an http or https address.',
    });
    delete process.env.WEIR_URL;
    expect((await weir('agents')).notes).toContain('No control plane is known.');
    process.env.WEIR_URL = t.url;
  });
});

describe('policies', () => {
  test('go from a file into force and out of it', async () => {
    const file = join(folder, 'watch.yaml');
    writeFileSync(file, policy);
    expect(await weir('policy', 'check', '--no-kernel', file)).toMatchObject({
      code: 0,
      out: expect.stringContaining('security_file_open'),
    });
    expect((await weir('policy', 'add', file)).out).toBe('watch: version 1, in force with release 1');
    expect((await weir('policy', 'list')).out).toMatch(/^watch +1 +in force/m);
    expect((await weir('policy', 'show', 'watch')).out).toBe(policy.trimEnd());
    expect((await weir('release', 'show')).out).toContain('policy watch@1');
    expect((await weir('policy', 'delete', 'watch')).out).toBe('watch: no longer in force since release 2');
    expect((await weir('policy', 'list', '-o', 'json')).out).toContain('"enabled": false');
  });

  test('of the library are listed, shown and put in force, in monitor mode too', async () => {
    const { out } = await weir('policy', 'library', 'list');
    expect(out).toMatch(/^detect-container-escape +critical +rare +denies +a process in a container/m);
    expect(JSON.parse((await weir('policy', 'library', 'list', '-o', 'json')).out)).toContainEqual(
      expect.objectContaining({ name: 'monitor-tcp', category: 'network', reports: true }),
    );
    const shown = (await weir('policy', 'library', 'show', 'monitor-tcp')).out;
    expect(shown).toContain('call: "tcp_close"');
    expect((await weir('policy', 'library', 'add', 'monitor-tcp')).out).toContain('monitor-tcp: version 1');
    expect((await weir('policy', 'show', 'monitor-tcp')).out).toBe(shown);
    const added = await weir('policy', 'library', 'add', '--monitor', '--no-release', 'block-cryptominers');
    expect(added).toMatchObject({ code: 0, out: 'block-cryptominers: version 1' });
    const file = join(folder, 'monitor.yaml');
    writeFileSync(file, (await weir('policy', 'show', 'block-cryptominers')).out);
    expect((await weir('policy', 'check', '--no-kernel', file)).out).toContain(
      'monitor mode: only says what it would have done',
    );
    expect(await weir('policy', 'library', 'add', 'no-such')).toMatchObject({
      code: 2,
      notes: 'weir: The library has no policy "no-such".\n  weir policy library list shows them.',
    });
  });

  test('are refused with their fields, here and there', async () => {
    const file = join(folder, 'wrong.yaml');
    writeFileSync(file, policy.replace('Equal', 'Same'));
    const path = 'spec.kprobes[0].selectors[0].matchArgs[0].operator';
    expect(await weir('policy', 'check', file)).toMatchObject({
      code: 1,
      out: expect.stringContaining(path),
    });
    expect(await weir('policy', 'add', file)).toMatchObject({
      code: 1,
      notes: expect.stringContaining(path),
    });
  });
});

describe('filters', () => {
  for (const command of ['build', 'test', 'push', 'bench']) {
    test(`weir filter ${command} names the folder that is not there`, async () => {
      expect(await weir('filter', command, join(folder, 'absent'))).toEqual({
        code: 1,
        out: '',
        notes: `weir: ${join(folder, 'absent')}: there is no such folder or source`,
      });
    });
  }

  test('go from an empty folder into force and out of it', async () => {
    const source = join(folder, 'my-filter');
    expect((await weir('filter', 'new', source)).code).toBe(0);
    expect(await weir('filter', 'new', source)).toMatchObject({
      code: 1,
      notes: expect.stringContaining('is not empty'),
    });
    expect(await weir('filter', 'test', source)).toMatchObject({
      code: 0,
      out: expect.stringContaining('1 of 1 cases pass'),
    });
    expect((await weir('filter', 'push', source)).out).toMatch(
      /^my-filter 0\.1\.0, in force with release \d+ \(sha256:/,
    );
    expect((await weir('filter', 'list')).out).toMatch(/^my-filter +0\.1\.0 +in force, 1 of 1/m);
    expect((await weir('release', 'remove-filter', 'my-filter@0.1.0')).code).toBe(0);
    expect((await weir('filter', 'list')).out).toMatch(/^my-filter +0\.1\.0 +stored/m);
    writeFileSync(
      join(source, 'filter.ts'),
      'export function filter(event: Event): Verdict { return nothing(); }',
    );
    expect(await weir('filter', 'build', source)).toMatchObject({
      code: 1,
      notes: expect.stringContaining('filter.ts:1'),
    });
  }, 120_000);
});

test('weir archive integrity says that nothing is broken where nothing is', async () => {
  expect(await weir('archive', 'integrity')).toMatchObject({
    code: 0,
    out: '0 segments, no break\n0 files, each checked by its SHA-256 when it is read',
  });
  expect(JSON.parse((await weir('archive', 'integrity', '-o', 'json', '--agent', 'x')).out)).toMatchObject({
    breaks: [],
    truncated: false,
  });
});

test('weir archive query shows the lines in which the database says what is wrong', async () => {
  const { code, notes } = await weir(
    'archive',
    'query',
    "SELECT '\u001b' FROM events WHERE nothing_such = 1",
  );
  expect(code).toBe(1);
  expect(notes).toMatch(/^weir: .*nothing_such.*(\n {2}.*)*\n {2}LINE 1: .*\n {2} *\^\.?$/);
  expect(notes).toContain("SELECT '\\x1b'");
  expect(notes).not.toContain('\\x0a');
});

describe('what is shown', () => {
  test('harms no terminal, in cells and in JSON', () => {
    const hostile = 'a\u001b[2J\n\u009b31m\u202eb';
    expect(cell(hostile)).toBe('a\\x1b[2J\\x0a\\u{9b}31m\\u{202e}b');
    expect(JSON.parse(jsonText({ hostile }))).toEqual({ hostile });
    for (const shown of [
      cell(hostile),
      jsonText({ hostile }),
      ...table(['x', 'y'], [[hostile, { hostile }]]),
    ]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
      expect(shown.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
    }
  });

  test('draws a tree with what hangs together', () => {
    const processes = [
      { execId: 'a', depth: 0, binary: '/sbin/init', events: 0 },
      { execId: 'b', depth: 1, binary: '/bin/sh', pid: 7, user: 'me', events: 2 },
      { execId: 'c', depth: 2, binary: '/bin/ls', arguments: ['\u001b'], exitStatus: 1, events: 1 },
      { execId: 'd', depth: 1, binary: '/bin/cat', exitSignal: 'SIGKILL', events: 1 },
    ];
    expect(drawTree({ root: 'a', processes, truncated: false }, 'c')).toEqual([
      '/sbin/init  (0 events)',
      '├─ /bin/sh  (pid 7, me, 2 events)',
      '│  └─ /bin/ls \\x1b  (exit 1, 1 event)  <-',
      '└─ /bin/cat  (ended by SIGKILL, 1 event)',
    ]);
  });

  test('weir is a program that ends quietly when its reader has seen enough', () => {
    const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
    const { status, stderr } = spawnSync(
      'sh',
      ['-c', `"${process.execPath}" "${program}" --help | head -1`],
      { encoding: 'utf8' },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});

test('weir down removes nothing that weir up did not make', async () => {
  process.env.WEIR_CACHE = join(folder, 'cache');
  expect((await weir('down')).out).toBe('nothing was set up here');
  // What guests left is named, and goes when that is asked for.
  const kernels = join(folder, 'cache/vm/kernels');
  mkdirSync(kernels, { recursive: true });
  expect((await weir('down')).out).toContain(`kept ${join(folder, 'cache/vm')}, kernels and images`);
  expect(existsSync(kernels)).toBe(true);
  expect((await weir('down', '--cache')).out).toContain(`removed ${join(folder, 'cache/vm')}`);
  expect(existsSync(kernels)).toBe(false);
});

describe('weir down removes as root what state.json says', () => {
  test.each(['/etc', '/sys/fs/bpf/weir', '/sys/fs/bpf/weir-up-0123456789ab/../..', ''])(
    'but never %j',
    async (pinFolder) => {
      const home = join(folder, 'forged');
      mkdirSync(home, { recursive: true });
      writeFileSync(join(home, 'MADE_BY_WEIR_UP'), '');
      writeFileSync(join(home, 'state.json'), JSON.stringify({ pinFolder }));
      const before = process.env.WEIR_HOME;
      process.env.WEIR_HOME = home;
      try {
        expect(await weir('down')).toMatchObject({
          code: 1,
          notes: expect.stringContaining('is not removed'),
        });
      } finally {
        process.env.WEIR_HOME = before;
      }
    },
  );
});
