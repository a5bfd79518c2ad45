// SPDX-License-Identifier: Apache-2.0
// Owns building a filter: the author's source and filter.json become a module that acceptance would take. The
// author writes only the function; the entry points of the ABI are made here.

import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import {
  ABI_VERSION,
  acceptModule,
  checkManifest,
  type FilterManifest,
  MANIFEST_SECTION,
} from '@weir/filter-accept';
import asc from 'assemblyscript/asc';
import { type Diagnostic, FilterBuildError, formatDiagnostics } from './error.js';
import { inlineOnce } from './inline.js';

const PAGE_BYTES = 64 * 1024;
const SOURCE_BYTES_MAX = 1024 * 1024;
const SDK = '@weir/filter-sdk';
const ENTRY = 'weir-filter-entry';

export interface BuildOptions {
  /** The filter's folder (with filter.ts in it) or its source file. */
  source: string;
  /** Where the module goes; the default is `build/<name>.wasm` beside the source. */
  outFile?: string;
  /** The largest memory that the module may have, in bytes. Default 4 MiB. */
  memoryBytesMax?: number;
  /** Writes the module's text form beside it. */
  textFile?: string;
}

export interface BuildResult {
  manifest: FilterManifest;
  outFile: string;
  bytes: Uint8Array;
  moduleBytes: number;
  /** SHA-256, hexadecimal. */
  digest: string;
  functions: number;
  memoryBytesMax: number;
  durationMs: number;
  warnings: readonly Diagnostic[];
}

function entrySource(source: string, configures: boolean): string {
  return `
import { filter${configures ? ', configure' : ''} } from ${JSON.stringify(source)};
import {
  closeCall, closeConfig, openCall, openConfig, reserve, restore, save
} from '${SDK}/entry';

export function weir_abi_version(): i32 { return ${ABI_VERSION}; }
export function weir_reserve(bytes: i32): i32 { return <i32>reserve(<usize><u32>bytes); }
export function weir_state_save(): i32 { return <i32>save(); }
export function weir_state_restore(at: i32, bytes: i32): i32 { return restore(<usize><u32>at, <u32>bytes); }
${
  configures
    ? `export function weir_configure(at: i32, bytes: i32): i32 {
  configure(openConfig(<usize><u32>at, <u32>bytes));
  return closeConfig();
}`
    : ''
}
export function weir_filter(address: i32): i32 {
  const call = <usize><u32>address;
  closeCall(call, filter(openCall(call)));
  return 0;
}
`;
}

/** The folder of the SDK's source. */
export function sdkFolder(): string {
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve(`${SDK}/package.json`)), 'assembly');
}

async function readText(path: string, what: string): Promise<string> {
  let text: string;
  try {
    if ((await stat(path)).size > SOURCE_BYTES_MAX) {
      throw new FilterBuildError('source', `${path}: ${what} is larger than ${SOURCE_BYTES_MAX} bytes`);
    }
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof FilterBuildError) throw error;
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is none' : (error as Error).message;
    throw new FilterBuildError('source', `${path}: ${what} cannot be read: ${reason}`, [], { cause: error });
  }
  return text;
}

/** Reads and checks filter.json. \`abi\` is filled in: it is the SDK's. */
export async function readManifest(path: string): Promise<FilterManifest> {
  const text = await readText(path, 'the manifest');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new FilterBuildError('manifest', `${path}: ${(error as Error).message}`, [], { cause: error });
  }
  const withAbi =
    typeof json === 'object' && json !== null && !Array.isArray(json) ? { abi: ABI_VERSION, ...json } : json;
  const result = checkManifest(withAbi);
  if (!result.ok) throw new FilterBuildError('manifest', `${path}: ${result.reason}`);
  if (result.manifest.abi !== ABI_VERSION) {
    throw new FilterBuildError(
      'manifest',
      `${path}: abi is ${result.manifest.abi}; this SDK builds for ${ABI_VERSION}: leave it out`,
    );
  }
  return result.manifest;
}

function leb128(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const byte = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? byte : byte | 0x80);
  } while (rest !== 0);
  return bytes;
}

/** Appends a custom section to a module. */
export function appendCustomSection(module: Uint8Array, name: string, content: Uint8Array): Uint8Array {
  const encodedName = new TextEncoder().encode(name);
  const nameLength = leb128(encodedName.length);
  const length = leb128(nameLength.length + encodedName.length + content.length);
  return Buffer.concat([module, Uint8Array.from([0, ...length, ...nameLength]), encodedName, content]);
}

/** What the compiler reads: the entry that is made, the SDK from its folder, all else as it is. */
function reader(entry: string, sdk: string): (name: string, baseDir: string) => Promise<string | null> {
  return async (name, baseDir) => {
    if (name === `${ENTRY}.ts`) return entry;
    const inSdk = /(?:^|\/)@weir\/filter-sdk\/(.+)$/.exec(name);
    const path = inSdk === null ? resolve(baseDir, name) : join(sdk, inSdk[1] as string);
    try {
      return await readFile(path, 'utf8');
    } catch {
      return null;
    }
  };
}

function place(text: string, offset: number): { line: number; column: number; source: string } {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  const start = before.lastIndexOf('\n') + 1;
  const end = text.indexOf('\n', start);
  return { line, column: offset - start + 1, source: text.slice(start, end < 0 ? undefined : end).trimEnd() };
}

interface CompilerDiagnostic {
  message: string;
  code: number;
  category: number;
  range: { start: number; end: number; source: { normalizedPath: string } | null } | null;
}

/** Builds a filter. @throws {FilterBuildError} with diagnostics where the source does not compile. */
export async function buildFilter(options: BuildOptions): Promise<BuildResult> {
  const started = performance.now();
  const given = resolve(options.source);
  const found = await stat(given).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') return undefined;
    throw new FilterBuildError('source', `${given}: there is no such folder or source`, [], { cause });
  });
  const isFolder = found?.isDirectory() ?? false;
  const sourceFile = isFolder ? join(given, 'filter.ts') : given;
  const folder = dirname(sourceFile);
  const manifest = await readManifest(join(folder, 'filter.json'));
  const source = await readText(sourceFile, 'the source');
  if (!/^\s*export\s+function\s+filter\s*\(/m.test(source)) {
    throw new FilterBuildError(
      'source',
      `${sourceFile}: has no \`export function filter(event: Event): Verdict\``,
    );
  }
  const configures = /^\s*export\s+function\s+configure\s*\(/m.test(source);
  const memoryBytesMax = options.memoryBytesMax ?? 4 * 1024 * 1024;
  const outFile = resolve(options.outFile ?? join(folder, 'build', `${manifest.name}.wasm`));

  const { module, warnings } = await compile({
    sourceFile,
    entry: entrySource(`./${basename(sourceFile, '.ts')}`, configures),
    memoryBytesMax,
    textFile: options.textFile,
  });
  const section = new TextEncoder().encode(JSON.stringify(manifest));
  const bytes = appendCustomSection(module, MANIFEST_SECTION, section);
  const accepted = acceptModule(bytes, { memoryBytesMax });
  if (!accepted.ok) {
    throw new FilterBuildError(
      'refused',
      `${manifest.name}: the module would be refused (${accepted.code}): ${accepted.reason}`,
    );
  }
  await mkdir(dirname(outFile), { recursive: true });
  await writeFile(outFile, bytes);
  return {
    manifest,
    outFile,
    bytes,
    moduleBytes: bytes.length,
    digest: createHash('sha256').update(bytes).digest('hex'),
    functions: accepted.functions,
    memoryBytesMax: accepted.memoryBytesMax,
    durationMs: performance.now() - started,
    warnings,
  };
}

export interface CompileOptions {
  /** In the folder that imports are relative to. */
  sourceFile: string;
  /** Source of the entry, which imports the rest. */
  entry: string;
  memoryBytesMax: number;
  textFile?: string | undefined;
  /** Compiles quickly, keeps names, and has the loader's `abort`, which is told the place. */
  forTests?: boolean;
}

/** Compiles an entry. @throws {FilterBuildError} with diagnostics where it does not compile. */
export async function compile(
  options: CompileOptions,
): Promise<{ module: Uint8Array; warnings: Diagnostic[] }> {
  const { sourceFile, entry, memoryBytesMax, textFile, forTests = false } = options;
  const folder = dirname(sourceFile);
  const read = reader(entry, sdkFolder());
  const raw: CompilerDiagnostic[] = [];
  const output = new Map<string, Uint8Array | string>();
  const { error, stderr } = await asc.main(
    [
      `${ENTRY}.ts`,
      ...['--baseDir', folder],
      ...['--outFile', 'filter.wasm'],
      ...['--runtime', 'stub'],
      ...['--enable', 'simd'],
      ...(forTests ? ['--debug'] : ['--optimizeLevel', '3', '--shrinkLevel', '0', '--converge']),
      ...['--exportStart', 'weir_start'],
      ...['--maximumMemory', String(Math.floor(memoryBytesMax / PAGE_BYTES))],
      ...(forTests ? [] : ['--use', `abort=~lib/${SDK}/log/weirAbort`]),
    ],
    {
      readFile: read,
      writeFile: async (name: string, contents: Uint8Array | string) => {
        output.set(name, contents);
      },
      listFiles: () => [],
      reportDiagnostic: (one: unknown) => {
        raw.push(one as CompilerDiagnostic);
      },
    },
  );
  const diagnostics = await Promise.all(raw.map((one) => locate(one, folder, read)));
  const errors = diagnostics.filter((one) => one.severity === 'error');
  if (errors.length > 0) {
    throw new FilterBuildError(
      'compile',
      `${sourceFile} does not compile: ${errors.length} ${errors.length === 1 ? 'error' : 'errors'}`,
      diagnostics,
    );
  }
  const module = output.get('filter.wasm');
  if (error !== null || !(module instanceof Uint8Array)) {
    const said = stderr.toString().trim();
    throw new FilterBuildError(
      'compile',
      `${sourceFile} does not compile: ${said || error?.message || 'no module came out'}`,
    );
  }
  // Tests keep each function, so that a failure names it.
  const made = forTests ? { module, text: '' } : inlineOnce(module);
  if (textFile !== undefined) await writeFile(textFile, made.text);
  return { module: made.module, warnings: diagnostics.filter((one) => one.severity === 'warning') };
}

async function locate(
  one: CompilerDiagnostic,
  folder: string,
  read: (name: string, baseDir: string) => Promise<string | null>,
): Promise<Diagnostic> {
  const severity = one.category === 3 ? 'error' : one.category === 2 ? 'warning' : 'info';
  const base = { severity, code: `AS${one.code}`, message: one.message } as const;
  const path = one.range?.source?.normalizedPath;
  if (one.range === null || path === undefined) {
    return { ...base, file: folder, line: 1, column: 1, source: '' };
  }
  const text = (await read(path, folder)) ?? '';
  const file = path.startsWith('~lib/') ? path : join(folder, path);
  return { ...base, file, ...place(text, one.range.start) };
}

/** One line of what a build made. */
export function formatBuild(result: BuildResult): string {
  const { manifest } = result;
  return [
    ...(result.warnings.length > 0 ? [formatDiagnostics(result.warnings)] : []),
    `${manifest.name} ${manifest.version}: ${result.outFile}`,
    `  ${result.moduleBytes} bytes, ${result.functions} functions, memory at most ${result.memoryBytesMax / 1024} KiB, ${Math.round(result.durationMs)} ms`,
    `  sha256 ${result.digest}`,
  ].join('\n');
}
