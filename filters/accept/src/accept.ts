// SPDX-License-Identifier: Apache-2.0
// Owns the decision whether a module is allowed to be loaded as a filter. The same code runs in the control plane
// (also where WebAssembly cannot be compiled) and in the agent.
import {
  ABI_VERSION,
  checkManifest,
  type FilterManifest,
  MANIFEST_BYTES_MAX,
  MANIFEST_SECTION,
} from './manifest.js';
import { type FunctionType, type ModuleShape, parseModule, type ValueType } from './parse.js';
import { Refusal } from './reader.js';
import type { Acceptance, AcceptancePolicy } from './types.js';

const MiB = 1024 * 1024;
const PAGE_BYTES = 64 * 1024;

/** What holds where a deployment sets nothing else. */
export const defaultPolicy: AcceptancePolicy = {
  moduleBytesMax: MiB,
  memoryBytesMax: 4 * MiB,
  memoryBytesMin: 2 * MiB,
  typesMax: 1024,
  functionsMax: 4096,
  functionBytesMax: 128 * 1024,
  localsMax: 4096,
  globalsMax: 1024,
  tableElementsMax: 4096,
  exportsMax: 256,
  dataSegmentsMax: 1024,
  elementSegmentsMax: 64,
};

const signature = (parameters: ValueType[], results: ValueType[]): FunctionType => ({ parameters, results });

/** The host functions of the ABI. */
const importable: Record<string, FunctionType> = {
  'weir.log': signature(['i32', 'i32', 'i32'], []),
};

const exportable: Record<string, { type: FunctionType; required: boolean }> = {
  weir_abi_version: { type: signature([], ['i32']), required: true },
  weir_reserve: { type: signature(['i32'], ['i32']), required: true },
  weir_filter: { type: signature(['i32'], ['i32']), required: true },
  weir_start: { type: signature([], []), required: false },
  weir_configure: { type: signature(['i32', 'i32'], ['i32']), required: false },
  weir_state_save: { type: signature([], ['i32']), required: false },
  weir_state_restore: { type: signature(['i32', 'i32'], ['i32']), required: false },
};

const write = (type: FunctionType): string =>
  `(${type.parameters.join(', ')}) -> (${type.results.join(', ')})`;

function sameType(left: FunctionType | undefined, right: FunctionType): boolean {
  return left !== undefined && write(left) === write(right);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text);
}

function checkImports(shape: ModuleShape): string[] {
  const known = Object.keys(importable).join(', ');
  return shape.imports.map((entry) => {
    const name = `${entry.module}.${entry.name}`;
    const wanted = Object.hasOwn(importable, name) ? importable[name] : undefined;
    if (wanted === undefined) {
      throw new Refusal('import', `imports ${quote(name)}, which the ABI does not give; it gives ${known}`);
    }
    const type = shape.types[entry.type];
    if (type === undefined)
      throw new Refusal('type', `import ${name} has type ${entry.type}, which does not exist`);
    if (!sameType(type, wanted)) {
      throw new Refusal('import', `imports ${name} as ${write(type)}; it is ${write(wanted)}`);
    }
    return name;
  });
}

function functionType(shape: ModuleShape, index: number): FunctionType | undefined {
  const imported = shape.imports.length;
  const type = index < imported ? shape.imports[index]?.type : shape.functions[index - imported];
  return type === undefined ? undefined : shape.types[type];
}

function checkExports(shape: ModuleShape): void {
  const memory = shape.exports.find((entry) => entry.name === 'memory');
  if (memory === undefined) throw new Refusal('export', 'does not export its memory as "memory"');
  if (memory.kind !== 2) throw new Refusal('export', 'exports as "memory" what is no memory');
  for (const [name, { type, required }] of Object.entries(exportable)) {
    const found = shape.exports.find((entry) => entry.name === name);
    if (found === undefined) {
      if (required) throw new Refusal('export', `does not export the function ${name} ${write(type)}`);
      continue;
    }
    if (found.kind !== 0) throw new Refusal('export', `exports as ${name} what is no function`);
    const actual = functionType(shape, found.index);
    if (actual === undefined) {
      throw new Refusal('type', `export ${name} is function ${found.index}, which does not exist`);
    }
    if (!sameType(actual, type)) {
      throw new Refusal('export', `exports ${name} as ${write(actual)}; it must be ${write(type)}`);
    }
  }
  for (const { name } of shape.exports) {
    // `weir.` is what the host adds to count fuel.
    if (/^weir[_.]/.test(name) && !Object.hasOwn(exportable, name)) {
      throw new Refusal(
        'export',
        `exports ${quote(name)}; names that begin with weir_ or weir. belong to the ABI`,
      );
    }
  }
}

function checkMemory(shape: ModuleShape, policy: AcceptancePolicy): number {
  if (shape.memories.length !== 1) {
    throw new Refusal('memory', `has ${shape.memories.length} memories; it must have exactly 1`);
  }
  const [memory] = shape.memories;
  const maximumPages = memory?.maximumPages;
  if (memory === undefined || maximumPages === undefined) {
    throw new Refusal(
      'memory',
      `its memory has no maximum; declare one of at most ${policy.memoryBytesMax} bytes`,
    );
  }
  const bytes = maximumPages * PAGE_BYTES;
  if (bytes > policy.memoryBytesMax) {
    throw new Refusal(
      'memory',
      `its memory may grow to ${bytes} bytes; at most ${policy.memoryBytesMax} are allowed`,
    );
  }
  if (bytes < policy.memoryBytesMin) {
    throw new Refusal(
      'memory',
      `its memory may grow to ${bytes} bytes only; a batch needs a maximum of at least ${policy.memoryBytesMin}`,
    );
  }
  if (memory.minimumPages > maximumPages) {
    throw new Refusal(
      'memory',
      `its memory begins with ${memory.minimumPages} pages, beyond its maximum of ${maximumPages}`,
    );
  }
  return bytes;
}

function readManifest(section: Uint8Array | undefined): FilterManifest {
  if (section === undefined) throw new Refusal('manifest', `has no section ${MANIFEST_SECTION}`);
  if (section.length > MANIFEST_BYTES_MAX) {
    throw new Refusal(
      'manifest',
      `its manifest has ${section.length} bytes; at most ${MANIFEST_BYTES_MAX} are allowed`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(section));
  } catch {
    throw new Refusal('manifest', `${MANIFEST_SECTION} is not JSON in UTF-8`);
  }
  const result = checkManifest(json);
  if (!result.ok) throw new Refusal('manifest', `${MANIFEST_SECTION}: ${result.reason}`);
  if (result.manifest.abi !== ABI_VERSION) {
    throw new Refusal(
      'abi',
      `was built for version ${result.manifest.abi} of the filter ABI; this one is ${ABI_VERSION}`,
    );
  }
  return result.manifest;
}

/**
 * Says whether a module may be loaded, and if not, the exact reason. Never compiles or runs it, and never throws for
 * what the bytes hold. A manifest whose ABI is another one is told before anything that follows from that.
 */
export function acceptModule(bytes: Uint8Array, policy: Partial<AcceptancePolicy> = {}): Acceptance {
  const bounds = { ...defaultPolicy, ...policy };
  try {
    if (bytes.length > bounds.moduleBytesMax) {
      throw new Refusal('size', `has ${bytes.length} bytes; at most ${bounds.moduleBytesMax} are allowed`);
    }
    const shape = parseModule(bytes, bounds);
    const manifest = readManifest(shape.manifest);
    const imports = checkImports(shape);
    const memoryBytesMax = checkMemory(shape, bounds);
    checkExports(shape);
    if (shape.bodies !== shape.functions.length) {
      throw new Refusal(
        'malformed',
        `declares ${shape.functions.length} functions but has ${shape.bodies} bodies`,
      );
    }
    if (!validate(bytes)) {
      throw new Refusal('invalid', 'does not validate: its types, indexes or constants do not fit together');
    }
    return {
      ok: true,
      manifest,
      moduleBytes: bytes.length,
      memoryBytesMax,
      functions: shape.functions.length,
      imports,
      configurable: shape.exports.some(({ name }) => name === 'weir_configure'),
    };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, code: error.code, reason: error.reason };
    throw error;
  }
}

// The types of the engine's interface are those of a browser's library, which is not loaded here.
interface Engine {
  validate(bytes: Uint8Array): boolean;
}

function validate(bytes: Uint8Array): boolean {
  // A SharedArrayBuffer is no input for the engine; and what is validated must not change meanwhile.
  const copy = new Uint8Array(bytes);
  return (globalThis as unknown as { WebAssembly: Engine }).WebAssembly.validate(copy);
}
