// SPDX-License-Identifier: Apache-2.0
// Owns parsing a module's sections into what acceptance looks at, never compiling it. Counts are checked against
// the policy before anything is read in their number, so that the work is linear in the module's bytes.
import { walkCode, walkConstant } from './code.js';
import { MANIFEST_SECTION } from './manifest.js';
import { malformed, Reader, Refusal } from './reader.js';
import type { AcceptancePolicy } from './types.js';

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'funcref' | 'externref';

export interface FunctionType {
  parameters: readonly ValueType[];
  results: readonly ValueType[];
}

export interface ModuleShape {
  types: FunctionType[];
  imports: { module: string; name: string; kind: number; type: number; at: number }[];
  /** Type index of each function that the module defines. */
  functions: number[];
  exports: { name: string; kind: number; index: number }[];
  memories: { minimumPages: number; maximumPages: number | undefined }[];
  globals: number;
  bodies: number;
  manifest: Uint8Array | undefined;
}

const valueTypes: Record<number, ValueType> = {
  127: 'i32',
  126: 'i64',
  125: 'f32',
  124: 'f64',
  123: 'v128',
  112: 'funcref',
  111: 'externref',
};

const sectionNames = [
  'custom',
  'type',
  'import',
  'function',
  'table',
  'memory',
  'global',
  'export',
  'start',
  'element',
  'code',
  'data',
  'data count',
];
/** The place of each section id in the order that the format asks for: data count (12) comes before code (10). */
const sectionOrder = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10];

function valueType(reader: Reader): ValueType {
  const at = reader.at;
  const byte = reader.byte('type');
  const type = valueTypes[byte];
  if (type === undefined) {
    throw new Refusal('feature', `byte ${at}: value type 0x${byte.toString(16)} is not allowed`);
  }
  return type;
}

function count(reader: Reader, what: string, most: number): number {
  const value = reader.u32(`count of ${what}`);
  if (value > most) {
    throw new Refusal('limit', `the module has ${value} ${what}; at most ${most} are allowed`);
  }
  return value;
}

function limits(
  reader: Reader,
  what: string,
): { minimum: number; maximum: number | undefined; flags: number } {
  const at = reader.at;
  const flags = reader.byte(`${what} limits`);
  if (flags > 1) {
    // 2 and 3 are shared (threads), 4 and up are 64-bit addresses; what that means depends on memory or table.
    const reason =
      what === 'memory' && flags <= 3
        ? 'the memory is shared (threads)'
        : `${what} limits 0x${flags.toString(16)} are not allowed`;
    throw new Refusal(what === 'memory' ? 'memory' : 'table', `byte ${at}: ${reason}`);
  }
  const minimum = reader.u32(`${what} minimum`);
  const maximum = flags === 1 ? reader.u32(`${what} maximum`) : undefined;
  return { minimum, maximum, flags };
}

function table(reader: Reader, policy: AcceptancePolicy): void {
  const at = reader.at;
  const type = valueType(reader);
  if (type !== 'funcref' && type !== 'externref') throw malformed(at, 'a table holds what is no reference');
  const { minimum, maximum } = limits(reader, 'table');
  const most = policy.tableElementsMax;
  if (minimum > most || (maximum !== undefined && maximum > most)) {
    throw new Refusal(
      'table',
      `the table has up to ${maximum ?? minimum} elements; at most ${most} are allowed`,
    );
  }
  // Without one, table.grow takes what the engine gives: 80 MB beside the memory that is bounded.
  if (maximum === undefined) {
    throw new Refusal('table', `the table has no maximum; declare one of at most ${most} elements`);
  }
}

type Parse = (reader: Reader, shape: ModuleShape, policy: AcceptancePolicy) => void;

const parsers: Record<number, Parse> = {
  1: (reader, shape, policy) => {
    for (let left = count(reader, 'types', policy.typesMax); left > 0; left--) {
      const at = reader.at;
      if (reader.byte('type') !== 0x60)
        throw new Refusal('feature', `byte ${at}: only function types are allowed`);
      const parameters: ValueType[] = [];
      const results: ValueType[] = [];
      for (let n = count(reader, 'parameters', 64); n > 0; n--) parameters.push(valueType(reader));
      for (let n = count(reader, 'results', 16); n > 0; n--) results.push(valueType(reader));
      shape.types.push({ parameters, results });
    }
  },
  2: (reader, shape) => {
    for (let left = count(reader, 'imports', 64); left > 0; left--) {
      const at = reader.at;
      const module = reader.name('module of an import');
      const name = reader.name('name of an import');
      const kind = reader.byte('kind of an import');
      const label = JSON.stringify(`${module}.${name}`.slice(0, 128));
      if (kind === 0) {
        shape.imports.push({ module, name, kind, type: reader.u32('type of an import'), at });
      } else {
        const what = ['function', 'table', 'memory', 'global', 'tag'][kind] ?? `kind ${kind}`;
        throw new Refusal(
          'import',
          `imports the ${what} ${label}; only functions of the ABI can be imported`,
        );
      }
    }
  },
  3: (reader, shape, policy) => {
    for (let left = count(reader, 'functions', policy.functionsMax); left > 0; left--) {
      shape.functions.push(reader.u32('type of a function'));
    }
  },
  4: (reader, _shape, policy) => {
    const tables = count(reader, 'tables', 8);
    if (tables > 1) throw new Refusal('table', `the module has ${tables} tables; at most 1 is allowed`);
    if (tables === 1) table(reader, policy);
  },
  5: (reader, shape) => {
    for (let left = count(reader, 'memories', 8); left > 0; left--) {
      const { minimum, maximum } = limits(reader, 'memory');
      shape.memories.push({ minimumPages: minimum, maximumPages: maximum });
    }
  },
  6: (reader, shape, policy) => {
    shape.globals = count(reader, 'globals', policy.globalsMax);
    for (let left = shape.globals; left > 0; left--) {
      valueType(reader);
      const at = reader.at;
      if (reader.byte('mutability of a global') > 1) throw malformed(at, 'mutability of a global is 0 or 1');
      walkConstant(reader);
    }
  },
  7: (reader, shape, policy) => {
    const seen = new Set<string>();
    for (let left = count(reader, 'exports', policy.exportsMax); left > 0; left--) {
      const at = reader.at;
      const name = reader.name('name of an export');
      const kind = reader.byte('kind of an export');
      if (kind > 4) throw malformed(at, `export of unknown kind ${kind}`);
      const index = reader.u32('index of an export');
      if (seen.has(name)) throw malformed(at, `exports ${JSON.stringify(name.slice(0, 128))} twice`);
      seen.add(name);
      shape.exports.push({ name, kind, index });
    }
  },
  8: () => {
    throw new Refusal('start', 'has a start function: export it as weir_start instead');
  },
  9: (reader, _shape, policy) => {
    let elements = 0;
    for (let left = count(reader, 'element segments', policy.elementSegmentsMax); left > 0; left--) {
      const at = reader.at;
      const flags = reader.u32('flags of an element segment');
      if (flags > 7) throw malformed(at, `element segment flags ${flags} are not known`);
      const active = (flags & 1) === 0;
      if (active && (flags & 2) !== 0) reader.u32('table of an element segment');
      if (active) walkConstant(reader);
      if ((flags & 3) !== 0) {
        if ((flags & 4) !== 0) valueType(reader);
        else reader.byte('kind of an element segment');
      }
      const items = count(reader, 'elements of a segment', policy.tableElementsMax);
      elements += items;
      if (elements > policy.tableElementsMax * 2) {
        throw new Refusal('limit', `element segments hold more than ${policy.tableElementsMax * 2} elements`);
      }
      for (let n = items; n > 0; n--) {
        if ((flags & 4) !== 0) walkConstant(reader);
        else reader.u32('function of an element segment');
      }
    }
  },
  10: (reader, shape, policy) => {
    shape.bodies = count(reader, 'function bodies', policy.functionsMax);
    for (let index = 0; index < shape.bodies; index++) {
      const bytes = reader.u32('size of a function body');
      if (bytes > policy.functionBytesMax) {
        throw new Refusal(
          'limit',
          `function body ${index} has ${bytes} bytes; at most ${policy.functionBytesMax} are allowed`,
        );
      }
      const body = reader.part(bytes, 'a function body');
      let locals = 0;
      for (let groups = count(body, 'groups of locals', policy.localsMax); groups > 0; groups--) {
        locals += body.u32('count of locals');
        if (locals > policy.localsMax) {
          throw new Refusal('limit', `function body ${index} has more than ${policy.localsMax} locals`);
        }
        valueType(body);
      }
      walkCode(body);
    }
  },
  11: (reader, _shape, policy) => {
    for (let left = count(reader, 'data segments', policy.dataSegmentsMax); left > 0; left--) {
      const at = reader.at;
      const flags = reader.u32('flags of a data segment');
      if (flags > 2) throw malformed(at, `data segment flags ${flags} are not known`);
      if (flags === 2) reader.u32('memory of a data segment');
      if (flags !== 1) walkConstant(reader);
      reader.skip(reader.u32('bytes of a data segment'), 'a data segment');
    }
  },
  12: (reader) => {
    reader.u32('data count');
  },
};

/** Reads a module's sections. @throws {Refusal} where it is malformed or goes beyond the policy. */
export function parseModule(bytes: Uint8Array, policy: AcceptancePolicy): ModuleShape {
  const shape: ModuleShape = {
    types: [],
    imports: [],
    functions: [],
    exports: [],
    memories: [],
    globals: 0,
    bodies: 0,
    manifest: undefined,
  };
  const reader = new Reader(bytes);
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  if (bytes.length < 8 || magic.some((byte, index) => bytes[index] !== byte)) {
    throw malformed(0, 'is not a WebAssembly module of version 1 (magic and version)');
  }
  reader.at = 8;
  let last = 0;
  while (!reader.done) {
    const at = reader.at;
    const id = reader.byte('section');
    const length = reader.u32('size of a section');
    const name = sectionNames[id];
    if (name === undefined) throw new Refusal('section', `byte ${at}: section ${id} is not allowed`);
    const section = reader.part(length, `the ${name} section`);
    if (id === 0) {
      if (section.name('name of a custom section') !== MANIFEST_SECTION) continue;
      if (shape.manifest !== undefined) throw new Refusal('manifest', `has two sections ${MANIFEST_SECTION}`);
      shape.manifest = bytes.subarray(section.at, section.end);
      continue;
    }
    const place = sectionOrder[id] as number;
    if (place <= last) {
      throw new Refusal('section', `byte ${at}: the ${name} section is out of order or there twice`);
    }
    last = place;
    (parsers[id] as Parse)(section, shape, policy);
    if (!section.done) throw malformed(section.at, `bytes follow the contents of the ${name} section`);
  }
  return shape;
}
