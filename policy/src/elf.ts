// SPDX-License-Identifier: Apache-2.0
// Owns the reading of programs and libraries (ELF): where in the file a function or a marker is. A file is hostile
// input: every number in it is checked against the file's size before it is used, and what is read at once is bounded.

/** A file of which parts are read. */
export interface FileReader {
  readonly bytes: number;
  /** Reads from an offset; fewer bytes at the end of the file. */
  read(offset: number, length: number): Uint8Array;
}

export type ElfErrorCode =
  /** It is no program or library for this machine, or is damaged, or beyond a limit. */
  | 'unreadable'
  /** What is looked for is not in it. */
  | 'missing'
  /** It is another file than is meant. */
  | 'digest';

/** A file in which a place cannot be found. */
export class ElfError extends Error {
  override readonly name = 'ElfError';
  readonly code: ElfErrorCode;

  constructor(message: string, code: ElfErrorCode = 'unreadable') {
    super(message);
    this.code = code;
  }
}

/** As far as programs are read. Larger ones are refused, not searched for hours. */
export const elfLimits = {
  segments: 4096,
  sections: 65_536,
  /** Bytes of one table of symbols or of their names. */
  tableBytes: 1 << 30,
  /** Bytes of the section with the markers. */
  noteBytes: 16 << 20,
  markers: 65_536,
  /** Places that one name may have. */
  places: 64,
} as const;

const chunkBytes = 1 << 20;

const PT_LOAD = 1;
const PF_X = 1;
const PF_W = 2;
const SHT_SYMTAB = 2;
const SHT_NOTE = 7;
const SHT_NOBITS = 8;
const SHT_DYNSYM = 11;
const STT_NOTYPE = 0;
const STT_FUNC = 2;
const STT_GNU_IFUNC = 10;
const NT_STAPSDT = 3;

interface Segment {
  readonly flags: number;
  readonly offset: number;
  readonly address: bigint;
  readonly fileBytes: number;
}

interface Section {
  readonly name: number;
  readonly type: number;
  readonly address: bigint;
  readonly offset: number;
  readonly bytes: number;
  readonly link: number;
}

/** A statically defined marker. */
export interface Marker {
  readonly provider: string;
  readonly name: string;
  /** Of its instruction and of its counter (0 for none), in the file. */
  readonly offset: number;
  readonly counterOffset: number;
  /** Where its arguments are, in the notation of `sys/sdt.h`. */
  readonly arguments: string;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A program or library. @throws {ElfError} by every method, where the file is damaged. */
export class ElfFile {
  readonly #file: FileReader;
  readonly #segments: readonly Segment[];
  readonly #sections: readonly Section[];
  readonly #names: Section | undefined;

  constructor(file: FileReader) {
    this.#file = file;
    const header = file.read(0, 64);
    const view = viewOf(header);
    if (header.length < 64 || view.getUint32(0, false) !== 0x7f454c46) {
      throw new ElfError('is no program or library (ELF)');
    }
    if (header[4] !== 2 || header[5] !== 1 || view.getUint16(18, true) !== 62) {
      throw new ElfError('is no 64-bit x86 program or library');
    }
    this.#segments = this.#readSegments(view);
    this.#sections = this.#readSections(view);
    this.#names = this.#sections[view.getUint16(62, true)];
  }

  /** Bytes of the file that must be there. */
  #bytes(offset: number, length: number, what: string): Uint8Array {
    if (offset + length > this.#file.bytes) throw new ElfError(`is damaged: ${what} lie beyond its end`);
    const bytes = this.#file.read(offset, length);
    if (bytes.length !== length) throw new ElfError(`is damaged: ${what} cannot be read`);
    return bytes;
  }

  /** A 64-bit number that has to be an offset or a size within the file. */
  #within(view: DataView, at: number, what: string): number {
    const value = view.getBigUint64(at, true);
    if (value > BigInt(this.#file.bytes)) throw new ElfError(`is damaged: ${what} lie beyond its end`);
    return Number(value);
  }

  #readSegments(header: DataView): Segment[] {
    const count = header.getUint16(56, true);
    const size = header.getUint16(54, true);
    if (count === 0) return [];
    if (size !== 56 || count > elfLimits.segments) {
      throw new ElfError('is damaged: its program headers have another form');
    }
    const view = viewOf(this.#bytes(this.#within(header, 32, 'its segments'), count * size, 'its segments'));
    const segments: Segment[] = [];
    for (let at = 0; at < view.byteLength; at += size) {
      if (view.getUint32(at, true) !== PT_LOAD) continue;
      segments.push({
        flags: view.getUint32(at + 4, true),
        offset: this.#within(view, at + 8, 'its segments'),
        address: view.getBigUint64(at + 16, true),
        fileBytes: this.#within(view, at + 32, 'its segments'),
      });
    }
    return segments;
  }

  #readSections(header: DataView): Section[] {
    const at = this.#within(header, 40, 'its sections');
    if (at === 0) return [];
    const size = header.getUint16(58, true);
    if (size !== 64) throw new ElfError('is damaged: its section headers have another form');
    // With many sections their number stands in the first one.
    const count =
      header.getUint16(60, true) ||
      Number(viewOf(this.#bytes(at, size, 'its sections')).getBigUint64(32, true));
    if (count > elfLimits.sections) throw new ElfError(`has more than ${elfLimits.sections} sections`);
    const view = viewOf(this.#bytes(at, count * size, 'its sections'));
    const sections: Section[] = [];
    for (let from = 0; from < view.byteLength; from += size) {
      const type = view.getUint32(from + 4, true);
      // What takes no room in the file may claim any; it is not read.
      const isEmpty = type === SHT_NOBITS || type === 0;
      const offset = isEmpty ? 0 : this.#within(view, from + 24, 'its sections');
      const bytes = isEmpty ? 0 : this.#within(view, from + 32, 'its sections');
      if (offset + bytes > this.#file.bytes)
        throw new ElfError('is damaged: its sections lie beyond its end');
      sections.push({
        name: view.getUint32(from, true),
        type,
        address: view.getBigUint64(from + 16, true),
        offset,
        bytes,
        link: view.getUint32(from + 40, true),
      });
    }
    return sections;
  }

  #sectionName(section: Section): string {
    if (this.#names === undefined || section.name >= this.#names.bytes) return '';
    const bytes = this.#file.read(
      this.#names.offset + section.name,
      Math.min(32, this.#names.bytes - section.name),
    );
    const end = bytes.indexOf(0);
    return latin1(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** Offset in the file of an address; undefined where the file has nothing for it. */
  offsetOf(address: bigint, flag: number = PF_X): number | undefined {
    for (const { address: from, offset, fileBytes, flags } of this.#segments) {
      if ((flags & flag) === 0 || address < from || address >= from + BigInt(fileBytes)) continue;
      const found = offset + Number(address - from);
      if (found < this.#file.bytes) return found;
    }
    return undefined;
  }

  /** Whether code is there. */
  isCode(offset: number): boolean {
    return this.#segments.some(
      (segment) =>
        (segment.flags & PF_X) !== 0 &&
        offset >= segment.offset &&
        offset < segment.offset + segment.fileBytes,
    );
  }

  /** Whether a counter of two bytes can be there. */
  isCounter(offset: number): boolean {
    return this.#segments.some(
      (segment) =>
        (segment.flags & PF_W) !== 0 &&
        offset >= segment.offset &&
        offset + 2 <= segment.offset + segment.fileBytes,
    );
  }

  #eachChunk(section: Section, unit: number, body: (bytes: Uint8Array, at: number) => void): void {
    if (section.bytes > elfLimits.tableBytes) {
      throw new ElfError(`has a table of more than ${elfLimits.tableBytes >> 20} MiB`);
    }
    const step = chunkBytes - (chunkBytes % unit);
    for (let at = 0; at < section.bytes; at += step) {
      body(this.#bytes(section.offset + at, Math.min(step, section.bytes - at), 'its symbols'), at);
    }
  }

  /** Where in a table of names a name stands: it may be the end of another. */
  #nameOffsets(names: Section, name: Uint8Array): Set<number> {
    const wanted = Buffer.concat([name, new Uint8Array(1)]);
    const found = new Set<number>();
    let tail: Uint8Array = new Uint8Array(0);
    this.#eachChunk(names, 1, (bytes, at) => {
      const text = Buffer.concat([tail, bytes]);
      const from = at - tail.length;
      for (let i = text.indexOf(wanted); i >= 0; i = text.indexOf(wanted, i + 1)) found.add(from + i);
      tail = text.subarray(Math.max(0, text.length - wanted.length + 1));
    });
    return found;
  }

  /**
   * Offsets in the file of all functions of a name, in rising order.
   * @throws {ElfError} where there is none
   */
  functions(symbol: string): number[] {
    const name = new Uint8Array(Buffer.from(symbol, 'utf8'));
    const offsets = new Set<number>();
    let other = '';
    for (const section of this.#sections) {
      if (section.type !== SHT_SYMTAB && section.type !== SHT_DYNSYM) continue;
      const names = this.#sections[section.link];
      if (names === undefined) continue;
      const places = this.#nameOffsets(names, name);
      if (places.size === 0) continue;
      this.#eachChunk(section, 24, (bytes) => {
        const view = viewOf(bytes);
        for (let at = 0; at + 24 <= bytes.length; at += 24) {
          if (!places.has(view.getUint32(at, true))) continue;
          const type = view.getUint8(at + 4) & 15;
          if (view.getUint16(at + 6, true) === 0) {
            other ||= 'it uses that of another library: name that library';
          } else if (type === STT_GNU_IFUNC) {
            other ||= 'it is chosen among several when the program starts: name the one that is meant';
          } else if (type !== STT_FUNC && type !== STT_NOTYPE) {
            other ||= 'it is no function';
          } else {
            const offset = this.offsetOf(view.getBigUint64(at + 8, true));
            if (offset === undefined) other ||= 'no code is where it points';
            else offsets.add(offset);
          }
        }
      });
    }
    if (offsets.size === 0)
      throw new ElfError(`has no function ${symbol}${other === '' ? '' : `: ${other}`}`, 'missing');
    if (offsets.size > elfLimits.places) {
      throw new ElfError(`has more than ${elfLimits.places} functions of the name ${symbol}`);
    }
    return [...offsets].sort((a, b) => a - b);
  }

  /** All markers. Those that point nowhere are left out. */
  markers(): Marker[] {
    const found: Marker[] = [];
    const base = this.#sections.find((section) => this.#sectionName(section) === '.stapsdt.base');
    for (const section of this.#sections) {
      if (section.type !== SHT_NOTE || this.#sectionName(section) !== '.note.stapsdt') continue;
      if (section.bytes > elfLimits.noteBytes) {
        throw new ElfError(`has more than ${elfLimits.noteBytes >> 20} MiB of markers`);
      }
      this.#readNotes(this.#bytes(section.offset, section.bytes, 'its markers'), base?.address, found);
    }
    return found;
  }

  #readNotes(bytes: Uint8Array, base: bigint | undefined, found: Marker[]): void {
    const view = viewOf(bytes);
    const aligned = (length: number) => Math.ceil(length / 4) * 4;
    for (let at = 0; at + 12 <= bytes.length; ) {
      const nameBytes = view.getUint32(at, true);
      const bodyBytes = view.getUint32(at + 4, true);
      const body = at + 12 + aligned(nameBytes);
      const next = body + aligned(bodyBytes);
      if (body + bodyBytes > bytes.length)
        throw new ElfError('is damaged: its markers lie beyond their section');
      const owner = latin1(bytes.subarray(at + 12, at + 12 + nameBytes));
      if (owner === 'stapsdt\0' && view.getUint32(at + 8, true) === NT_STAPSDT && bodyBytes >= 24) {
        // The linker may move code after the note was written: by how much, the base tells.
        const moved = base === undefined ? 0n : base - view.getBigUint64(body + 8, true);
        const counter = view.getBigUint64(body + 16, true);
        const [provider = '', name = '', args = ''] = latin1(
          bytes.subarray(body + 24, body + bodyBytes),
        ).split('\0');
        const offset = this.offsetOf(BigInt.asUintN(64, view.getBigUint64(body, true) + moved));
        const counterOffset = counter === 0n ? 0 : this.offsetOf(BigInt.asUintN(64, counter + moved), PF_W);
        if (found.length >= elfLimits.markers)
          throw new ElfError(`has more than ${elfLimits.markers} markers`);
        if (offset !== undefined && counterOffset !== undefined) {
          found.push({ provider, name, offset, counterOffset, arguments: args });
        }
      }
      at = next;
    }
  }
}
