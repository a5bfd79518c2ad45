// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parsePolicies, plan } from '@weir/policy';
import { ArgumentSource, ArgumentType } from '@weir/schema';
import { afterAll, describe, expect, it } from 'vitest';
import { parseFormat, placesOf, readFormat, typeOfRecordField } from './tracepoint.js';

const format = `name: sched_process_exec
ID: 365
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:__data_loc char[] filename;	offset:8;	size:4;	signed:0;
	field:pid_t pid;	offset:12;	size:4;	signed:1;
	field:char comm[16];	offset:16;	size:16;	signed:0;
	field:const char * name;	offset:32;	size:8;	signed:0;
	field:unsigned long args[6];	offset:40;	size:48;	signed:0;
	field:u8 kind;	offset:88;	size:1;	signed:0;

print fmt: "%s", __get_str(filename)
`;
const root = mkdtempSync(join(tmpdir(), 'weir-tracefs-'));
mkdirSync(join(root, 'events/sched/some_event'), { recursive: true });
writeFileSync(join(root, 'events/sched/some_event/format'), format);
afterAll(() => rmSync(root, { recursive: true }));

function places(args: readonly object[], subsystem = 'sched') {
  const event = { subsystem, event: 'some_event', args };
  const [policy] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name: 'p' },
      spec: { tracepoints: [event] },
    }),
  );
  const [hook] = policy === undefined ? [] : plan([{ id: 1, policy }]).hooks;
  if (hook === undefined) throw new Error('there is no hook');
  return placesOf(hook, [root]);
}

describe('the places of a tracepoint', () => {
  it('are read from its format', () => {
    expect(parseFormat(format).slice(4)).toEqual([
      { name: 'filename', type: '__data_loc char[]', offset: 8, size: 4, signed: false },
      { name: 'pid', type: 'pid_t', offset: 12, size: 4, signed: true },
      { name: 'comm', type: 'char[16]', offset: 16, size: 16, signed: false },
      { name: 'name', type: 'const char *', offset: 32, size: 8, signed: false },
      { name: 'args', type: 'unsigned long[6]', offset: 40, size: 48, signed: false },
      { name: 'kind', type: 'u8', offset: 88, size: 1, signed: false },
    ]);
    expect(parseFormat('field:\nfield:x;\noffset:1;')).toEqual([]);
  });

  it('are those of the fields, with the types that these have where the policy leaves them open', () => {
    expect(
      places([{ index: 4 }, { index: 5 }, { index: 6, type: 'string' }, { index: 9, type: 'int64' }]),
    ).toEqual([
      { type: ArgumentType.string, source: ArgumentSource.recordData, offset: 8, size: 4 },
      { type: ArgumentType.int32, source: ArgumentSource.recordSigned, offset: 12, size: 4 },
      { type: ArgumentType.string, source: ArgumentSource.recordText, offset: 16, size: 16 },
      { type: ArgumentType.int64, source: ArgumentSource.record, offset: 88, size: 1 },
    ]);
  });

  it('are those of addresses where a field or a buffer is meant, with where the number of bytes lies', () => {
    const buffer = { type: 'char_buf', sizeArgIndex: 6 };
    expect(
      places([
        { index: 7, ...buffer },
        { index: 7, type: 'int', resolve: 'l_onoff', btfType: 'linger' },
        { index: 0, type: 'string', source: 'current_task', resolve: 'comm' },
      ]),
    ).toEqual([
      { type: ArgumentType.charBuf, source: ArgumentSource.record, offset: 32, size: 4 * 12 + 2 },
      { type: ArgumentType.int32, source: ArgumentSource.record, offset: 32, size: 8 },
      undefined,
    ]);
    expect(() => places([{ index: 5, ...buffer }])).toThrow('is no address');
    expect(() => places([{ index: 7, type: 'char_buf', sizeArgIndex: 5 }])).toThrow(
      'says no number of bytes',
    );
    expect(() => places([{ index: 7, type: 'char_buf', sizeArgIndex: 20 }])).toThrow('there is no field 19');
  });

  it('say what a field is where the policy leaves it open', () => {
    const typeOf = (index: number) =>
      typeOfRecordField({ subsystem: 'sched', event: 'some_event', raw: false }, index, [root])?.type;
    expect([4, 5, 8, 9, 10].map(typeOf)).toEqual([
      ArgumentType.string,
      ArgumentType.int32,
      ArgumentType.none,
      ArgumentType.uint8,
      undefined,
    ]);
  });

  it.each([
    [[{ index: 4, type: 'int' }], 'holds text: int32 cannot be read'],
    [[{ index: 5, type: 'string' }], 'is a number, not the address of what string would be'],
    [[{ index: 5, type: 'data_loc' }], 'is no __data_loc'],
    [[{ index: 8, type: 'uint64' }], 'neither a number nor text'],
    [
      [{ index: 10, type: 'int' }],
      'there is no field 10 on this kernel; it has 4 __data_loc char[] filename, 5 pid_t',
    ],
  ])('are refused where a field cannot be what is asked: %j', (args, reason) => {
    expect(() => places(args)).toThrow(reason);
  });

  it('are refused where tracefs has no such tracepoint, or is not mounted', () => {
    expect(() => readFormat({ subsystem: 'sched', event: 'none' }, [root])).toThrow(
      'this kernel has no tracepoint sched:none',
    );
    expect(() => readFormat({ subsystem: 'sched', event: 'some_event' }, ['/nowhere'])).toThrow(
      /tracefs is not mounted at \/nowhere.*mount -t tracefs/,
    );
  });
});
