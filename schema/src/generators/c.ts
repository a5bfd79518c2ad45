// SPDX-License-Identifier: Apache-2.0
// Writes the C header that kernel programs include.
import type { Enumeration, FieldType, Layout } from '../layout.js';
import { banner, upper } from './names.js';

function declare(name: string, type: FieldType): string {
  const scalar = (kind: string) => (kind.startsWith('u') ? `__u${kind.slice(1)}` : `__s${kind.slice(1)}`);
  if (type === 'span') return `struct weir_span ${name}`;
  if (typeof type === 'string') return `${scalar(type)} ${name}`;
  if ('struct' in type)
    return `struct weir_${type.struct.name} ${name}${type.count === 1 ? '' : `[${type.count}]`}`;
  return `${scalar(type.array)} ${name}[${type.count}]`;
}

function struct(layout: Layout): string {
  const lines = layout.fields.map((entry) => {
    const doc = entry.doc === '' ? '' : ` // ${entry.doc}`;
    return `    ${declare(entry.name, entry.type)};${doc}`;
  });
  const asserts = layout.fields.map(
    (entry) =>
      `_Static_assert(__builtin_offsetof(struct weir_${layout.name}, ${entry.name}) == ${entry.offset}, "${layout.name}.${entry.name}");`,
  );
  return [
    `// ${layout.doc}`,
    `struct weir_${layout.name} {`,
    ...lines,
    '};',
    `_Static_assert(sizeof(struct weir_${layout.name}) == ${layout.byteLength}, "${layout.name}");`,
    ...asserts,
    '',
  ].join('\n');
}

function enumerate(entry: Enumeration): string {
  const prefix = `WEIR_${upper(entry.name)}`;
  return [
    `// ${entry.doc}`,
    `enum weir_${entry.name} {`,
    ...entry.values.map(
      (value) =>
        `    ${prefix}_${upper(value.name)} = ${value.value},${value.doc === '' ? '' : ` // ${value.doc}`}`,
    ),
    '};',
    '',
  ].join('\n');
}

/** Makes the C header; the includer has defined __u8 to __u64 and __s32, __s64. */
export function cHeader(
  enumerations: readonly Enumeration[],
  layouts: readonly Layout[],
  limits: Readonly<Record<string, number>>,
): string {
  return [
    '/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */',
    banner('//'),
    '#ifndef WEIR_GENERATED_H',
    '#define WEIR_GENERATED_H',
    '',
    ...Object.entries(limits).map(([name, value]) => `#define WEIR_LIMIT_${upper(name)} ${value}`),
    '',
    '// Offset and length in bytes; what the offset counts from is said by the struct that holds it.',
    'struct weir_span {',
    '    __u32 offset;',
    '    __u32 length;',
    '};',
    '',
    ...enumerations.map(enumerate),
    ...layouts.map(struct),
    '#endif',
    '',
  ].join('\n');
}

/** Makes the header of the parts of a batch, for code that includes the one above first. */
export function cBatchHeader(layouts: readonly Layout[]): string {
  return [
    '/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */',
    banner('//'),
    '#ifndef WEIR_BATCH_GENERATED_H',
    '#define WEIR_BATCH_GENERATED_H',
    '',
    ...layouts.map(struct),
    '#endif',
    '',
  ].join('\n');
}
