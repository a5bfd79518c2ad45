// SPDX-License-Identifier: Apache-2.0
// Owns the unit tests that authors write beside their cases: each exported function without parameters of a
// `*.unit.ts` is one, in an instance of its own. They run through AssemblyScript's loader, which trusts a module's
// pointers: it is for one's own modules, never for what was uploaded.
import { basename, dirname, join, resolve } from 'node:path';
import { instantiateSync } from '@assemblyscript/loader';
import { compile } from './build.js';
import type { CaseResult } from './run-tests.js';

export const UNIT_TEST_SUFFIX = '.unit.ts';
const MEMORY_BYTES_MAX = 16 * 1024 * 1024;
const LOG_LINES_MAX = 100;

/** A test failed at a place in a source. */
class Failure extends Error {}

interface Instance {
  run: (name: string) => void;
  log: string[];
  names: string[];
}

function instantiate(module: Uint8Array, folder: string): Instance {
  const log: string[] = [];
  let read: (pointer: number) => string = () => '';
  let memory: { buffer: ArrayBuffer } | undefined;
  const { exports, instance } = instantiateSync<Record<string, unknown>>(module, {
    env: {
      abort(message: number, file: number, line: number, column: number): void {
        const place = file === 0 ? '' : `${join(folder, read(file))}:${line}:${column}: `;
        throw new Failure(`${place}${message === 0 ? 'failed' : read(message)}`);
      },
    },
    weir: {
      log(_: number, at: number, length: number): void {
        if (memory === undefined || log.length >= LOG_LINES_MAX) return;
        log.push(new TextDecoder().decode(new Uint8Array(memory.buffer, at >>> 0, length)));
      },
    },
  });
  read = (pointer) => exports.__getString(pointer);
  memory = exports.memory as unknown as { buffer: ArrayBuffer };
  const functions = new Map<string, () => unknown>();
  // The loader's own functions stand for the module's, and do not tell how many parameters those have.
  for (const [name, value] of Object.entries(instance.exports as Record<string, unknown>)) {
    if (typeof value !== 'function' || value.length > 0 || /^(__|weir_)/.test(name)) continue;
    functions.set(name, value as () => unknown);
  }
  (exports.weir_start as (() => void) | undefined)?.();
  return { run: (name) => void functions.get(name)?.(), log, names: [...functions.keys()] };
}

/** What a failure says: its place, or in which function the engine stopped. */
function describe(error: unknown): string {
  if (error instanceof Failure) return error.message;
  if (!(error instanceof Error)) return 'failed';
  const frame = /at ([^ (]+) \(wasm:/.exec(error.stack ?? '')?.[1];
  return `${error.message}${frame === undefined ? '' : ` in ${frame}`}`;
}

/** Compiles a file of unit tests and runs them. @throws {FilterBuildError} where it does not compile. */
export async function runUnitTests(path: string): Promise<CaseResult[]> {
  const file = resolve(path);
  const folder = dirname(dirname(file));
  const within = `./${basename(dirname(file))}/${basename(file, '.ts')}`;
  const { module } = await compile({
    sourceFile: join(folder, basename(file)),
    entry: `export * from ${JSON.stringify(within)};`,
    memoryBytesMax: MEMORY_BYTES_MAX,
    forTests: true,
  });
  return instantiate(module, folder).names.map((name) => {
    const failures: string[] = [];
    let log: string[] = [];
    try {
      // One that nothing has been done with: tests do not hang on each other.
      const instance = instantiate(module, folder);
      log = instance.log;
      instance.run(name);
    } catch (error) {
      failures.push(describe(error));
    }
    return { file, name, passed: failures.length === 0, failures, events: 0, kept: 0, dropped: 0, log };
  });
}
