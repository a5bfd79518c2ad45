// SPDX-License-Identifier: Apache-2.0
// Owns modules that must not get in, each with the code and the reason of its refusal. No tool would make most of
// them: they are put together byte by byte.
import {
  assemble,
  body,
  custom,
  exported,
  functionType,
  i32,
  leb,
  magic,
  manifest,
  name,
  type Parts,
  parts,
  section,
} from '../../filters/accept/src/fixtures.js';

export interface RefusedAttack {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly code: string;
  readonly reason: RegExp;
}

function changed(change: (from: Parts) => void): Uint8Array {
  const from = parts();
  change(from);
  return assemble(from);
}

const utf8 = (text: string) => [...new TextEncoder().encode(text)];

/** A module whose manifest is these bytes. */
function withManifest(bytes: readonly number[]): Uint8Array {
  return changed((from) => {
    from.manifest = undefined;
    from.after = custom('weir.manifest', bytes);
  });
}

/** A module whose manifest has these fields beside or in place of the valid ones, as JSON text. */
function withFields(fields: Record<string, unknown>): Uint8Array {
  return changed((from) => {
    from.manifest = { ...manifest, ...fields };
  });
}

/** A module with one more function, of type () -> (). */
function withCode(instructions: readonly number[], locals?: readonly number[]): Uint8Array {
  return changed((from) => {
    from.functions.push([3]);
    from.codes.push(locals === undefined ? body(instructions) : body(instructions, locals));
  });
}

/** The same, of instructions that are given its number, which is the last one. */
function withLast(instructions: (last: number) => readonly number[]): Uint8Array {
  return changed((from) => {
    from.functions.push([3]);
    from.codes.push(body(instructions(from.imports.length + from.functions.length - 1)));
  });
}

function withImport(module: string, field: string, description: readonly number[]): Uint8Array {
  return changed((from) => {
    from.imports = [[...name(module), ...name(field), ...description]];
  });
}

/** A module without imports, so that indexes of functions begin at 0. */
function withExports(exports: (valid: Parts['exports']) => Parts['exports']): Uint8Array {
  return changed((from) => {
    from.exports = exports(from.exports);
  });
}

const nop = 0x01;
const many = <T>(count: number, one: T): T[] => new Array<T>(count).fill(one);

const attack = (title: string, code: string, reason: RegExp, bytes: Uint8Array): RefusedAttack => ({
  name: title,
  code,
  reason,
  bytes,
});

export const refusedAttacks: readonly RefusedAttack[] = [
  // What it asks for
  attack(
    'imports a host function that is not given',
    'import',
    /"env\.abort"/,
    withImport('env', 'abort', [0, 3]),
  ),
  attack(
    'imports a system call of WASI',
    'import',
    /wasi_snapshot_preview1\.fd_write/,
    withImport('wasi_snapshot_preview1', 'fd_write', [0, 2]),
  ),
  attack('imports a clock', 'import', /"weir\.now"/, withImport('weir', 'now', [0, 0])),
  attack(
    'imports a name of the prototype',
    'import',
    /weir\.__proto__/,
    withImport('weir', '__proto__', [0, 3]),
  ),
  attack(
    'imports by names of the prototype',
    'import',
    /__proto__\.constructor/,
    withImport('__proto__', 'constructor', [0, 3]),
  ),
  attack(
    'imports log with another type',
    'import',
    /imports weir\.log as/,
    withImport('weir', 'log', [0, 3]),
  ),
  attack('imports log with a type that is not there', 'type', /type 99/, withImport('weir', 'log', [0, 99])),
  attack('imports a memory', 'import', /memory/, withImport('weir', 'memory', [2, 1, 1, 64])),
  attack('imports a table', 'import', /table/, withImport('weir', 'table', [1, 0x70, 0, 1])),
  attack('imports a global', 'import', /global/, withImport('weir', 'global', [3, i32, 1])),
  attack(
    'imports by a name that is not UTF-8',
    'malformed',
    /UTF-8/,
    changed((from) => {
      from.imports = [[2, 0xff, 0xfe, ...name('log'), 0, 2]];
    }),
  ),
  // What it gives
  attack(
    'has no weir_filter',
    'export',
    /weir_filter/,
    withExports((all) => all.slice(0, 3)),
  ),
  attack(
    'exports weir_filter with another type',
    'export',
    /weir_filter as/,
    withExports((all) => [...all.slice(0, 3), exported('weir_filter', 0, 1)]),
  ),
  attack(
    'exports a memory as weir_filter',
    'export',
    /no function/,
    withExports((all) => [...all.slice(0, 3), exported('weir_filter', 2, 0)]),
  ),
  attack(
    'exports a function that is not there',
    'type',
    /does not exist/,
    withExports((all) => [...all.slice(0, 3), exported('weir_filter', 0, 77)]),
  ),
  attack(
    'exports a name twice',
    'malformed',
    /./,
    withExports((all) => [...all, exported('weir_filter', 0, 2)]),
  ),
  attack(
    "exports a name of the ABI's that is not one",
    'export',
    /weir_secret/,
    withExports((all) => [...all, exported('weir_secret', 0, 1)]),
  ),
  attack(
    "exports the host's counter of fuel",
    'export',
    /weir\.fuel/,
    changed((from) => {
      from.globals = [[0x7e, 1, 0x42, 0, 0x0b]];
      from.exports.push(exported('weir.fuel', 3, 0));
    }),
  ),
  attack(
    'exports three hundred names',
    'limit',
    /exports/,
    withExports((all) => [...all, ...Array.from({ length: 300 }, (_, index) => exported(`x${index}`, 0, 1))]),
  ),
  // Memory and tables
  attack(
    'has a memory without a maximum',
    'memory',
    /no maximum/,
    changed((from) => {
      from.memories = [[0, 1]];
    }),
  ),
  attack(
    'has a memory of 4 GiB',
    'memory',
    /may grow to 4294967296 bytes/,
    changed((from) => {
      from.memories = [[1, 1, ...leb(65536)]];
    }),
  ),
  attack(
    'has a memory that begins beyond its maximum',
    'memory',
    /beyond its maximum/,
    changed((from) => {
      from.memories = [[1, ...leb(65), 64]];
    }),
  ),
  attack(
    'has no memory',
    'memory',
    /0 memories/,
    changed((from) => {
      from.memories = [];
      from.exports.shift();
    }),
  ),
  attack(
    'has two memories',
    'memory',
    /memories/,
    changed((from) => {
      from.memories = [
        [1, 1, 64],
        [1, 1, 64],
      ];
    }),
  ),
  attack(
    'has a memory too small for a batch',
    'memory',
    /at least/,
    changed((from) => {
      from.memories = [[1, 1, 2]];
    }),
  ),
  attack(
    'has shared memory',
    'memory',
    /shared|threads|flags/,
    changed((from) => {
      from.memories = [[3, 1, 64]];
    }),
  ),
  attack(
    'has a memory of 64 bits',
    'memory',
    /limits 0x5/,
    changed((from) => {
      from.memories = [[5, 1, 64]];
    }),
  ),
  attack(
    'has a table of a million elements',
    'table',
    /1000000/,
    changed((from) => {
      from.tables = [[0x70, 1, ...leb(1_000_000), ...leb(1_000_000)]];
    }),
  ),
  attack(
    'has a table without a maximum',
    'table',
    /maximum/,
    changed((from) => {
      from.tables = [[0x70, 0, 1]];
    }),
  ),
  attack(
    'has two tables',
    'table',
    /2 tables/,
    changed((from) => {
      from.tables = [
        [0x70, 1, 1, 1],
        [0x70, 1, 1, 1],
      ];
    }),
  ),
  // Numbers
  attack(
    'has five thousand functions',
    'limit',
    /functions/,
    changed((from) => {
      from.functions.push(...many(5000, [3]));
      from.codes.push(...many(5000, body([])));
    }),
  ),
  attack('has a function of 200 KB', 'limit', /function body/, withCode(many(200_000, nop))),
  attack('has four billion locals', 'limit', /locals/, withCode([], [1, ...leb(4_000_000_000), i32])),
  attack(
    'has locals that add up beyond 32 bits',
    'limit',
    /locals/,
    withCode([], [2, ...leb(4_294_967_295), i32, ...leb(4_294_967_295), i32]),
  ),
  attack(
    'has two thousand globals',
    'limit',
    /globals/,
    changed((from) => {
      from.globals = many(2000, [i32, 1, 0x41, 0, 0x0b]);
    }),
  ),
  attack(
    'has two thousand types',
    'limit',
    /types/,
    changed((from) => {
      from.types.push(...many(2000, functionType([], [])));
    }),
  ),
  attack(
    'has two thousand data segments',
    'limit',
    /data segments/,
    changed((from) => {
      from.data = many(2000, [1, 0]);
    }),
  ),
  attack(
    'has a thousand element segments',
    'limit',
    /element segments/,
    changed((from) => {
      from.elements = many(1000, [1, 0, 0]);
    }),
  ),
  attack(
    'counts four billion types that are not there',
    'limit',
    /4294967295 types/,
    Uint8Array.from([...magic, ...section(1, leb(4_294_967_295))]),
  ),
  attack(
    'has more than 1 MiB',
    'size',
    /at most 1048576/,
    changed((from) => {
      from.after = custom('padding', many(1_048_576, 0));
    }),
  ),
  attack(
    'nests blocks ten thousand deep',
    'limit',
    /nest/,
    withCode([...many(10_000, [0x02, 0x40]).flat(), ...many(10_000, 0x0b)]),
  ),
  // Shape
  attack('is empty', 'malformed', /./, new Uint8Array(0)),
  attack('ends after its first byte', 'malformed', /./, Uint8Array.from([0])),
  attack('is an ELF file', 'malformed', /./, Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, ...many(60, 0)])),
  attack(
    'is of another version of WebAssembly',
    'malformed',
    /./,
    Uint8Array.from([0, 0x61, 0x73, 0x6d, 13, 0, 1, 0]),
  ),
  attack(
    'has a section that ends beyond the module',
    'malformed',
    /./,
    Uint8Array.from([...magic, 1, ...leb(500), 0]),
  ),
  attack(
    'has a section that ends within a type',
    'malformed',
    /./,
    Uint8Array.from([...magic, ...section(1, [1, 0x60, 5])]),
  ),
  attack(
    'has bytes behind the end of a section',
    'malformed',
    /./,
    Uint8Array.from([...magic, ...section(1, [0, 9, 9])]),
  ),
  attack(
    'has a number of six bytes',
    'malformed',
    /./,
    Uint8Array.from([...magic, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
  ),
  attack(
    'has a section of an unknown kind',
    'section',
    /section 77/,
    changed((from) => {
      from.before = section(77, [0]);
    }),
  ),
  attack(
    'has sections out of order',
    'section',
    /out of order/,
    changed((from) => {
      from.before = section(10, [0]);
    }),
  ),
  attack(
    'has a section twice',
    'section',
    /twice/,
    changed((from) => {
      from.before = section(1, [0]);
    }),
  ),
  attack(
    'has a section of exception tags',
    'section',
    /section 13/,
    changed((from) => {
      from.before = section(13, [0]);
    }),
  ),
  attack(
    'has fewer bodies than functions',
    'malformed',
    /bodies/,
    changed((from) => {
      from.codes.pop();
    }),
  ),
  attack(
    'has a start function',
    'start',
    /weir_start/,
    changed((from) => {
      from.functions.push([3]);
      from.codes.push(body([]));
      from.start = [4];
    }),
  ),
  attack(
    'has a custom section whose name ends beyond it',
    'malformed',
    /./,
    changed((from) => {
      from.after = section(0, [...leb(90), 1]);
    }),
  ),
  // Instructions
  attack('waits with an atomic instruction', 'feature', /thread|atomic/, withCode([0xfe, 0x03, 0])),
  attack(
    'uses relaxed SIMD, whose results differ by machine',
    'feature',
    /relaxed/,
    withCode([0xfd, ...leb(0x100)]),
  ),
  attack('throws an exception', 'feature', /exception/, withCode([0x08, 0])),
  attack('calls as its last act', 'feature', /tail/, withCode([0x12, 4])),
  attack('uses an instruction that is none', 'feature', /0xff|not/, withCode([0xff])),
  attack('leaves its stack as it must not', 'invalid', /validate/, withCode([0x41, 0])),
  attack('branches out of its function', 'invalid', /validate/, withCode([0x0c, 9])),
  attack('calls a function that is not there', 'invalid', /validate/, withCode([0x10, ...leb(4000)])),
  attack(
    'calls the function behind its last',
    'invalid',
    /validate/,
    withLast((last) => [0x10, ...leb(last + 1)]),
  ),
  attack(
    'takes a reference of the function behind its last',
    'invalid',
    /validate/,
    withLast((last) => [0xd2, ...leb(last + 1), 0x1a]),
  ),
  ...[0, 1, 2, 6, 8, 9].map((beyond) =>
    attack(
      `sets the global ${beyond + 1} behind its last`,
      'invalid',
      /validate/,
      changed((from) => {
        from.functions.push([3]);
        from.codes.push(body([0x42, 1, 0x24, ...leb(from.globals.length + beyond)]));
      }),
    ),
  ),
  attack(
    'exports the function behind its last',
    'invalid',
    /validate/,
    withExports((valid) => [...valid, exported('run', 0, 40)]),
  ),
  attack(
    'has a block of a typed reference',
    'feature',
    /block type 0x63/,
    withCode([0x02, 0x63, 0x70, 0xd0, 0x70, 0x0b, 0x1a]),
  ),
  attack(
    'hides a tail call behind a block of a typed reference',
    'feature',
    /block type 0x64/,
    withCode([0x02, 0x64, 0x10, 0x12, 3, 0x0b, 0x1a]),
  ),
  attack('has a block of a negative index', 'feature', /block type/, withCode([0x02, 0xc0, 0x7f, 0x0b])),
  attack('makes a null of a type by its index', 'feature', /reference type 0x03/, withCode([0xd0, 3, 0x1a])),
  attack(
    'chooses among typed references',
    'feature',
    /value type 0x63/,
    withCode([0xd0, 0x70, 0xd0, 0x70, 0x41, 0, 0x1c, 1, 0x63, 0x70, 0x1a]),
  ),
  attack(
    'chooses among two types',
    'malformed',
    /one type/,
    withCode([0x41, 0, 0x41, 0, 0x41, 0, 0x1c, 2, i32, i32, 0x1a]),
  ),
  // Manifest
  attack(
    'has no manifest',
    'manifest',
    /weir\.manifest/,
    changed((from) => {
      from.manifest = undefined;
    }),
  ),
  attack(
    'has two manifests',
    'manifest',
    /two/,
    changed((from) => {
      from.after = custom('weir.manifest', utf8('{}'));
    }),
  ),
  attack(
    'has a manifest of 20 KB',
    'manifest',
    /at most 16384/,
    withManifest(utf8(JSON.stringify({ ...manifest, description: 'x'.repeat(20_000) }))),
  ),
  attack('has a manifest that is not UTF-8', 'manifest', /UTF-8/, withManifest([0x7b, 0xff, 0xfe, 0x7d])),
  attack('has a manifest that is cut off', 'manifest', /JSON/, withManifest(utf8('{"abi":1,"name":"cu'))),
  attack(
    'has a manifest nested eight thousand deep',
    'manifest',
    /./,
    withManifest(utf8('['.repeat(8000) + ']'.repeat(8000))),
  ),
  attack(
    'nests a known field eight thousand deep',
    'manifest',
    /name must/,
    withManifest(utf8(`{"abi":1,"version":"1","name":${'['.repeat(8000)}${']'.repeat(8000)}}`)),
  ),
  attack(
    'sets __proto__ in its manifest',
    'manifest',
    /"__proto__" is no field/,
    withManifest(utf8('{"abi":1,"name":"tiny","version":"1.0.0","__proto__":{"failMode":"open"}}')),
  ),
  attack(
    'sets constructor in its manifest',
    'manifest',
    /"constructor" is no field/,
    withManifest(utf8('{"abi":1,"name":"tiny","version":"1.0.0","constructor":{}}')),
  ),
  attack(
    'sets __proto__ in its bindings',
    'manifest',
    /binds\.__proto__/,
    withManifest(utf8('{"abi":1,"name":"tiny","version":"1.0.0","binds":{"__proto__":[]}}')),
  ),
  attack('is a list where a manifest must be', 'manifest', /object/, withManifest(utf8('[1]'))),
  attack('is null where a manifest must be', 'manifest', /object/, withManifest(utf8('null'))),
  attack('is of a later ABI', 'abi', /version 2/, withFields({ abi: 2 })),
  attack('is of an ABI that is no number', 'manifest', /abi must/, withFields({ abi: '1' })),
  attack('has the name of a path', 'manifest', /name must/, withFields({ name: '../../etc/passwd' })),
  attack('has a name with a NUL', 'manifest', /name must/, withFields({ name: 'a\0b' })),
  attack('has a name that ends in a line', 'manifest', /name must/, withFields({ name: 'tiny\n' })),
  attack(
    'has a name that forges labels of another',
    'manifest',
    /name must/,
    withFields({ name: 'other.label' }),
  ),
  attack('has a name of a thousand letters', 'manifest', /name must/, withFields({ name: 'a'.repeat(1000) })),
  attack(
    'has a version with a terminal escape',
    'manifest',
    /version must/,
    withFields({ version: '1\u001b[2J' }),
  ),
  attack(
    'declares the label that is the host’s',
    'manifest',
    /keeps for itself/,
    withFields({ labels: ['error'] }),
  ),
  attack(
    'declares a label under another filter',
    'manifest',
    /labels\[0\]/,
    withFields({ labels: ['filter.other.severity'] }),
  ),
  attack(
    'declares a hundred labels',
    'manifest',
    /at most 64/,
    withFields({ labels: Array.from({ length: 100 }, (_, index) => `l${index}`) }),
  ),
  attack(
    'declares labels that are no strings',
    'manifest',
    /labels\[0\] must be a string/,
    withFields({ labels: [{ toString: 'x' }] }),
  ),
  attack(
    'binds itself to alerts',
    'manifest',
    /binds\.kinds\[0\]/,
    withFields({ binds: { kinds: ['alert'] } }),
  ),
  attack(
    'binds itself to a name of the prototype',
    'manifest',
    /binds\.kinds\[0\]/,
    withFields({ binds: { kinds: ['toString'] } }),
  ),
  attack(
    'binds itself to a thousand policies',
    'manifest',
    /at most 256/,
    withFields({ binds: { policies: Array.from({ length: 300 }, (_, index) => `p${index}`) } }),
  ),
  attack('fails ajar', 'manifest', /failMode/, withFields({ failMode: 'ajar' })),
  attack('says what no manifest says', 'manifest', /"priority" is no field/, withFields({ priority: 9 })),
];
