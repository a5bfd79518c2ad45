// SPDX-License-Identifier: Apache-2.0
// Writes the TypeScript side: offsets as constants for the hot path, and for cold paths an interface, a reader and
// a writer of each struct.
import { type Enumeration, type FieldType, type Layout, scalarBytes } from '../layout.js';
import { banner, camel, pascal, upper } from './names.js';

const getters: Record<string, string> = {
  u8: 'Uint8',
  u16: 'Uint16',
  u32: 'Uint32',
  u64: 'BigUint64',
  i32: 'Int32',
  i64: 'BigInt64',
};

function access(kind: string): { get: (at: string) => string; set: (at: string, value: string) => string } {
  const littleEndian = kind === 'u8' ? '' : ', true';
  return {
    get: (at) => `view.get${getters[kind]}(${at}${littleEndian})`,
    set: (at, value) => `view.set${getters[kind]}(${at}, ${value}${littleEndian})`,
  };
}

function typeOf(type: FieldType): string {
  const scalar = (kind: string) => (kind.endsWith('64') ? 'bigint' : 'number');
  if (type === 'span') return 'Span';
  if (typeof type === 'string') return scalar(type);
  if ('struct' in type)
    return type.count === 1 ? pascal(type.struct.name) : `readonly ${pascal(type.struct.name)}[]`;
  return `readonly ${scalar(type.array)}[]`;
}

function read(type: FieldType, at: string): string {
  if (type === 'span')
    return `{ offset: view.getUint32(${at}, true), length: view.getUint32(${at} + 4, true) }`;
  if (typeof type === 'string') return access(type).get(at);
  if ('struct' in type) {
    const one = `read${pascal(type.struct.name)}(view, ${at}`;
    if (type.count === 1) return `${one})`;
    return `Array.from({ length: ${type.count} }, (_, i) => ${one} + i * ${type.struct.byteLength}))`;
  }
  return `Array.from({ length: ${type.count} }, (_, i) => ${access(type.array).get(`${at} + i * ${scalarBytes[type.array]}`)})`;
}

function write(type: FieldType, at: string, value: string): string {
  if (type === 'span') {
    return `view.setUint32(${at}, ${value}.offset, true);\n  view.setUint32(${at} + 4, ${value}.length, true);`;
  }
  if (typeof type === 'string') return `${access(type).set(at, value)};`;
  if ('struct' in type) {
    const name = `write${pascal(type.struct.name)}`;
    if (type.count === 1) return `${name}(view, ${at}, ${value});`;
    return `${value}.slice(0, ${type.count}).forEach((item, i) => {\n    ${name}(view, ${at} + i * ${type.struct.byteLength}, item);\n  });`;
  }
  const one = access(type.array).set(`${at} + i * ${scalarBytes[type.array]}`, 'item');
  return `${value}.slice(0, ${type.count}).forEach((item, i) => {\n    ${one};\n  });`;
}

function struct(layout: Layout): string {
  const name = pascal(layout.name);
  const prefix = upper(layout.name);
  const at = (offset: number) => (offset === 0 ? 'at' : `at + ${offset}`);
  return [
    ...layout.fields.map((entry) => `export const ${prefix}_${upper(entry.name)}_AT = ${entry.offset};`),
    `export const ${prefix}_BYTES = ${layout.byteLength};`,
    '',
    `/** ${layout.doc} */`,
    `export interface ${name} {`,
    ...layout.fields.flatMap((entry) => [
      ...(entry.doc === '' ? [] : [`  /** ${entry.doc} */`]),
      `  ${camel(entry.name)}: ${typeOf(entry.type)};`,
    ]),
    '}',
    '',
    `/** Reads ${layout.byteLength} bytes. @throws {RangeError} where they reach past the view. */`,
    `export function read${name}(view: DataView, at: number): ${name} {`,
    '  return {',
    ...layout.fields.map((entry) => `    ${camel(entry.name)}: ${read(entry.type, at(entry.offset))},`),
    '  };',
    '}',
    '',
    `/** Writes ${layout.byteLength} bytes. @throws {RangeError} where they reach past the view. */`,
    `export function write${name}(view: DataView, at: number, value: ${name}): void {`,
    ...layout.fields.map((entry) => `  ${write(entry.type, at(entry.offset), `value.${camel(entry.name)}`)}`),
    '}',
    '',
    `/** Makes a ${name} of zeros, with the given fields set. */`,
    `export function make${name}(fields: Partial<${name}> = {}): ${name} {`,
    `  return { ...read${name}(zeros, 0), ...fields };`,
    '}',
    '',
  ].join('\n');
}

function enumerate(entry: Enumeration): string {
  const name = pascal(entry.name);
  return [
    `/** ${entry.doc} */`,
    `export const ${name} = {`,
    ...entry.values.flatMap((value) => [
      ...(value.doc === '' ? [] : [`  /** ${value.doc} */`]),
      `  ${camel(value.name)}: ${value.value},`,
    ]),
    '} as const;',
    `export type ${name} = (typeof ${name})[keyof typeof ${name}];`,
    `/** Names of ${entry.name}, by number, as events and the archive spell them. */`,
    `export const ${camel(entry.name)}Names: Readonly<Record<number, string>> = {`,
    ...entry.values.map((value) => `  ${value.value}: '${value.name}',`),
    '};',
    '',
  ].join('\n');
}

/** Makes the TypeScript module. */
export function typeScript(enumerations: readonly Enumeration[], layouts: readonly Layout[]): string {
  const largest = Math.max(...layouts.map((entry) => entry.byteLength));
  return [
    '// SPDX-License-Identifier: Apache-2.0',
    banner('//'),
    '/** Offset and length in bytes; what the offset counts from is said by the struct that holds it. */',
    'export interface Span {',
    '  offset: number;',
    '  length: number;',
    '}',
    '',
    `const zeros = new DataView(new ArrayBuffer(${largest}));`,
    '',
    ...enumerations.map(enumerate),
    ...layouts.map(struct),
  ].join('\n');
}
