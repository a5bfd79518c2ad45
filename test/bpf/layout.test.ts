// SPDX-License-Identifier: Apache-2.0
// What the compiler made of the structs that programs and TypeScript share, compared with the offsets that
// TypeScript reads at.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as schema from '@weir/schema';
import { describe, expect, test } from 'vitest';
import { readStructs } from './btf.js';

const build = join(dirname(fileURLToPath(import.meta.url)), '../../bpf/build');
const objects = existsSync(build) ? readdirSync(build).filter((name) => name.endsWith('.bpf.o')) : [];
const constants = schema as unknown as Readonly<Record<string, unknown>>;

test('the objects are built: make -C bpf', () => {
  expect(objects).toContain('process.bpf.o');
});

// What goes on with the programs of slots knows none of the agent's records.
describe.each(objects.filter((name) => name !== 'slot.bpf.o'))('%s', (name) => {
  const shared = readStructs(readFileSync(join(build, name))).filter(
    (struct) => struct.name.startsWith('weir_') && struct.name !== 'weir_span',
  );

  test('has the records that its programs write', () => {
    const names = shared.map((struct) => struct.name);
    // This one writes no records.
    expect(names).toContain(name === 'socket.bpf.o' ? 'weir_socket_owner' : 'weir_record_header');
    if (name === 'process.bpf.o') {
      expect(names).toEqual(
        expect.arrayContaining(['weir_exec_record', 'weir_clone_record', 'weir_exit_record']),
      );
    }
  });

  test.each(shared)('$name is as TypeScript reads it', ({ name: struct, bytes, members }) => {
    const prefix = struct.slice('weir_'.length).toUpperCase();
    expect({ bytes }).toEqual({ bytes: constants[`${prefix}_BYTES`] });
    const offsets = Object.fromEntries(members.map((member) => [member.name, member.offset]));
    const expected = members.map((member) => [
      member.name,
      constants[`${prefix}_${member.name.toUpperCase()}_AT`],
    ]);
    expect(offsets).toEqual(Object.fromEntries(expected));
  });
});
