// SPDX-License-Identifier: Apache-2.0
// Which filters an agent puts in force, by the keys that it holds: with the real host, without a kernel.
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FilterSignature, filterSignatureMessage, parseFilterKey } from '@weir/filter-accept';
import { FilterHost } from '@weir/filter-host';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assembleModule, done, eachRecord, judge, pids } from '../../filters/host/src/fixtures.js';
import { Desired, type FilterModule } from './desired.js';
import { FilterTrust } from './trust.js';

let folder: string;
let host: FilterHost;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-trust-'));
  host = await FilterHost.create();
});
afterEach(async () => {
  await host.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Author {
  id: string;
  pem: string;
  privateKey: KeyObject;
}

async function author(): Promise<Author> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { id: (await parseFilterKey(pem)).id, pem, privateKey };
}

function trusts(name: string, by: Author): string {
  const path = join(folder, name);
  writeFileSync(path, by.pem);
  return path;
}

function desiredOf(
  paths: readonly string[],
  onError: (code: string, message: string) => void = () => undefined,
): Desired {
  return new Desired({
    onError,
    policies: undefined,
    noPolicies: '',
    host,
    trust: new FilterTrust(paths),
    monitor: false,
  });
}

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function module(name: string, version: string, ...by: Author[]): FilterModule {
  return signed(name, version, assembleModule({ name, version, filter: '(i32.const 0)' }), ...by);
}

function signed(name: string, version: string, bytes: Uint8Array, ...by: Author[]): FilterModule {
  const digest = digestOf(bytes);
  const signatures: FilterSignature[] = by.map(({ id, privateKey }) => ({
    keyId: id,
    signature: sign(null, filterSignatureMessage(digest), privateKey).toString('base64'),
  }));
  return { name, version, digest, bytes, signatures };
}

const states = (desired: Desired) =>
  desired.filters().map(({ name, version, state }) => [name, version, state]);

describe('an agent that holds no key', () => {
  it('takes what its release says, signed by an author or not', async () => {
    const desired = desiredOf([]);
    await desired.applyFilters([module('one', '1.0.0')]);
    expect(states(desired)).toEqual([['one', '1.0.0', 'loaded']]);
  });
});

describe('a first list of filters of which some cannot be loaded', () => {
  it('comes into force without them, and says why of each', async () => {
    const desired = desiredOf([]);
    const traps = assembleModule({ name: 'traps', filter: '(i32.const 0)', start: '(unreachable)' });
    await desired.applyFilters([
      module('one', '1.0.0'),
      { name: 'traps', bytes: traps },
      { name: 'bad', bytes: module('bad', '1.0.0').bytes.slice(0, 40) },
      module('one', '2.0.0'),
      module('two', '1.0.0'),
    ]);
    expect(states(desired)).toEqual([
      ['one', '1.0.0', 'loaded'],
      ['two', '1.0.0', 'loaded'],
      ['bad', '', 'refused'],
      ['one', '2.0.0', 'refused'],
      ['traps', '', 'refused'],
    ]);
    const reasons = desired.filters().flatMap(({ reason }) => reason ?? []);
    expect(reasons).toEqual([
      expect.stringMatching(/the filter is refused/),
      expect.stringMatching(/two filters are named one/),
      expect.stringMatching(/filter traps cannot be loaded: .*unreachable/),
    ]);
    // With a list in force, another one comes as a whole or not at all.
    await desired.applyFilters([module('three', '1.0.0'), { name: 'traps', bytes: traps }]);
    expect(host.status().map(({ name }) => name)).toEqual(['one', 'two']);
  });
});

describe('an agent that holds a key', () => {
  it('runs what that author signed, and refuses the rest with the reason', async () => {
    const [ada, eve] = [await author(), await author()];
    const desired = desiredOf([trusts('ada.pub', ada)]);
    await desired.applyFilters([
      module('good', '1.0.0', ada),
      module('bare', '1.0.0'),
      module('foreign', '1.0.0', eve),
    ]);
    expect(states(desired)).toEqual([
      ['good', '1.0.0', 'loaded'],
      ['bare', '1.0.0', 'refused'],
      ['foreign', '1.0.0', 'refused'],
    ]);
    const [, bare, foreign] = desired.filters();
    expect(bare?.reason).toMatch(/no author whom this agent trusts signed it: it is not signed/);
    expect(foreign?.reason).toContain(`key "${eve.id}" is not trusted`);
  });

  it('refuses a module that was changed, whether its digest says so or not', async () => {
    const ada = await author();
    const desired = desiredOf([trusts('ada.pub', ada)]);
    const good = module('good', '1.0.0', ada);
    const other = module('good', '1.0.0').bytes.slice();
    other.set([9], other.length - 1);
    for (const [changed, reason] of [
      [{ ...good, bytes: other }, /its digest is/],
      [{ ...good, bytes: other, digest: digestOf(other) }, /not over this module/],
      [{ ...good, signatures: [{ keyId: ada.id, signature: 'x' }] }, /not over this module/],
    ] as const) {
      await desired.applyFilters([changed]);
      expect(desired.filters()).toMatchObject([{ state: 'refused', reason: expect.stringMatching(reason) }]);
      expect(host.status()).toEqual([]);
    }
  });

  it('keeps the version that runs where its next one is not signed', async () => {
    const ada = await author();
    const desired = desiredOf([trusts('ada.pub', ada)]);
    await desired.applyFilters([module('one', '1.0.0', ada)]);
    await desired.applyFilters([module('one', '2.0.0'), module('two', '1.0.0', ada)]);
    expect(states(desired)).toEqual([
      ['one', '1.0.0', 'loaded'],
      ['two', '1.0.0', 'loaded'],
      ['one', '2.0.0', 'refused'],
    ]);
    // Taken out of the release, it goes.
    await desired.applyFilters([]);
    expect(states(desired)).toEqual([]);
  });

  it('follows a change of keys in a folder, without a restart', async () => {
    const [ada, grace] = [await author(), await author()];
    const keys = join(folder, 'keys');
    mkdirSync(keys);
    writeFileSync(join(keys, 'ada.pub'), ada.pem);
    const desired = desiredOf([keys]);
    const both = module('both', '1.0.0', ada, grace);
    await desired.applyFilters([both]);
    writeFileSync(join(keys, 'grace.pub'), grace.pem);
    await desired.applyFilters([both, module('fresh', '1.0.0', grace)]);
    expect(states(desired)).toEqual([
      ['both', '1.0.0', 'loaded'],
      ['fresh', '1.0.0', 'loaded'],
    ]);
    rmSync(join(keys, 'ada.pub'));
    await desired.applyFilters([both, module('old', '1.0.0', ada)]);
    expect(states(desired)).toEqual([
      ['both', '1.0.0', 'loaded'],
      ['old', '1.0.0', 'refused'],
    ]);
    rmSync(join(keys, 'grace.pub'));
    await desired.applyFilters([both]);
    expect(desired.filters()).toMatchObject([
      { state: 'refused', reason: expect.stringMatching(/holds no key/) },
    ]);
    expect(host.status()).toEqual([]);
  });

  it('keeps what runs while its keys cannot be read, says so, and takes nothing new', async () => {
    const [ada, grace] = [await author(), await author()];
    const keys = join(folder, 'keys');
    mkdirSync(keys);
    writeFileSync(join(keys, 'ada.pub'), ada.pem);
    const told: string[] = [];
    const desired = desiredOf([keys], (code, message) => told.push(`${code}: ${message}`));
    const [one, two] = [module('one', '1.0.0', ada), module('two', '1.0.0', ada)];
    await desired.applyFilters([one, two]);
    for (const [spoil, mend] of [
      [() => renameSync(keys, `${keys}-away`), () => renameSync(`${keys}-away`, keys)],
      [() => writeFileSync(join(keys, 'x.pub'), 'no key'), () => rmSync(join(keys, 'x.pub'))],
    ] as const) {
      told.length = 0;
      spoil();
      await desired.applyFilters([one, module('two', '2.0.0', ada), module('three', '1.0.0', ada)]);
      expect(states(desired)).toEqual([
        ['one', '1.0.0', 'loaded'],
        ['two', '1.0.0', 'loaded'],
        ['two', '2.0.0', 'refused'],
        ['three', '1.0.0', 'refused'],
      ]);
      expect(told).toEqual([
        expect.stringMatching(/^filter-key: .*; 2 filters whose signatures were checked/),
      ]);
      // Taken out of the release, one goes all the same.
      await desired.applyFilters([two]);
      expect(states(desired)).toEqual([['two', '1.0.0', 'loaded']]);
      mend();
      await desired.applyFilters([one, two]);
      expect(states(desired)).toEqual([
        ['one', '1.0.0', 'loaded'],
        ['two', '1.0.0', 'loaded'],
      ]);
    }
    expect(desired.keptWithoutKeys).toBe(6);
    // A key that was taken away on purpose ends what it signed.
    rmSync(join(keys, 'ada.pub'));
    writeFileSync(join(keys, 'grace.pub'), grace.pem);
    await desired.applyFilters([one, two]);
    expect(host.status()).toEqual([]);
  });

  it('takes another configuration of what runs while its keys cannot be read', async () => {
    const ada = await author();
    const desired = desiredOf([trusts('ada.pub', ada)]);
    const bytes = assembleModule({
      name: 'drops',
      rest: `(func (export "weir_configure") (param i32 i32) (result i32)
        (global.set $count (i32.and (i32.load8_u (local.get 0)) (i32.const 1))) (i32.const 0))`,
      filter: `${eachRecord('(i32.store8 (local.get $v) (global.get $count))')} ${done}`,
    });
    const drops = { ...signed('drops', '1.0.0', bytes, ada), config: '1' };
    await desired.applyFilters([drops]);
    expect((await judge(host, pids(1))).verdicts).toEqual([1]);
    rmSync(join(folder, 'ada.pub'));
    // Its author signs the module, not how it is configured.
    await desired.applyFilters([{ ...drops, config: '0' }]);
    expect(states(desired)).toEqual([['drops', '1.0.0', 'loaded']]);
    expect((await judge(host, pids(1))).verdicts).toEqual([0]);
  });

  it('says at once which file is no key', async () => {
    const path = join(folder, 'bad.pub');
    writeFileSync(path, 'no key');
    await expect(new FilterTrust([path]).read()).rejects.toThrow(/bad\.pub holds no key/);
    await expect(new FilterTrust([join(folder, 'gone.pub')]).read()).rejects.toThrow(/cannot be read/);
    await expect(new FilterTrust([folder]).read()).rejects.toThrow(/bad\.pub/);
  });
});
