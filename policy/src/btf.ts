// SPDX-License-Identifier: Apache-2.0
// Owns how a kernel's types (BTF, as /sys/kernel/btf/vmlinux has them) are read from a file: which functions there are and
// how many parameters they have, which members structs have. The file may be anybody's: every place in it is checked.
//
//   header  magic u16, version u8, flags u8, header bytes u32, then offset and length of the types and of the texts
//   type    name u32, info u32 (count in bits 0 to 15, kind in 24 to 28), size or type u32, then what its kind has

/** A parameter of a function, or a type by its name. */
export type PathStart =
  | { readonly functionName: string; readonly parameter: number }
  | { readonly type: string };

/** The number of a type, and of a bit-field how wide it is; else 0. */
interface Member {
  readonly type: number;
  readonly bits: number;
}

/** Why bytes are no types of a kernel. */
export class BtfError extends Error {
  override readonly name = 'BtfError';
}

const MAGIC = 0xeb9f;
const HEADER_BYTES = 24;
const TYPE_BYTES = 12;
/** A kernel has 150,000. */
const typesMax = 4_000_000;
const nameBytesMax = 512;
/** Members that are looked at for one path: structs may hold each other in a file that is no kernel's. */
const membersMax = 100_000;
/** Typedefs and qualifiers on the way to what they stand for. */
const followMax = 32;

const kinds = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enumeration: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  prototype: 13,
  variable: 14,
  section: 15,
  float: 16,
  declTag: 17,
  typeTag: 18,
  enumeration64: 19,
} as const;

/** Bytes that follow a type, and bytes that follow for each of its `count`. */
const behind: Readonly<Record<number, readonly [once: number, each: number]>> = {
  [kinds.int]: [4, 0],
  [kinds.pointer]: [0, 0],
  [kinds.array]: [12, 0],
  [kinds.struct]: [0, 12],
  [kinds.union]: [0, 12],
  [kinds.enumeration]: [0, 8],
  [kinds.forward]: [0, 0],
  [kinds.typedef]: [0, 0],
  [kinds.volatile]: [0, 0],
  [kinds.const]: [0, 0],
  [kinds.restrict]: [0, 0],
  [kinds.func]: [0, 0],
  [kinds.prototype]: [0, 8],
  [kinds.variable]: [4, 0],
  [kinds.section]: [0, 12],
  [kinds.float]: [0, 0],
  [kinds.declTag]: [4, 0],
  [kinds.typeTag]: [0, 0],
  [kinds.enumeration64]: [0, 12],
};

export class Btf {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  /** Where each type begins; type 0 is void and is not there. */
  readonly #at: Uint32Array;
  readonly #texts: { readonly at: number; readonly end: number };
  readonly #functions = new Map<string, number>();
  readonly #named = new Map<string, number>();
  readonly #typedefs = new Set<string>();

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < HEADER_BYTES || this.#view.getUint16(0, true) !== MAGIC)
      throw new BtfError('is no BTF: /sys/kernel/btf/vmlinux of a kernel is such a file');
    const header = this.#u32(4);
    const section = (place: number) => {
      const at = header + this.#u32(place);
      const end = at + this.#u32(place + 4);
      if (end > bytes.length) throw new BtfError('is cut short');
      return { at, end };
    };
    const types = section(8);
    this.#texts = section(16);
    this.#at = this.#index(types.at, types.end);
  }

  /** Reads the types. @throws {BtfError} where the bytes are none */
  static read(bytes: Uint8Array): Btf {
    return new Btf(bytes);
  }

  #u32(at: number): number {
    if (at + 4 > this.#bytes.length) throw new BtfError('is cut short');
    return this.#view.getUint32(at, true);
  }

  #index(from: number, end: number): Uint32Array {
    const places: number[] = [0];
    let at = from;
    while (at + TYPE_BYTES <= end) {
      if (places.length > typesMax) throw new BtfError(`has more than ${typesMax} types`);
      const info = this.#u32(at + 4);
      const kind = (info >> 24) & 0x1f;
      const extra = behind[kind];
      if (extra === undefined) throw new BtfError(`has a type of a kind that is not known (${kind})`);
      const number = places.push(at) - 1;
      if (kind === kinds.func) this.#functions.set(this.#name(at), number);
      if (kind === kinds.typedef) this.#typedefs.add(this.#name(at));
      if (kind === kinds.struct || kind === kinds.union || kind === kinds.typedef) {
        const name = this.#name(at);
        // What has members goes before a typedef of the same name.
        if (name !== '' && (kind !== kinds.typedef || !this.#named.has(name))) this.#named.set(name, number);
      }
      at += TYPE_BYTES + extra[0] + extra[1] * (info & 0xffff);
    }
    if (at !== end) throw new BtfError('is cut short in the middle of a type');
    return Uint32Array.from(places);
  }

  #name(at: number): string {
    return this.#text(this.#u32(at));
  }

  #text(offset: number): string {
    const from = this.#texts.at + offset;
    if (from >= this.#texts.end) throw new BtfError('has a name that lies outside');
    let to = from;
    while (to < this.#texts.end && this.#bytes[to] !== 0) to++;
    if (to - from > nameBytesMax) throw new BtfError('has a name that is too long');
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + from, to - from).toString('latin1');
  }

  /** Where a type begins, and its kind and count; undefined for void. */
  #type(number: number): { at: number; kind: number; count: number } | undefined {
    const at = number === 0 ? undefined : this.#at[number];
    if (at === undefined) return undefined;
    const info = this.#u32(at + 4);
    return { at, kind: (info >> 24) & 0x1f, count: info & 0xffff };
  }

  /** Names of all functions. */
  functions(): readonly string[] {
    return [...this.#functions.keys()];
  }

  hasFunction(name: string): boolean {
    return this.#functions.has(name);
  }

  hasTypedef(name: string): boolean {
    return this.#typedefs.has(name);
  }

  #prototype(name: string) {
    const number = this.#functions.get(name);
    const func = number === undefined ? undefined : this.#type(number);
    const prototype = func === undefined ? undefined : this.#type(this.#u32(func.at + 8));
    return prototype?.kind === kinds.prototype ? prototype : undefined;
  }

  /** How many parameters a function has; undefined where there is no such function. */
  parameterCount(name: string): number | undefined {
    return this.#prototype(name)?.count;
  }

  /** The struct or union that a type is or points to, over typedefs, qualifiers, pointers and arrays. */
  #membered(number: number): { at: number; kind: number; count: number } | undefined {
    let current = this.#type(number);
    for (let step = 0; step < followMax && current !== undefined; step++) {
      const { at, kind } = current;
      if (kind === kinds.struct || kind === kinds.union) return current;
      const follows =
        kind === kinds.pointer || (kind >= kinds.typedef && kind <= kinds.restrict) || kind === kinds.typeTag;
      if (!follows && kind !== kinds.array) return undefined;
      current = this.#type(this.#u32(kind === kinds.array ? at + TYPE_BYTES : at + 8));
    }
    return undefined;
  }

  /** The type of a member, also of one that lies in a struct without a name; undefined where there is none. */
  #member(
    of: { at: number; count: number },
    name: string,
    looked = { members: 0 },
    depth = 0,
  ): Member | undefined {
    for (let n = 0; n < of.count; n++) {
      if (++looked.members > membersMax)
        throw new BtfError(`has more than ${membersMax} members in a struct`);
      const at = of.at + TYPE_BYTES + 12 * n;
      const own = this.#text(this.#u32(at));
      const type = this.#u32(at + 4);
      // Where the type says so, a member's offset has the width of a bit-field in its upper byte.
      const isPacked = this.#u32(of.at + 4) >>> 31 === 1;
      if (own === name) return { type, bits: isPacked ? this.#u32(at + 8) >>> 24 : 0 };
      const inner = own === '' && depth < followMax ? this.#membered(type) : undefined;
      const found = inner === undefined ? undefined : this.#member(inner, name, looked, depth + 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * Follows a path of members from a parameter of a function, or from a type by its name.
   * @returns what is not there, in words; undefined where all is
   */
  missingOnPath(start: PathStart, path: string): string | undefined {
    const end = this.#follow(start, path);
    return typeof end === 'string' ? end : undefined;
  }

  /**
   * Says why what lies at the end of a path cannot be read as a number of so many bits, or as text.
   * @returns undefined where it can, or is not there
   */
  misfitOnPath(start: PathStart, path: string, wants: number | 'text'): string | undefined {
    const end = this.#follow(start, path);
    if (typeof end !== 'object') return undefined;
    const type = this.#plain(end.type);
    if (type === undefined) return undefined;
    const { at, kind } = type;
    const isNumber = kind === kinds.int || kind === kinds.enumeration || kind === kinds.enumeration64;
    if (wants === 'text') {
      if (kind === kinds.pointer || kind === kinds.array) {
        const target = this.#plain(this.#u32(kind === kinds.array ? at + TYPE_BYTES : at + 8));
        const isByte = target?.kind === kinds.int && this.#u32(target.at + 8) === 1;
        if (isByte || (target === undefined && kind === kinds.pointer)) return undefined;
      }
      return 'is no text';
    }
    if (!isNumber && kind !== kinds.pointer) return 'is no number';
    const bits = end.bits > 0 ? end.bits : kind === kinds.pointer ? 64 : 8 * this.#u32(at + 8);
    return bits > wants ? `has ${bits} bits, and the type takes ${wants}` : undefined;
  }

  /** A type without its names and qualifiers; undefined for void. */
  #plain(number: number): { at: number; kind: number } | undefined {
    let current = this.#type(number);
    for (let step = 0; step < followMax && current !== undefined; step++) {
      const { at, kind } = current;
      if (!(kind >= kinds.typedef && kind <= kinds.restrict) && kind !== kinds.typeTag) return current;
      current = this.#type(this.#u32(at + 8));
    }
    return undefined;
  }

  /** What lies at the end of a path, what is missing on it, or undefined where there is no such function. */
  #follow(start: PathStart, path: string): Member | string | undefined {
    let end: Member;
    if ('type' in start) {
      const type = this.#named.get(start.type);
      if (type === undefined) return `there is no type ${start.type}`;
      end = { type, bits: 0 };
    } else {
      const prototype = this.#prototype(start.functionName);
      if (prototype === undefined) return undefined;
      if (start.parameter >= prototype.count)
        return prototype.count === 0
          ? `${start.functionName} has no parameters`
          : `the last parameter of ${start.functionName} has the index ${prototype.count - 1}`;
      end = { type: this.#u32(prototype.at + TYPE_BYTES + 8 * start.parameter + 4), bits: 0 };
    }
    for (const step of path.split('.').filter((part) => part !== '')) {
      const name = step.replace(/\[\d+\]$/, '');
      const struct = this.#membered(end.type);
      if (struct === undefined) return `${name}: what it shall be a member of has none`;
      const member = this.#member(struct, name);
      if (member === undefined)
        return `${this.#name(struct.at) || 'a struct without a name'} has no member ${name}`;
      end = name === step ? member : this.#element(member);
    }
    return end;
  }

  /** One of the elements of an array. */
  #element({ type }: Member): Member {
    const array = this.#plain(type);
    return { type: array?.kind === kinds.array ? this.#u32(array.at + TYPE_BYTES) : type, bits: 0 };
  }
}
