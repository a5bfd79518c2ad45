// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findSymbol, parseMaps, parseSymbols, StackNames } from './stack-names.js';

const kallsyms = [
  'ffffffff81000000 T _stext',
  'ffffffff81000100 T vfs_open',
  'ffffffff81000200 D not_code',
  'ffffffff81000300 t __pfx_vfs_read',
  'ffffffff81000300 T vfs_read',
  'ffffffff81000400 T _etext',
  'ffffffff82000000 B _end',
  'ffffffffc0100000 t nf_hook\t[nf]',
  'ffffffffc0000010 t ovl_open\t[overlay]',
  'ffffffffc0200000 t bpf_prog_1_observe\t[bpf]',
  'nonsense',
].join('\n');
const moduleList = [
  'nf 4096 1 - Live 0xffffffffc0100000',
  'overlay 8192 0 - Live 0xffffffffc0000000 (E)',
  '',
].join('\n');

describe('symbols of the kernel', () => {
  const table = parseSymbols(kallsyms, moduleList);

  it.each([
    [0xffffffff81000100n, 'vfs_open', 0n, ''],
    [0xffffffff810002ffn, 'vfs_open', 0x1ffn, ''],
    [0xffffffff81000305n, '__pfx_vfs_read', 5n, ''],
    [0xffffffffc0000012n, 'ovl_open', 2n, 'overlay'],
    [0xffffffffc0100fffn, 'nf_hook', 0xfffn, 'nf'],
  ])('finds %s', (address, symbol, offset, module) => {
    expect(findSymbol(table, address)).toEqual({ symbol, offset, module });
  });

  it.each([
    ['before the first', 0xffffffff80ffffffn],
    ['behind the code', 0xffffffff81000400n],
    ['behind the end of a module', 0xffffffffc0101000n],
    ['of a program that was compiled for the moment', 0xffffffffc0200010n],
    ['of nothing', 0n],
  ])('finds none for an address %s', (_, address) => {
    expect(findSymbol(table, address)).toBeUndefined();
  });

  it('has none where the kernel hides them', () => {
    const hidden = parseSymbols('0000000000000000 T _stext\n0000000000000000 T _etext\n', '');
    expect(findSymbol(hidden, 0xffffffff81000100n)).toBeUndefined();
  });
});

describe('files of a process', () => {
  const maps = [
    '00400000-00401000 r--p 00000000 08:01 11 /usr/bin/a program',
    '00401000-00480000 r-xp 00001000 08:01 11                         /usr/bin/a program',
    '00480000-00490000 rwxp 00000000 00:00 0 ',
    'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0          [vsyscall]',
    'x',
  ].join('\n');

  it('are those that are mapped to be executed', () => {
    expect(parseMaps(Buffer.from(maps))).toEqual([
      { from: 0x401000, to: 0x480000, fileOffset: 0x1000, path: '/usr/bin/a program' },
    ]);
    expect(parseMaps(new Uint8Array(0))).toEqual([]);
  });

  const folder = mkdtempSync(join(tmpdir(), 'weir-stack-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are of the process and the program that made the event, or of none', () => {
    mkdirSync(join(folder, '7'));
    writeFileSync(join(folder, '7/maps'), maps);
    symlinkSync('/usr/bin/a program', join(folder, '7/exe'));
    const fields = Array.from({ length: 50 }, (_, n) => (n === 19 ? '1234' : '0')).join(' ');
    writeFileSync(join(folder, '7/stat'), `7 (a) program) ${fields}`.replace(') 0 ', ') S '));
    let nowMs = 0;
    const names = new StackNames({ procPath: folder, nowMs: () => nowMs });
    const owner = { execId: 'a', pid: 7, startNs: 12_345_678_901n, binary: '/usr/bin/a program' };
    expect(names.user(owner, 0x401234n)).toEqual({ module: '/usr/bin/a program', offset: 0x1234n });
    expect(names.user(owner, 0x480000n)).toBeUndefined();
    expect(names.user({ ...owner, execId: 'b', startNs: 12_350_000_000n }, 0x401234n)).toBeUndefined();
    expect(names.user({ ...owner, execId: 'c', binary: '/usr/bin/b' }, 0x401234n)).toBeUndefined();

    // It maps a library, and is looked at again in a while; then it ends, and stays known.
    writeFileSync(join(folder, '7/maps'), `${maps}\n00500000-00600000 r-xp 00000000 08:01 12 /lib/x.so\n`);
    expect(names.user(owner, 0x500010n)).toBeUndefined();
    nowMs = 1000;
    expect(names.user(owner, 0x500010n)).toEqual({ module: '/lib/x.so', offset: 0x10n });
    rmSync(join(folder, '7'), { recursive: true });
    nowMs = 3000;
    expect(names.user(owner, 0x700000n)).toBeUndefined();
    expect(names.user(owner, 0x500010n)).toEqual({ module: '/lib/x.so', offset: 0x10n });
  });
});
