// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  assemble,
  body,
  custom,
  exported,
  i32,
  leb,
  magic,
  manifest,
  name,
  type Parts,
  parts,
  section,
} from './fixtures.js';
import { acceptModule, type RefusalCode } from './index.js';

function changed(change: (from: Parts) => void): Uint8Array {
  const from = parts();
  change(from);
  return assemble(from);
}

/** A function body with these instructions in a fourth function. */
function withCode(...instructions: number[]): Uint8Array {
  return changed((from) => {
    from.functions.push([3]);
    from.codes.push(body(instructions));
  });
}

describe('a module of the ABI', () => {
  it('is accepted, with its manifest filled in', () => {
    expect(acceptModule(assemble(parts()))).toEqual({
      ok: true,
      configurable: false,
      manifest: {
        ...manifest,
        description: '',
        failMode: 'open',
        binds: { kinds: [], policies: [] },
        labels: [],
        redacts: [],
        reads: [],
      },
      moduleBytes: assemble(parts()).length,
      memoryBytesMax: 4 * 1024 * 1024,
      functions: 3,
      imports: ['weir.log'],
    });
  });

  const accepted: [string, Uint8Array][] = [
    [
      'without imports',
      changed((from) => {
        from.imports = [];
        from.exports = [
          exported('memory', 2, 0),
          exported('weir_abi_version', 0, 0),
          exported('weir_reserve', 0, 1),
          exported('weir_filter', 0, 2),
        ];
      }),
    ],
    [
      'with weir_start and weir_configure',
      changed((from) => {
        from.functions.push([3], [4]);
        from.codes.push(body([]), body([0x41, 0]));
        from.exports.push(exported('weir_start', 0, 4), exported('weir_configure', 0, 5));
      }),
    ],
    ['with exports of its own', changed((from) => from.exports.push(exported('__heap_base', 0, 1)))],
    [
      'with other custom sections',
      changed((from) => {
        from.before = custom('name', [1, 2, 3]);
      }),
    ],
    [
      'with a table, elements, globals and data',
      changed((from) => {
        from.tables = [[0x70, 1, 2, 2]];
        from.elements = [[0, 0x41, 0, 0x0b, 1, 1]];
        from.globals = [[i32, 1, 0x41, 5, 0x0b]];
        from.data = [[0, 0x41, 0, 0x0b, 2, 7, 8]];
      }),
    ],
    [
      'with blocks, branches, bulk memory, saturation and SIMD',
      withCode(
        0x02,
        0x40,
        0x41,
        0,
        0x0d,
        0,
        0x41,
        0,
        0x0e,
        1,
        0,
        0,
        0x0b,
        0x41,
        0,
        0x41,
        0,
        0x41,
        0,
        0xfc,
        10,
        0,
        0,
        0x43,
        0,
        0,
        0,
        0,
        0xfc,
        0,
        0x1a,
        0xfd,
        12,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0x1a,
      ),
    ],
  ];
  it.each(accepted)('is accepted %s', (_, bytes) => {
    expect(acceptModule(bytes)).toMatchObject({ ok: true });
  });
});

const page = 64 * 1024;
const refused: [string, Uint8Array, RefusalCode, RegExp][] = [
  ['is empty', new Uint8Array(0), 'malformed', /magic/],
  ['is text', new TextEncoder().encode('export function filter() {}'), 'malformed', /magic/],
  ['is of another version', Uint8Array.from([...magic.slice(0, 4), 2, 0, 0, 0]), 'malformed', /version/],
  ['is too large', new Uint8Array(1024 * 1024 + 1), 'size', /1048577 bytes; at most 1048576/],
  ['ends within a section', assemble(parts()).slice(0, 60), 'malformed', /ends within/],
  [
    'has a section beyond its end',
    Uint8Array.from([...magic, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    'malformed',
    /ends within/,
  ],
  [
    'has a number of six bytes',
    Uint8Array.from([...magic, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
    'malformed',
    /32 bits|5 bytes/,
  ],
  [
    'has bytes after a section',
    Uint8Array.from([...magic, ...section(1, [0, 9])]),
    'malformed',
    /bytes follow/,
  ],
  [
    'has sections out of order',
    Uint8Array.from([...magic, ...section(3, [0]), ...section(1, [0])]),
    'section',
    /out of order/,
  ],
  [
    'has a section twice',
    Uint8Array.from([...magic, ...section(1, [0]), ...section(1, [0])]),
    'section',
    /twice/,
  ],
  ['has a tag section', Uint8Array.from([...magic, ...section(13, [0])]), 'section', /section 13/],
  [
    'claims 4 billion types',
    Uint8Array.from([...magic, ...section(1, leb(0xffffffff))]),
    'limit',
    /4294967295 types/,
  ],
  [
    'claims 4 billion exports',
    Uint8Array.from([...magic, ...section(7, leb(0xffffffff))]),
    'limit',
    /exports/,
  ],
  [
    'has a name that is not UTF-8',
    changed((from) => {
      from.exports.push([2, 0xc3, 0x28, 0, 1]);
    }),
    'malformed',
    /not UTF-8/,
  ],
  [
    'has a type that is no function',
    changed((from) => from.types.push([0x5f, 0])),
    'feature',
    /function types/,
  ],
  [
    'imports what is not given',
    changed((from) => {
      from.imports = [[...name('wasi_snapshot_preview1'), ...name('fd_write'), 0, 2]];
    }),
    'import',
    /wasi_snapshot_preview1\.fd_write.*weir\.log/,
  ],
  [
    "imports the compiler's abort",
    changed((from) => {
      from.imports = [[...name('env'), ...name('abort'), 0, 2]];
    }),
    'import',
    /env\.abort/,
  ],
  [
    'imports a name of Object.prototype',
    changed((from) => {
      from.imports = [[...name('weir'), ...name('constructor'), 0, 2]];
    }),
    'import',
    /weir\.constructor/,
  ],
  [
    'imports log as another type',
    changed((from) => {
      from.imports = [[...name('weir'), ...name('log'), 0, 1]];
    }),
    'import',
    /\(i32\) -> \(i32\); it is \(i32, i32, i32\)/,
  ],
  [
    'imports with a type that is not there',
    changed((from) => {
      from.imports = [[...name('weir'), ...name('log'), 0, 99]];
    }),
    'type',
    /type 99/,
  ],
  [
    'imports a memory',
    changed((from) => {
      from.imports = [[...name('weir'), ...name('memory'), 2, 0, 1]];
    }),
    'import',
    /imports the memory/,
  ],
  [
    'imports a table',
    changed((from) => {
      from.imports = [[...name('weir'), ...name('table'), 1, 0x70, 0, 1]];
    }),
    'import',
    /imports the table/,
  ],
  [
    'imports a global',
    changed((from) => {
      from.imports = [[...name('weir'), ...name('global'), 3, i32, 0]];
    }),
    'import',
    /imports the global/,
  ],
  [
    'has no memory',
    changed((from) => {
      from.memories = [];
    }),
    'memory',
    /0 memories/,
  ],
  [
    'has two memories',
    changed((from) => {
      from.memories.push([1, 1, 2]);
    }),
    'memory',
    /2 memories/,
  ],
  [
    'has a memory without a maximum',
    changed((from) => {
      from.memories = [[0, 1]];
    }),
    'memory',
    /no maximum/,
  ],
  [
    'has a memory beyond the cap',
    changed((from) => {
      from.memories = [[1, 1, 65]];
    }),
    'memory',
    new RegExp(`${65 * page} bytes; at most ${64 * page}`),
  ],
  [
    'has a memory too small for a batch',
    changed((from) => {
      from.memories = [[1, 1, 31]];
    }),
    'memory',
    /at least 2097152/,
  ],
  [
    'has a memory that begins beyond its maximum',
    changed((from) => {
      from.memories = [[1, ...leb(65), 64]];
    }),
    'memory',
    /65 pages, beyond/,
  ],
  [
    'has a shared memory',
    changed((from) => {
      from.memories = [[3, 1, 64]];
    }),
    'memory',
    /shared/,
  ],
  [
    'has a 64-bit memory',
    changed((from) => {
      from.memories = [[5, 1, 64]];
    }),
    'memory',
    /0x5/,
  ],
  [
    'has two tables',
    changed((from) => {
      from.tables = [
        [0x70, 0, 1],
        [0x70, 0, 1],
      ];
    }),
    'table',
    /2 tables/,
  ],
  [
    'has a table that is too large',
    changed((from) => {
      from.tables = [[0x70, 0, ...leb(5000)]];
    }),
    'table',
    /5000 elements/,
  ],
  [
    'has too many globals',
    changed((from) => {
      from.globals = Array.from({ length: 1025 }, () => [i32, 0, 0x41, 0, 0x0b]);
    }),
    'limit',
    /1025 globals/,
  ],
  [
    'has too many functions',
    changed((from) => {
      from.functions = Array.from({ length: 4097 }, () => [0]);
    }),
    'limit',
    /4097 functions/,
  ],
  [
    'has too many locals',
    changed((from) => {
      from.codes[0] = body([0x41, 1], [1, ...leb(5000), i32]);
    }),
    'limit',
    /more than 4096 locals/,
  ],
  [
    'has 4 billion locals in two groups',
    changed((from) => {
      from.codes[0] = body([0x41, 1], [2, ...leb(0xffffffff), i32, ...leb(0xffffffff), i32]);
    }),
    'limit',
    /locals/,
  ],
  [
    'has a function that is too long',
    changed((from) => {
      from.codes[0] = body([...new Array<number>(130 * 1024).fill(1), 0x41, 1]);
    }),
    'limit',
    /at most 131072/,
  ],
  [
    'nests blocks too deeply',
    withCode(
      ...Array.from({ length: 1100 }, () => [0x02, 0x40]).flat(),
      ...new Array<number>(1100).fill(0x0b),
    ),
    'limit',
    /nest deeper/,
  ],
  [
    'has a start function',
    changed((from) => {
      from.functions.push([3]);
      from.codes.push(body([]));
      from.start = [4];
    }),
    'start',
    /weir_start/,
  ],
  [
    'exports no memory',
    changed((from) => {
      from.exports.shift();
    }),
    'export',
    /export its memory/,
  ],
  [
    'exports a function as its memory',
    changed((from) => {
      from.exports[0] = exported('memory', 0, 1);
    }),
    'export',
    /no memory/,
  ],
  [
    'exports no weir_filter',
    changed((from) => {
      from.exports.pop();
    }),
    'export',
    /weir_filter/,
  ],
  [
    'exports weir_filter as another type',
    changed((from) => {
      from.exports[3] = exported('weir_filter', 0, 1);
    }),
    'export',
    /weir_filter as \(\) -> \(i32\)/,
  ],
  [
    'exports a memory as weir_filter',
    changed((from) => {
      from.exports[3] = exported('weir_filter', 2, 0);
    }),
    'export',
    /no function/,
  ],
  [
    'exports a function that is not there',
    changed((from) => {
      from.exports[3] = exported('weir_filter', 0, 77);
    }),
    'type',
    /function 77/,
  ],
  [
    'exports a name twice',
    changed((from) => {
      from.exports.push(exported('memory', 2, 0));
    }),
    'malformed',
    /twice/,
  ],
  [
    'takes a name of the ABI',
    changed((from) => {
      from.exports.push(exported('weir_later', 0, 1));
    }),
    'export',
    /belong to the ABI/,
  ],
  [
    'takes the name of what counts its fuel',
    changed((from) => {
      from.exports.push(exported('weir.fuel', 0, 1));
    }),
    'export',
    /belong to the ABI/,
  ],
  ['uses atomics', withCode(0x41, 0, 0xfe, 0x10, 2, 0, 0x1a), 'feature', /threads/],
  ['uses relaxed SIMD', withCode(0xfd, 0x80, 0x02), 'feature', /relaxed SIMD/],
  ['uses tail calls', withCode(0x12, 0), 'feature', /tail calls/],
  ['uses exceptions', withCode(0x08, 0), 'feature', /exceptions/],
  ['uses garbage collection', withCode(0xfb, 0, 0), 'feature', /0xfb/],
  ['uses a second memory', withCode(0x41, 0, 0x28, 0x42, 1, 0, 0x1a), 'feature', /several memories/],
  ['uses an instruction that is not known', withCode(0xff), 'feature', /0xff/],
  [
    'has instructions after the end',
    changed((from) => {
      from.codes[0] = [...leb(6), 0, 0x41, 1, 0x0b, 0x01, 0x0b];
    }),
    'malformed',
    /follow the end/,
  ],
  [
    'has a body without an end',
    changed((from) => {
      from.codes[0] = [...leb(3), 0, 0x41, 1];
    }),
    'malformed',
    /ends within/,
  ],
  ['has a br_table of 4 billion labels', withCode(0x0e, ...leb(0xffffffff)), 'malformed', /br_table/],
  [
    'declares more functions than it has',
    changed((from) => {
      from.functions.push([3]);
    }),
    'malformed',
    /4 functions but has 3/,
  ],
  [
    'does not type-check',
    changed((from) => {
      from.codes[0] = body([0x42, 1]);
    }),
    'invalid',
    /does not validate/,
  ],
  ['calls a function that is not there', withCode(0x10, 99), 'invalid', /does not validate/],
  [
    'has an offset that is not constant',
    changed((from) => {
      from.data = [[0, 0x10, 0, 0x0b, 0]];
    }),
    'malformed',
    /not constant/,
  ],
  [
    'has no manifest',
    changed((from) => {
      from.manifest = undefined;
    }),
    'manifest',
    /no section weir\.manifest/,
  ],
  [
    'has two manifests',
    changed((from) => {
      from.after = custom('weir.manifest', [0x7b, 0x7d]);
    }),
    'manifest',
    /two sections/,
  ],
  [
    'has a manifest that is no JSON',
    changed((from) => {
      from.manifest = undefined;
      from.after = custom('weir.manifest', [0x7b]);
    }),
    'manifest',
    /not JSON/,
  ],
  [
    'has a manifest that is too long',
    changed((from) => {
      from.manifest = { ...manifest, description: 'x'.repeat(20_000) };
    }),
    'manifest',
    /at most 16384/,
  ],
  [
    'has a name that could forge a label',
    changed((from) => {
      from.manifest = { ...manifest, name: 'a.b' };
    }),
    'manifest',
    /name must be/,
  ],
  [
    'is of another ABI',
    changed((from) => {
      from.manifest = { ...manifest, abi: 2 };
    }),
    'abi',
    /version 2 of the filter ABI; this one is 1/,
  ],
];

describe('acceptance refuses a module that', () => {
  it.each(refused)('%s', (_, bytes, code, reason) => {
    const result = acceptModule(bytes);
    expect(result).toMatchObject({ ok: false, code });
    expect(result.ok ? '' : result.reason).toMatch(reason);
  });

  it('breaks a bound of the policy that is given', () => {
    expect(acceptModule(assemble(parts()), { memoryBytesMax: 3 * 1024 * 1024 })).toMatchObject({
      ok: false,
      code: 'memory',
    });
    expect(acceptModule(assemble(parts()), { functionsMax: 2 })).toMatchObject({ ok: false, code: 'limit' });
  });
});
