// SPDX-License-Identifier: Apache-2.0
// Owns reading a module's sections into what metering needs: types and functions, where bodies lie, which functions
// can be called through a table, what the module exports.
import { Reader } from './bytes.js';
import { Decoder, valueType } from './decode.js';
import { MeterError } from './error.js';
import { Op } from './opcodes.js';

export interface FunctionType {
  parameters: readonly number[];
  results: readonly number[];
}

export interface Section {
  id: number;
  /** Of the contents. */
  start: number;
  end: number;
  /** Of a custom section. */
  name: string;
}

export interface Body {
  /** Offset of the declarations of locals. */
  start: number;
  end: number;
}

export interface ModuleShape {
  bytes: Uint8Array;
  sections: Section[];
  types: FunctionType[];
  importedFunctions: number[];
  importedGlobals: number;
  /** Type index of each function that the module defines. */
  functions: number[];
  globals: number;
  exports: number;
  bodies: Body[];
  /** Functions of the module's own index space that can be reached without their name: in tables or as references. */
  referenced: Set<number>;
  /** Functions that the host can call. */
  exported: Set<number>;
  /** The same by name. */
  exportedNames: Map<string, number>;
}

export interface ModuleBounds {
  typesMax: number;
  functionsMax: number;
  localsMax: number;
}

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
export const sectionOrder = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10];

/** Names that begin so belong to metering. */
export const RESERVED_PREFIX = 'weir.';

/** More than any section's bytes could hold is malformed, before anything is done in that number. */
function count(reader: Reader, what: string, most = Number.MAX_SAFE_INTEGER): number {
  const at = reader.at;
  const value = reader.u32(`a count of ${what}`);
  if (value > reader.end - reader.at) {
    throw new MeterError('malformed', at, `${value} ${what} do not fit into their section`);
  }
  if (value > most) throw new MeterError('limit', at, `${value} ${what}; at most ${most} are allowed`);
  return value;
}

function constant(reader: Reader, shape: ModuleShape): void {
  const decoder = new Decoder(reader);
  for (;;) {
    switch (decoder.next()) {
      case Op.end:
        return;
      case Op.refFunc:
        shape.referenced.add(decoder.index);
        break;
      case Op.i32Const:
      case Op.i64Const:
      case Op.f32Const:
      case Op.f64Const:
      case Op.v128Const:
      case Op.refNull:
      case Op.globalGet:
        break;
      default:
        throw new MeterError('feature', decoder.at, 'a constant expression holds what is not constant');
    }
  }
}

function limits(reader: Reader, what: string): void {
  const at = reader.at;
  const flags = reader.byte(`limits of a ${what}`);
  if (flags > 7) throw new MeterError('malformed', at, `limits of a ${what} are not 0x${flags.toString(16)}`);
  if ((flags & 4) !== 0) {
    throw new MeterError('feature', at, `the ${what} has 64-bit addresses, which filters may not`);
  }
  if ((flags & 2) !== 0) throw new MeterError('feature', at, `the ${what} is shared (threads)`);
  reader.u32(`minimum of a ${what}`);
  if ((flags & 1) !== 0) reader.u32(`maximum of a ${what}`);
}

function table(reader: Reader): void {
  const at = reader.at;
  const type = reader.byte('a type of a table');
  if (type !== 0x70 && type !== 0x6f) {
    throw new MeterError('feature', at, `a table of type 0x${type.toString(16)} is not allowed`);
  }
  limits(reader, 'table');
}

function mutability(reader: Reader): void {
  const at = reader.at;
  const flags = reader.byte('the mutability of a global');
  if (flags > 1) throw new MeterError('feature', at, 'a global is shared (threads)');
}

type Parse = (reader: Reader, shape: ModuleShape, bounds: ModuleBounds) => void;

const parsers: readonly (Parse | undefined)[] = [
  undefined,
  (reader, shape, bounds) => {
    for (let left = count(reader, 'types', bounds.typesMax); left > 0; left--) {
      const at = reader.at;
      if (reader.byte('a type') !== 0x60) {
        throw new MeterError('feature', at, 'only function types are allowed (no garbage collection)');
      }
      const parameters: number[] = [];
      const results: number[] = [];
      for (let n = count(reader, 'parameters'); n > 0; n--) parameters.push(valueType(reader));
      for (let n = count(reader, 'results'); n > 0; n--) results.push(valueType(reader));
      shape.types.push({ parameters, results });
    }
  },
  (reader, shape) => {
    let memories = 0;
    for (let left = count(reader, 'imports'); left > 0; left--) {
      reader.name('the module of an import');
      reader.name('the name of an import');
      const at = reader.at;
      switch (reader.byte('the kind of an import')) {
        case 0:
          shape.importedFunctions.push(reader.u32('the type of an import'));
          break;
        case 1:
          table(reader);
          break;
        case 2:
          limits(reader, 'memory');
          if (++memories > 1)
            throw new MeterError('feature', at, 'has several memories, which filters may not');
          break;
        case 3:
          valueType(reader);
          mutability(reader);
          shape.importedGlobals++;
          break;
        default:
          throw new MeterError('feature', at, 'imports a tag (exceptions), which filters may not');
      }
    }
  },
  (reader, shape, bounds) => {
    for (let left = count(reader, 'functions', bounds.functionsMax); left > 0; left--) {
      shape.functions.push(reader.u32('the type of a function'));
    }
  },
  (reader) => {
    for (let left = count(reader, 'tables'); left > 0; left--) table(reader);
  },
  (reader) => {
    const at = reader.at;
    const memories = count(reader, 'memories');
    if (memories > 1) throw new MeterError('feature', at, 'has several memories, which filters may not');
    for (let left = memories; left > 0; left--) limits(reader, 'memory');
  },
  (reader, shape) => {
    shape.globals = count(reader, 'globals');
    for (let left = shape.globals; left > 0; left--) {
      valueType(reader);
      mutability(reader);
      constant(reader, shape);
    }
  },
  (reader, shape) => {
    shape.exports = count(reader, 'exports');
    for (let left = shape.exports; left > 0; left--) {
      const at = reader.at;
      const name = reader.name('the name of an export');
      if (name.startsWith(RESERVED_PREFIX)) {
        const shown = JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
        throw new MeterError(
          'reserved',
          at,
          `exports ${shown}; names that begin with weir. belong to the host`,
        );
      }
      const kind = reader.byte('the kind of an export');
      const index = reader.u32('the index of an export');
      if (kind !== 0) continue;
      shape.exported.add(index);
      shape.exportedNames.set(name, index);
    }
  },
  (reader, shape) => {
    shape.exported.add(reader.u32('the start function'));
  },
  (reader, shape) => {
    for (let left = count(reader, 'element segments'); left > 0; left--) {
      const at = reader.at;
      const flags = reader.u32('flags of an element segment');
      if (flags > 7) throw new MeterError('malformed', at, `element segment flags ${flags} are not known`);
      const active = (flags & 1) === 0;
      if (active && (flags & 2) !== 0) reader.u32('the table of an element segment');
      if (active) constant(reader, shape);
      if ((flags & 3) !== 0) {
        if ((flags & 4) !== 0) valueType(reader);
        else reader.byte('the kind of an element segment');
      }
      for (let n = count(reader, 'elements'); n > 0; n--) {
        if ((flags & 4) !== 0) constant(reader, shape);
        else shape.referenced.add(reader.u32('a function of an element segment'));
      }
    }
  },
  (reader, shape, bounds) => {
    for (let left = count(reader, 'function bodies', bounds.functionsMax); left > 0; left--) {
      const bytes = reader.u32('the size of a function body');
      const part = reader.part(bytes, 'a function body');
      shape.bodies.push({ start: part.at, end: part.end });
    }
  },
  (reader, shape) => {
    for (let left = count(reader, 'data segments'); left > 0; left--) {
      const at = reader.at;
      const flags = reader.u32('flags of a data segment');
      if (flags > 2) throw new MeterError('malformed', at, `data segment flags ${flags} are not known`);
      if (flags === 2 && reader.u32('the memory of a data segment') !== 0) {
        throw new MeterError('feature', at, 'uses several memories, which filters may not');
      }
      if (flags !== 1) constant(reader, shape);
      reader.skip(reader.u32('the size of a data segment'), 'a data segment');
    }
  },
  (reader) => {
    reader.u32('the count of data segments');
  },
];

const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** Reads a module's sections. @throws {MeterError} */
export function parseModule(bytes: Uint8Array, bounds: ModuleBounds): ModuleShape {
  if (magic.some((byte, index) => bytes[index] !== byte)) {
    throw new MeterError('malformed', 0, 'is not a WebAssembly module of version 1 (magic and version)');
  }
  const shape: ModuleShape = {
    bytes,
    sections: [],
    types: [],
    importedFunctions: [],
    importedGlobals: 0,
    functions: [],
    globals: 0,
    exports: 0,
    bodies: [],
    referenced: new Set(),
    exported: new Set(),
    exportedNames: new Map(),
  };
  const reader = new Reader(bytes, magic.length, bytes.length);
  let last = 0;
  while (!reader.done) {
    const at = reader.at;
    const id = reader.byte('a section');
    const label = sectionNames[id];
    if (label === undefined) {
      const what = id === 13 ? 'has tags (exceptions), which filters may not' : `section ${id} is not known`;
      throw new MeterError('feature', at, what);
    }
    const section = reader.part(reader.u32('the size of a section'), `the ${label} section`);
    const name = id === 0 ? section.name('the name of a custom section') : '';
    shape.sections.push({ id, start: section.at, end: section.end, name });
    if (id === 0) continue;
    const place = sectionOrder[id] as number;
    if (place <= last) {
      throw new MeterError('malformed', at, `the ${label} section is out of order or there twice`);
    }
    last = place;
    parsers[id]?.(section, shape, bounds);
    if (!section.done) {
      throw new MeterError('malformed', section.at, `bytes follow the contents of the ${label} section`);
    }
  }
  if (shape.bodies.length !== shape.functions.length) {
    throw new MeterError(
      'malformed',
      bytes.length,
      `declares ${shape.functions.length} functions but has ${shape.bodies.length} bodies`,
    );
  }
  return shape;
}

export function typeOf(shape: ModuleShape, index: number, at: number): FunctionType {
  const type = shape.types[index];
  if (type === undefined) throw new MeterError('malformed', at, `type ${index} does not exist`);
  return type;
}

/** The type of a function of the whole index space, imported ones first. */
export function functionType(shape: ModuleShape, index: number, at: number): FunctionType {
  const imported = shape.importedFunctions.length;
  const type = index < imported ? shape.importedFunctions[index] : shape.functions[index - imported];
  if (type === undefined) throw new MeterError('malformed', at, `function ${index} does not exist`);
  return typeOf(shape, type, at);
}
