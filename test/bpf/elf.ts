// SPDX-License-Identifier: Apache-2.0
// Reads sections of a compiled eBPF object: 64-bit, little-endian.

export interface Section {
  readonly name: string;
  readonly bytes: Buffer;
  /** For relocations: the number of the section that they are of. */
  readonly info: number;
}

export function text(strings: Buffer, at: number): string {
  return strings.toString('latin1', at, strings.indexOf(0, at));
}

/** All sections of an ELF file, by their numbers. */
export function sections(elf: Buffer): Section[] {
  if (elf.readUInt32BE(0) !== 0x7f454c46) throw new Error('not an ELF file');
  const at = Number(elf.readBigUInt64LE(0x28));
  const entryBytes = elf.readUInt16LE(0x3a);
  const count = elf.readUInt16LE(0x3c);
  const headers = Array.from({ length: count }, (_, index) => elf.subarray(at + index * entryBytes));
  const body = (header: Buffer): Buffer => {
    const offset = Number(header.readBigUInt64LE(0x18));
    return elf.subarray(offset, offset + Number(header.readBigUInt64LE(0x20)));
  };
  const ofNames = headers[elf.readUInt16LE(0x3e)];
  if (ofNames === undefined) throw new Error('a section header is missing');
  const names = body(ofNames);
  return headers.map((header) => ({
    name: text(names, header.readUInt32LE(0)),
    bytes: body(header),
    info: header.readUInt32LE(0x2c),
  }));
}
