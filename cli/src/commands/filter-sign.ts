// SPDX-License-Identifier: Apache-2.0
// Owns signing: `weir filter keygen`, `sign`, `verify`, and the keys that a control plane trusts, `weir filter key …`.
import { existsSync, writeFileSync } from 'node:fs';
import {
  type FilterSignature,
  FilterSignError,
  formatSignature,
  moduleDigest,
  newFilterKey,
  readFilterKey,
  readSignature,
  signFilter,
  verifyFilter,
} from '@weir/filter-compile';
import { type Command, wantsJson } from '../command.js';
import { CliError } from '../errors.js';
import { readInput } from '../files.js';
import { cell, table, time } from '../output.js';
import { connect, places, readState } from '../state.js';

async function signing<T>(work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof FilterSignError) throw new CliError(`${cause.message}.`, [], 1, { cause });
    throw cause;
  }
}

/** The key to sign with, where none was named: WEIR_FILTER_KEY, or the one that `weir up` made for its control plane. */
function usualKey(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  if (environment.WEIR_FILTER_KEY !== undefined) return environment.WEIR_FILTER_KEY;
  const at = places(environment);
  if (environment.WEIR_URL !== undefined || readState(at) === undefined) return undefined;
  return existsSync(at.filterKeyFile) ? at.filterKeyFile : undefined;
}

/** The signature to send with a module: by the key that is named, from the file beside it, or by the usual key. */
export function signatureFor(
  module: Uint8Array,
  options: { keyFile: string | undefined; moduleFile: string | undefined },
): Promise<FilterSignature | undefined> {
  return signing(async () => {
    const { keyFile, moduleFile } = options;
    const beside = moduleFile === undefined ? undefined : `${moduleFile}.sig`;
    if (keyFile === undefined && beside !== undefined && existsSync(beside)) {
      const { digest, keyId, signature } = readSignature(beside);
      if (digest !== moduleDigest(module)) {
        throw new CliError(`${beside} is over another module (${digest}).`, [
          'weir filter sign signs this one.',
        ]);
      }
      return { keyId, signature };
    }
    const file = keyFile ?? usualKey();
    if (file === undefined) return undefined;
    const { keyId, signature } = await signFilter(module, file);
    return { keyId, signature };
  });
}

export const filterSignCommands: readonly Command[] = [
  {
    name: 'filter keygen',
    parameters: 'FILE',
    summary: 'make a key to sign filters with: FILE for you alone, FILE.pub for those who trust you',
    takes: [1, 1],
    async run({ output, positionals: [file = ''] }) {
      const key = await signing(() => newFilterKey(file));
      output.line(`${cell(key.privateFile)}: private key, mode 600; keep it`);
      output.line(`${cell(key.publicFile)}: public key ${cell(key.id)}`);
      output.line(`  control plane: weir filter key add ${cell(key.publicFile)}`);
      output.line(`  agents:        weir-agent --filter-key ${cell(key.publicFile)}`);
      return undefined;
    },
  },
  {
    name: 'filter sign',
    parameters: '--key FILE [--out FILE.sig] MODULE.wasm',
    summary: 'sign a module as it is; the signature goes beside it',
    help: ['Without --key, WEIR_FILTER_KEY names the file.'],
    options: { key: { type: 'string' }, out: { type: 'string' } },
    takes: [1, 1],
    async run({ output, positionals: [file = ''], text }) {
      const keyFile = text('key') ?? usualKey();
      if (keyFile === undefined) {
        throw new CliError(
          'There is no key to sign with.',
          ['--key FILE names one; weir filter keygen makes one.'],
          2,
        );
      }
      const { bytes } = readInput(file);
      const signature = await signing(() => signFilter(bytes, keyFile));
      const out = text('out') ?? `${file}.sig`;
      try {
        writeFileSync(out, formatSignature(moduleDigest(bytes), signature));
      } catch (cause) {
        throw new CliError(`${out} cannot be written: ${(cause as Error).message}.`, [], 1, { cause });
      }
      output.line(`${cell(out)}: ${cell(moduleDigest(bytes))} by ${cell(signature.keyId)}`);
      return undefined;
    },
  },
  {
    name: 'filter verify',
    parameters: '--key FILE.pub... [--signature FILE.sig] MODULE.wasm',
    summary: 'say whether one of these keys signed a module',
    options: { key: { type: 'string', multiple: true }, signature: { type: 'string' } },
    takes: [1, 1],
    async run({ output, positionals: [file = ''], list, text }) {
      const paths = list('key');
      if (paths.length === 0) throw new CliError('--key names whom to trust: FILE.pub.', [], 2);
      const { bytes } = readInput(file);
      const check = await signing(async () => {
        const keys = await Promise.all(paths.map(readFilterKey));
        return verifyFilter(bytes, readSignature(text('signature') ?? `${file}.sig`), keys);
      });
      if (!check.ok) throw new CliError(`${file} is not to be trusted: ${check.reason}.`);
      output.line(`${cell(file)}: signed by ${cell(check.keyId)}`);
      return undefined;
    },
  },
  {
    name: 'filter key add',
    parameters: '[--description TEXT] FILE.pub',
    summary: "have the control plane trust an author's key; from the first on, filters must be signed",
    options: { description: { type: 'string' } },
    takes: [1, 1],
    async run({ output, positionals: [file = ''], text }) {
      const { publicKey } = await signing(() => readFilterKey(file));
      const description = text('description');
      const key = await connect().addFilterKey({
        publicKey,
        ...(description === undefined ? {} : { description }),
      });
      output.line(`${cell(key.id)} is trusted`);
      return undefined;
    },
  },
  {
    name: 'filter key list',
    parameters: '[-o table|json]',
    summary: 'list the keys that the control plane trusts, and those retired',
    options: { output: { type: 'string', short: 'o' } },
    takes: [0, 0],
    async run({ output, text }) {
      const keys = await connect().filterKeys();
      if (wantsJson(text('output'))) {
        output.json(keys);
        return undefined;
      }
      if (keys.length === 0) {
        output.line('no key is trusted: filters need no signature of an author');
        return undefined;
      }
      const rows = keys.map((key) => [
        key.id,
        key.retiredMs === undefined ? 'trusted' : `retired ${time(key.retiredMs)}`,
        time(key.createdMs),
        key.description,
      ]);
      for (const line of table(['KEY', 'STATE', 'ADDED', 'DESCRIPTION'], rows)) output.line(line);
      return undefined;
    },
  },
  {
    name: 'filter key retire',
    parameters: 'KEY',
    summary: 'trust a key no longer: what it signed stays, it signs nothing new',
    takes: [1, 1],
    async run({ output, positionals: [id = ''] }) {
      await connect().retireFilterKey(id);
      output.line(`${cell(id)} is retired`);
      return undefined;
    },
  },
];
