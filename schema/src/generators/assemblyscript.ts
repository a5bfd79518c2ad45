// SPDX-License-Identifier: Apache-2.0
// Writes the AssemblyScript side: one accessor a field, all unsafe loads of the SDK in this one file.
import type { HashAlgorithm } from '../hash-algorithms.js';
import { type Enumeration, type FieldType, type Layout, scalarBytes } from '../layout.js';
import { banner, camel, pascal } from './names.js';

/** Words that AssemblyScript does not take as the name of an enum's member. */
const reserved: readonly string[] = ['protected', 'override'];

function member(name: string): string {
  return reserved.includes(name) ? `${name}_` : name;
}

/** Filters write nothing but the structs of the filter ABI. */
function writable(layout: Layout): boolean {
  return layout.name.startsWith('filter_');
}

function accessor(layout: Layout, name: string, type: FieldType, offset: number, doc: string): string[] {
  const base = `${camel(layout.name)}${pascal(name)}`;
  const comment = doc === '' ? [] : [`/** ${doc} */`];
  if (type === 'span') {
    return [
      ...comment,
      `@inline export function ${base}Offset(at: usize): u32 { return load<u32>(at, ${offset}); }`,
      `@inline export function ${base}Length(at: usize): u32 { return load<u32>(at, ${offset + 4}); }`,
      ...(writable(layout)
        ? [
            `@inline export function set${pascal(base)}(at: usize, offset: u32, length: u32): void { store<u32>(at, offset, ${offset}); store<u32>(at, length, ${offset + 4}); }`,
          ]
        : []),
    ];
  }
  if (typeof type === 'string') {
    return [
      ...comment,
      `@inline export function ${base}(at: usize): ${type} { return load<${type}>(at, ${offset}); }`,
      ...(writable(layout)
        ? [
            `@inline export function set${pascal(base)}(at: usize, value: ${type}): void { store<${type}>(at, value, ${offset}); }`,
          ]
        : []),
    ];
  }
  if ('struct' in type) return [`export const ${base}At: usize = ${offset};`];
  const bytes = scalarBytes[type.array];
  return [
    ...comment,
    `@inline export function ${base}(at: usize, index: u32): ${type.array} { return load<${type.array}>(at + <usize>index * ${bytes}, ${offset}); }`,
    `export const ${base}At: usize = ${offset};`,
  ];
}

/** Makes the AssemblyScript module. Accessors trust their address: only the SDK calls them. */
/** How long digests are, where that is less than there is room for. */
function digestLengths(algorithms: ReadonlyMap<number, HashAlgorithm>, most: number): string[] {
  const shorter = [...algorithms].filter(([, { digestBytes }]) => digestBytes < most);
  const lengths = [...new Set(shorter.map(([, { digestBytes }]) => digestBytes))];
  return [
    "/** Bytes of a digest, by the kernel's number of its algorithm (hash_algo); all that there can be where it is not known. */",
    'export function digestBytes(algorithm: u32): u32 {',
    '  switch (algorithm) {',
    ...lengths.flatMap((bytes) => [
      ...shorter
        .filter(([, { digestBytes }]) => digestBytes === bytes)
        .map(([number, { name }]) => `    case ${number}: // ${name}`),
      `      return ${bytes};`,
    ]),
    '    default:',
    `      return ${most};`,
    '  }',
    '}',
    '',
  ];
}

export function assemblyScript(
  enumerations: readonly Enumeration[],
  layouts: readonly Layout[],
  algorithms: ReadonlyMap<number, HashAlgorithm>,
  digestBytesMax: number,
): string {
  return [
    '// SPDX-License-Identifier: Apache-2.0',
    banner('//'),
    ...enumerations.flatMap((entry) => [
      `/** ${entry.doc} */`,
      `export enum ${pascal(entry.name)} {`,
      ...entry.values.map((value) => `  ${member(camel(value.name))} = ${value.value},`),
      '}',
      '',
    ]),
    ...layouts.flatMap((entry) => [
      `// ${entry.doc}`,
      `export const ${camel(entry.name)}Bytes: u32 = ${entry.byteLength};`,
      ...entry.fields.flatMap((item) => accessor(entry, item.name, item.type, item.offset, item.doc)),
      '',
    ]),
    ...digestLengths(algorithms, digestBytesMax),
  ].join('\n');
}
