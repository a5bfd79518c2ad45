// SPDX-License-Identifier: Apache-2.0
import { NarrowingAttribute, readNarrowing, readNarrowingKey } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { readFilters } from './filter.js';
import { NarrowedPods } from './pods.js';
import { NarrowingRules, type RuleEntry } from './rules.js';

describe('readFilters', () => {
  it('takes every field', () => {
    expect(
      readFilters([
        '{"binary":["/usr/bin/*","*/sh","/x"],"uid":[0,1],"pid_ns":["host",5],"mnt_ns":[6],"namespace":[""],"labels":["a=b,c!=d,e,!f"],"container":["main"]}',
      ]),
    ).toEqual([
      {
        binary: ['/usr/bin/*', '*/sh', '/x'],
        uid: [0, 1],
        pid_ns: ['host', 5],
        mnt_ns: [6],
        namespace: [''],
        labels: [
          [
            { key: 'a', value: 'b', negated: false },
            { key: 'c', value: 'd', negated: true },
            { key: 'e', value: undefined, negated: false },
            { key: 'f', value: undefined, negated: true },
          ],
        ],
        container: ['main'],
      },
    ]);
  });

  it.each([
    ['{', 'must be JSON'],
    ['[]', 'must be a JSON object'],
    ['{}', 'an object with one of binary, uid'],
    ['{"binary_regex":["a"]}', 'has no field "binary_regex"; it takes binary, uid'],
    ['{"uid":0}', 'field uid must be a list'],
    ['{"uid":[]}', 'field uid must be a list'],
    ['{"uid":[-1]}', 'field uid[0] must be a whole number'],
    ['{"uid":["root"]}', 'field uid[0] must be a whole number'],
    ['{"pid_ns":["hots"]}', 'field pid_ns[0] must be "host" or an inode number, not "hots"'],
    ['{"binary":["/a","b"]}', 'field binary[1] must begin with "/"'],
    ['{"binary":["/a*b"]}', 'field binary[0] must be a path, or have one "*"'],
    ['{"binary":["*a*"]}', 'field binary[0] must be a path, or have one "*"'],
    ['{"binary":["*"]}', 'field binary[0] must be a path, or have one "*"'],
    [`{"binary":["/${'x'.repeat(251)}"]}`, 'field binary[0] has 252 bytes; the kernel looks at 251'],
    ['{"labels":["!a=b"]}', 'field labels[0] must be conditions such as'],
    ['{"labels":["a in (b)"]}', 'field labels[0] must be conditions such as'],
  ])('refuses %s', (text, message) => {
    expect(() => readFilters([text])).toThrow(message);
  });
});

const options = {
  hostPidNamespace: 11,
  hostMntNamespace: 12,
  realPath: (path: string) => (path.startsWith('/bin') ? `/usr${path}` : undefined),
};

function rules(allowed: readonly object[], denied: readonly object[]): NarrowingRules {
  const read = (list: readonly object[]) => readFilters(list.map((filter) => JSON.stringify(filter)));
  return new NarrowingRules({ allowed: read(allowed), denied: read(denied) }, options);
}

const rulesOf = ({ value }: RuleEntry) => new DataView(value.buffer).getUint32(0, true);

function strings(of: NarrowingRules): Record<string, number> {
  return Object.fromEntries(
    of.strings.map((entry) => {
      const view = new DataView(entry.key.buffer);
      const length = view.getUint32(0, true) / 8 - 4;
      const text = Buffer.from(entry.key.subarray(8, 8 + length)).toString('latin1');
      return [`${view.getUint32(4, true)}:${text}`, rulesOf(entry)];
    }),
  );
}

function numbers(entries: readonly RuleEntry[]): Record<string, number> {
  return Object.fromEntries(
    entries.map((entry) => {
      const { attribute, value } = readNarrowingKey(new DataView(entry.key.buffer), 0);
      return [`${attribute}:${value}`, rulesOf(entry)];
    }),
  );
}

describe('NarrowingRules', () => {
  it('gives each string the rules of all shorter ones, and the places that links lead to', () => {
    expect(strings(rules([{ binary: ['/bin/*'] }], [{ binary: ['/bin/ls', '*.so', '*o'] }]))).toEqual({
      '0:/bin/': 1,
      '0:/usr/bin/': 1,
      '0:/bin/ls\0': 3,
      '0:/usr/bin/ls\0': 3,
      '1:os.': 2,
      '1:o': 2,
    });
  });

  it('says of each attribute which rules do not look at it', () => {
    const made = rules(
      [{ uid: [5], mnt_ns: ['host'] }, { pid_ns: ['host', 9] }],
      [{ binary: ['/x'], uid: [5, 6] }],
    );
    const { allowed, denied, uses, defaults } = readNarrowing(new DataView(made.config.buffer), 0);
    expect([allowed, denied, uses]).toEqual([3, 4, 0b1111]);
    expect([...defaults]).toEqual([0b011, 0b010, 0b101, 0b110, 0b111]);
    expect(numbers(made.numbers)).toEqual({
      '1:5': 0b111,
      '1:6': 0b110,
      '2:11': 0b111,
      '2:9': 0b111,
      '3:12': 0b111,
    });
  });

  it('knows pods by namespace, labels and container, and what is of none', () => {
    const made = rules(
      [{ namespace: ['shop', ''] }, { uid: [0] }],
      [{ labels: ['app=web,!canary', 'db'], container: ['main'] }],
    );
    const pod = (namespace: string, labels: Record<string, string>, container = 'main') =>
      rulesOf(made.workload(1n, { namespace, labels, container }));
    expect(readNarrowing(new DataView(made.config.buffer), 0).defaults[NarrowingAttribute.cgroup]).toBe(
      0b011,
    );
    expect(pod('shop', {})).toBe(0b011);
    expect(pod('other', {})).toBe(0b010);
    expect(pod('other', { app: 'web' })).toBe(0b110);
    expect(pod('other', { app: 'web' }, 'side')).toBe(0b010);
    expect(pod('other', { app: 'web', canary: '' })).toBe(0b010);
    expect(pod('other', { db: 'x' })).toBe(0b110);
    expect(pod('', { toString: 'x' })).toBe(0b011);
  });

  it('takes 32 filters, and all their bits', () => {
    const many = Array.from({ length: 32 }, (_, uid) => ({ uid: [uid] }));
    expect(readNarrowing(new DataView(rules([], many).config.buffer), 0).denied).toBe(2 ** 32 - 1);
    expect(numbers(rules([], many).numbers)['1:31']).toBe(2 ** 31);
    expect(() => rules([{ uid: [1] }], many)).toThrow('there are 33 filters of processes; 32 at most');
  });

  it('refuses the namespaces of a host that cannot be read', () => {
    const of = { hostPidNamespace: undefined, hostMntNamespace: undefined, realPath: () => undefined };
    const allowed = readFilters(['{"pid_ns":["host"]}']);
    expect(() => new NarrowingRules({ allowed, denied: [] }, of)).toThrow('cannot be read');
  });
});

describe('NarrowedPods', () => {
  it('keeps the rules of exactly the workloads that there are', () => {
    const map = new Map<string, number>();
    const name = (key: Uint8Array) => String(readNarrowingKey(new DataView(key.buffer), 0).value);
    const numbersMap = {
      update: (key: Uint8Array, value: Uint8Array) =>
        void map.set(name(key), new DataView(value.buffer).getUint32(0, true)),
      delete: (key: Uint8Array) => map.delete(name(key)),
    };
    const facts = (cgroupId: bigint, namespace: string) => ({
      cgroupId,
      namespace,
      labels: {},
      container: '',
    });
    const pods = new NarrowedPods(numbersMap, rules([], [{ namespace: ['shop'] }]));
    pods.set([facts(1n, 'shop'), facts(2n, 'other')]);
    expect([...map]).toEqual([
      ['1', 1],
      ['2', 0],
    ]);
    pods.set([facts(2n, 'shop')]);
    expect([...map]).toEqual([['2', 1]]);
    new NarrowedPods(numbersMap, rules([], [{ uid: [1] }])).set([facts(3n, 'shop')]);
    expect([...map]).toEqual([['2', 1]]);
  });
});
