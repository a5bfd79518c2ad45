// SPDX-License-Identifier: Apache-2.0
// Owns the unit tests that authors write beside their cases: each exported function without parameters of a
// `*.unit.ts` is one, in an instance of its own. They run through AssemblyScript's loader, which trusts a module's
// pointers: it is for one's own modules, never for what was uploaded. Fuel ends what runs for ever.
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { instantiateSync } from '@assemblyscript/loader';
import { type Fuel, fuelOf, meterModule } from '@weir/filter-meter';
import { compile } from './build.js';
import type { CaseResult } from './case-result.js';

export const UNIT_TEST_SUFFIX = '.unit.ts';
const MEMORY_BYTES_MAX = 16 * 1024 * 1024;
const LOG_LINES_MAX = 100;
/** Fuel of one test: about a second. An event has a million. */
const FUEL_MAX = 2_000_000_000;

/** A test failed at a place in a source. */
class Failure extends Error {}

interface Instance {
  /** @throws whatever the test's failure is. */
  run: (name: string) => void;
  fuel: Fuel;
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
  const fuel = fuelOf(instance as unknown as { exports: Record<string, unknown> });
  fuel.refill(BigInt(FUEL_MAX));
  try {
    (exports.weir_start as (() => void) | undefined)?.();
  } catch (error) {
    throw new Failure(`at its start: ${describe(error, fuel, folder)}`);
  }
  return { run: (name) => void functions.get(name)?.(), fuel, log, names: [...functions.keys()] };
}

/** The function of one's own that the engine stopped in, and where it is declared. */
function stoppedIn(error: Error, folder: string): { name: string; place: string } | undefined {
  const frames = [...(error.stack ?? '').matchAll(/at ([^ (]+) \(wasm:/g)].map(
    ([, frame]) => frame as string,
  );
  const name = frames.find((frame) => !frame.startsWith('~lib/')) ?? frames[0];
  if (name === undefined) return undefined;
  const slash = name.lastIndexOf('/');
  const declared =
    name
      .slice(slash + 1)
      .split(/[#.~<]/)
      .at(-1) ?? '';
  const file = join(folder, `${name.slice(0, slash)}.ts`);
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
  const line = lines.findIndex((text) => new RegExp(`(function|^)\\s*${declared}\\s*[(<]`).test(text));
  if (line < 0) return { name, place: '' };
  return { name, place: `${file}:${line + 1}:${(lines[line] as string).indexOf(declared) + 1}: ` };
}

/** What a failure says: its place, or in which function the engine stopped, and at which limit. */
function describe(error: unknown, fuel: Fuel, folder: string): string {
  if (error instanceof Failure) return error.message;
  if (!(error instanceof Error)) return 'failed';
  const stopped = stoppedIn(error, folder);
  const within = stopped === undefined ? '' : ` in ${stopped.name}`;
  switch (fuel.exhausted()) {
    case 'fuel':
      return `${stopped?.place ?? ''}runs for ever, or takes too long: more than ${FUEL_MAX} units of fuel${within}`;
    case 'depth':
      return `${stopped?.place ?? ''}calls nest too deeply${within}`;
    default:
      return `${error.message}${within}`;
  }
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
  const metered = meterModule(module);
  const result = (name: string, failures: readonly string[], log: string[]): CaseResult => {
    return {
      file,
      name,
      passed: failures.length === 0,
      failures: [...failures],
      events: 0,
      kept: 0,
      dropped: 0,
      log,
    };
  };
  let names: readonly string[];
  try {
    ({ names } = instantiate(metered, folder));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [result(basename(file), [error.message], [])];
  }
  return names.map((name) => {
    // One that nothing has been done with: tests do not hang on each other.
    const { run, fuel, log } = instantiate(metered, folder);
    try {
      run(name);
    } catch (error) {
      return result(name, [describe(error, fuel, folder)], log);
    }
    return result(name, [], log);
  });
}
