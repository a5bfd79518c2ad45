// SPDX-License-Identifier: Apache-2.0
// `weir filter …` as an author uses it, from nothing to a filter in force on a control plane that asks for signatures.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../../control-plane/src/testing/harness.js';
import { main } from './main.js';
import { jsonText, type Output } from './output.js';

let t: TestServer;
let folder: string;
const before = { ...process.env };
beforeAll(async () => {
  t = await startTestServer();
  folder = mkdtempSync(join(tmpdir(), 'weir-cli-filter-'));
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
  const code = await main(['filter', ...args], output);
  return { code, out: out.join('\n'), notes: notes.join('\n') };
}

const at = (name: string) => join(folder, name);
const pushed = async () => (await t.admin.filters()).map(({ version }) => version).sort();

function setVersion(version: string): void {
  const path = at('mine/filter.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), version }));
}

describe('a filter', () => {
  test('is begun, tested, built with its size and cost, and measured', async () => {
    expect((await weir('new', '--name', 'mine', at('mine'))).code).toBe(0);
    expect((await weir('test', at('mine'))).code).toBe(0);
    const built = await weir('build', at('mine'));
    expect(built.out).toMatch(/size: code \d+, data \d+/);
    expect(built.out).toMatch(/cost: fuel [\d.]+ an event/);
    const measured = await weir('bench', '--events', '2000', '-o', 'json', at('mine'));
    expect(JSON.parse(measured.out)).toMatchObject({
      name: 'mine',
      traps: 0,
      madeUp: true,
      fuelPerEvent: expect.any(Number),
      memoryBytes: expect.any(Number),
    });
    expect(JSON.parse(measured.out).judged).toBeGreaterThan(0);
    // The compiler runs three times.
  }, 120_000);

  test('is measured on recordings; what is none is refused', async () => {
    const event = {
      process_exec: { process: { pid: 7, binary: '/tmp/tool' }, parent: { pid: 1, binary: '/bin/sh' } },
    };
    writeFileSync(at('events.jsonl'), `${JSON.stringify(event)}\n`.repeat(5));
    const measured = await weir('bench', '--fixtures', at('events.jsonl'), '--events', '1000', at('mine'));
    expect(measured.out).toMatch(/of 5 recorded events/);
    writeFileSync(at('bad.jsonl'), '{"process_exec":');
    expect((await weir('bench', '--fixtures', at('bad.jsonl'), at('mine'))).notes).toMatch(
      /bad\.jsonl:1 is no JSON/,
    );
    expect((await weir('bench', '--fixtures', at('gone.jsonl'), at('mine'))).code).toBe(1);
  });

  test('is not pushed where it cannot be loaded, with or without its configuration', async () => {
    const given = await weir('push', '--config', '{"limit":3}', at('mine'));
    expect([given.code, given.notes]).toEqual([
      1,
      expect.stringMatching(
        /mine cannot be loaded: it is given a configuration but exports no weir_configure/,
      ),
    ]);
    expect((await weir('push', '--config', '[]', at('mine'))).notes).toMatch(/must be a JSON object/);
    const source = readFileSync(at('mine/filter.ts'), 'utf8');
    writeFileSync(at('mine/filter.ts'), `${source}\nassert(memory.size() == 0, 'there is no room');\n`);
    const trapping = await weir('push', at('mine'));
    writeFileSync(at('mine/filter.ts'), source);
    expect([trapping.code, trapping.notes]).toEqual([1, expect.stringMatching(/cannot be loaded.*no room/)]);
    expect(await pushed()).toEqual([]);
  }, 120_000);

  test('whose signature is not there is said to have none', async () => {
    await weir('keygen', at('other'));
    const verified = await weir('verify', '--key', at('other.pub'), at('mine/build/mine.wasm'));
    expect([verified.code, verified.notes]).toEqual([
      1,
      expect.stringMatching(/there is no .*mine\.wasm\.sig/i),
    ]);
  });

  test('is pushed unsigned where no key is trusted', async () => {
    const result = await weir('push', '--no-release', at('mine'));
    expect(result).toMatchObject({ code: 0, out: expect.stringMatching(/^mine 0\.1\.0 .*, not signed$/) });
    expect((await weir('key', 'list')).out).toMatch(/no key is trusted/);
  });
});

describe('signing', { timeout: 120_000 }, () => {
  test('makes a key for its owner alone, and signs and verifies a module', async () => {
    const made = await weir('keygen', at('ada'));
    expect(made.out).toMatch(/public key fk-[0-9a-f]{32}/);
    expect(statSync(at('ada')).mode & 0o777).toBe(0o600);
    expect((await weir('keygen', at('ada'))).notes).toMatch(/is there already/);
    const wasm = at('mine/build/mine.wasm');
    expect((await weir('sign', '--key', at('ada'), wasm)).code).toBe(0);
    expect((await weir('verify', '--key', at('ada.pub'), wasm)).out).toMatch(/signed by fk-/);
    await weir('keygen', at('eve'));
    const foreign = await weir('verify', '--key', at('eve.pub'), wasm);
    expect(foreign).toMatchObject({
      code: 1,
      notes: expect.stringMatching(/is not to be trusted.*is not trusted/),
    });
    const bytes = readFileSync(wasm);
    writeFileSync(at('changed.wasm'), Buffer.concat([bytes, Buffer.from([0])]));
    writeFileSync(at('changed.wasm.sig'), readFileSync(`${wasm}.sig`));
    expect((await weir('verify', '--key', at('ada.pub'), at('changed.wasm'))).notes).toMatch(
      /the module is sha256:/,
    );
    expect((await weir('push', at('changed.wasm'))).notes).toMatch(/is over another module/);
  });

  test('is asked for from the first trusted key on: push builds, signs and sends', async () => {
    expect((await weir('key', 'add', '--description', 'ada', at('ada.pub'))).out).toMatch(/is trusted/);
    setVersion('0.2.0');
    const bare = await weir('push', at('mine'));
    expect(bare).toMatchObject({ code: 1, notes: expect.stringMatching(/is not signed.*--key FILE/) });
    const foreign = await weir('push', '--key', at('eve'), at('mine'));
    expect(foreign.notes).toMatch(/is not trusted/);
    expect(await pushed()).toEqual(['0.1.0']);
    const good = await weir('push', '--key', at('ada'), at('mine'));
    expect(good.out).toMatch(/mine 0\.2\.0, in force with release 1 .*, signed by fk-/);
    expect(await pushed()).toEqual(['0.1.0', '0.2.0']);
  });

  test('by the file beside a module, or by the key of the environment, will do', async () => {
    setVersion('0.3.0');
    await weir('build', at('mine'));
    await weir('sign', '--key', at('ada'), at('mine/build/mine.wasm'));
    expect((await weir('push', at('mine/build/mine.wasm'))).out).toMatch(/mine 0\.3\.0.*signed by/);
    setVersion('0.4.0');
    process.env.WEIR_FILTER_KEY = at('ada');
    expect((await weir('push', at('mine'))).out).toMatch(/mine 0\.4\.0.*signed by/);
    delete process.env.WEIR_FILTER_KEY;
  });

  test('goes from one key to the next', async () => {
    await weir('key', 'add', at('eve.pub'));
    const { id } = JSON.parse((await weir('key', 'list', '-o', 'json')).out)[0] as { id: string };
    expect((await weir('key', 'retire', id)).out).toMatch(/is retired/);
    setVersion('0.5.0');
    expect((await weir('push', '--key', at('ada'), at('mine'))).notes).toMatch(/is retired/);
    expect((await weir('push', '--key', at('eve'), at('mine'))).code).toBe(0);
    expect((await weir('key', 'list')).out).toMatch(/retired .*\n.*trusted/);
    expect((await weir('key', 'retire', id)).code).toBe(1);
  });
});
