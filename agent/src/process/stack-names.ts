// SPDX-License-Identifier: Apache-2.0
// Owns what the addresses of a stack stand for: symbols of the kernel by /proc/kallsyms, files that a process has
// mapped by /proc/PID/maps. Looked up for events that somebody reads, soon after they were made: of a process that has
// ended by then, or has executed another program, addresses are all there is.
import { readFileSync, readlinkSync } from 'node:fs';
import { bytesToText } from '@weir/segment';
import { parseStat } from './proc.js';

/** Symbols that are kept; kernels with all their modules have some 200,000 functions. */
const SYMBOLS_MAX = 400_000;
/** How often the list is read again because of an address that is in none of its modules. */
const REREAD_MS = 60_000;
/** How often the files of a process are read again because of an address that is in none: it may be no file's at all. */
const REREAD_FILES_MS = 1000;
/** Processes whose files are kept, and files of each. */
const PROCESSES_MAX = 256;
const FILES_MAX = 2048;
/** The start of a process is in /proc in hundredths of a second. */
const NS_PER_TICK = 10_000_000n;

export interface KernelPlace {
  readonly symbol: string;
  /** From the beginning of the symbol. */
  readonly offset: bigint;
  /** Empty where it is no module's. */
  readonly module: string;
}

export interface UserPlace {
  /** Path of the file. */
  readonly module: string;
  /** In the file. */
  readonly offset: bigint;
}

interface SymbolTable {
  readonly addresses: BigUint64Array;
  readonly names: readonly string[];
  /** By index of a symbol, that of its module in `modules`; 0 is the kernel itself. */
  readonly owners: Uint16Array;
  readonly modules: readonly { readonly name: string; readonly from: bigint; readonly to: bigint }[];
}

/** Reads the functions of the kernel and of its modules from the texts of /proc/kallsyms and /proc/modules. */
export function parseSymbols(kallsyms: string, moduleList: string): SymbolTable {
  const modules = [{ name: '', from: 0n, to: 0n }];
  const owners = new Map<string, number>();
  for (const line of moduleList.split('\n')) {
    const found = /^(\S+) ([0-9]+) .* 0x([0-9a-f]+)(?: |$)/.exec(line);
    if (found === null) continue;
    const [, name = '', size = '0', from = '0'] = found;
    const start = BigInt(`0x${from}`);
    owners.set(name, modules.length);
    modules.push({ name, from: start, to: start + BigInt(size) });
  }
  const functions: { address: bigint; name: string; owner: number }[] = [];
  let [from, to] = [0n, 0n];
  const lines = /^([0-9a-f]+) ([tTwW]) (\S+)(?:\t\[(\S+)\])?$/gm;
  for (let found = lines.exec(kallsyms); found !== null; found = lines.exec(kallsyms)) {
    const [, digits = '0', , name = '', module] = found;
    const owner = module === undefined ? 0 : owners.get(module);
    if (owner === undefined || functions.length === SYMBOLS_MAX) continue; // [bpf] and the like
    const address = BigInt(`0x${digits}`);
    if (owner === 0 && name === '_stext') from = address;
    if (owner === 0 && name === '_etext') to = address;
    functions.push({ address, name, owner });
  }
  modules[0] = { name: '', from, to };
  // Stable: of several names of one address the first is taken.
  functions.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  return {
    addresses: BigUint64Array.from(functions, ({ address }) => address),
    names: functions.map(({ name }) => name),
    owners: Uint16Array.from(functions, ({ owner }) => owner),
    modules,
  };
}

/** The symbol that an address lies in; undefined where it lies in none. */
export function findSymbol(table: SymbolTable, address: bigint): KernelPlace | undefined {
  const { addresses, names, owners, modules } = table;
  let [low, high] = [0, addresses.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((addresses[middle] ?? 0n) <= address) low = middle + 1;
    else high = middle;
  }
  let index = low - 1;
  const start = addresses[index];
  if (start === undefined) return undefined;
  const owner = modules[owners[index] ?? 0];
  // Behind the end of its module, what comes is somebody else's.
  if (owner === undefined || address < owner.from || address >= owner.to) return undefined;
  while (index > 0 && addresses[index - 1] === start && owners[index - 1] === owners[index]) index--;
  return { symbol: names[index] ?? '', offset: address - start, module: owner.name };
}

interface MappedFile {
  readonly from: number;
  readonly to: number;
  readonly fileOffset: number;
  readonly path: string;
}

/** The files that are mapped to be executed, from the text of /proc/PID/maps, in rising order. */
export function parseMaps(maps: Uint8Array): MappedFile[] {
  const files: MappedFile[] = [];
  // One character a byte; what is kept becomes text as all paths do.
  for (const line of Buffer.from(maps).toString('latin1').split('\n')) {
    const found = /^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) \S+ [0-9]+ +(\S.*)$/.exec(line);
    if (found === null || files.length === FILES_MAX) continue;
    const [from, to, fileOffset] = found.slice(1, 4).map((digits) => Number.parseInt(digits, 16));
    if (from === undefined || to === undefined || fileOffset === undefined || !Number.isSafeInteger(to))
      continue;
    files.push({ from, to, fileOffset, path: bytesToText(Buffer.from(found[4] ?? '', 'latin1')) });
  }
  return files;
}

interface KnownProcess {
  readonly files: readonly MappedFile[];
  readonly readMs: number;
}

/** Of which process an address is. */
export interface StackOwner {
  readonly execId: string;
  readonly pid: number;
  readonly startNs: bigint;
  /** The program that it ran when the event was made. */
  readonly binary: string;
}

export interface StackNamesOptions {
  readonly procPath?: string;
  readonly nowMs?: () => number;
}

/** Names for addresses. Reads nothing before it is asked. */
export class StackNames {
  readonly #proc: string;
  readonly #nowMs: () => number;
  #symbols: SymbolTable | undefined;
  #readMs = Number.NEGATIVE_INFINITY;
  readonly #processes = new Map<string, KnownProcess>();

  constructor(options: StackNamesOptions = {}) {
    this.#proc = options.procPath ?? '/proc';
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** What an address in the kernel stands for. */
  kernel(address: bigint): KernelPlace | undefined {
    const known = this.#symbols === undefined ? undefined : findSymbol(this.#symbols, address);
    if (known !== undefined || this.#nowMs() - this.#readMs < REREAD_MS) return known;
    this.#readMs = this.#nowMs();
    const read = (name: string) => {
      try {
        return readFileSync(`${this.#proc}/${name}`, 'latin1');
      } catch {
        return ''; // A kernel without modules, or without symbols.
      }
    };
    this.#symbols = parseSymbols(read('kallsyms'), read('modules'));
    return findSymbol(this.#symbols, address);
  }

  /** The file that an address of a process lies in, and where. */
  user(owner: StackOwner, address: bigint): UserPlace | undefined {
    const known = this.#processes.get(owner.execId);
    const place = known === undefined ? undefined : findFile(known.files, address);
    const nowMs = this.#nowMs();
    if (place !== undefined || (known !== undefined && nowMs - known.readMs < REREAD_FILES_MS)) return place;
    // Not seen before, or it may have mapped more since.
    const files = this.#readFiles(owner);
    // Of one that has ended, what was known stays.
    this.#keep(owner.execId, { files: files.length > 0 ? files : (known?.files ?? []), readMs: nowMs });
    return findFile(files, address);
  }

  #readFiles({ pid, startNs, binary }: StackOwner): readonly MappedFile[] {
    const folder = `${this.#proc}/${pid}`;
    try {
      const files = parseMaps(readFileSync(`${folder}/maps`));
      const program = bytesToText(readlinkSync(`${folder}/exe`, { encoding: 'buffer' }));
      const ticks = parseStat(readFileSync(`${folder}/stat`, 'latin1'))?.startTicks;
      // Looked at last: then these were its files.
      const isSame = ticks === startNs / NS_PER_TICK && program.replace(/ \(deleted\)$/, '') === binary;
      return isSame ? files : [];
    } catch {
      return []; // It has ended.
    }
  }

  #keep(execId: string, known: KnownProcess): void {
    this.#processes.delete(execId);
    if (this.#processes.size >= PROCESSES_MAX) {
      // The one that was put in first goes.
      const oldest = this.#processes.keys().next().value;
      if (oldest !== undefined) this.#processes.delete(oldest);
    }
    this.#processes.set(execId, known);
  }
}

function findFile(files: readonly MappedFile[], address: bigint): UserPlace | undefined {
  const at = Number(address);
  const file = files.find(({ from, to }) => at >= from && at < to);
  return file === undefined
    ? undefined
    : { module: file.path, offset: BigInt(at - file.from + file.fileOffset) };
}
