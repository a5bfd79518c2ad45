// SPDX-License-Identifier: Apache-2.0
// Owns where in a file a place is that a policy names: one or several instructions, each with the counter that tells
// the program that somebody looks, and with where its arguments are.
import { ElfError, ElfFile, elfLimits, type FileReader } from './elf.js';
import { functionRegisters, readMarkerArguments, type UserArgument } from './marker-arguments.js';
import type { UserPlace } from './places.js';
import { insideOf } from './user-places.js';

export interface UserLocation {
  /** Of the instruction, in the file. */
  readonly offset: number;
  /** Of the counter, in the file; 0 for none. */
  readonly counterOffset: number;
  /** By index: where the argument is, or why that is not known. */
  readonly arguments: readonly (UserArgument | string)[];
}

const parameters: readonly UserArgument[] = functionRegisters.map((register) => ({
  kind: 'register',
  register,
  bytes: 8,
  signed: false,
}));

/**
 * Finds a place in a file.
 * @param digest SHA-256 of the file in hexadecimal digits; asked for only where the policy names digests
 * @throws {ElfError} where the file has no such place, or is none of those that are meant
 */
export function locateUserPlace(place: UserPlace, file: FileReader, digest: () => string): UserLocation[] {
  const elf = new ElfFile(file);
  if (place.kind === 'marker') {
    const markers = elf.markers();
    const found = markers.filter(({ provider, name }) => provider === place.provider && name === place.name);
    if (found.length === 0) {
      const names = [...new Set(markers.map(({ provider, name }) => `${provider}:${name}`))];
      const has =
        names.length === 0 ? 'no markers (.note.stapsdt)' : `the markers ${names.slice(0, 20).join(', ')}`;
      throw new ElfError(`has no marker ${place.provider}:${place.name}; it has ${has}`, 'missing');
    }
    if (found.length > elfLimits.places) {
      throw new ElfError(
        `has the marker ${place.provider}:${place.name} in more than ${elfLimits.places} places`,
      );
    }
    return found.map(({ offset, counterOffset, arguments: text }) => ({
      offset,
      counterOffset,
      arguments: readMarkerArguments(text),
    }));
  }
  if (place.digests.length > 0) {
    const own = digest();
    if (!place.digests.includes(own)) {
      throw new ElfError(`has the SHA-256 digest ${own}, which is not among binaryDigests`, 'digest');
    }
  }
  const counterOffset = Number(place.counterOffset);
  if (counterOffset !== 0 && !elf.isCounter(counterOffset)) {
    throw new ElfError(`has no data that can be written at the offset ${counterOffset} of the counter`);
  }
  return functionOffsets(elf, place).map((offset) => ({ offset, counterOffset, arguments: parameters }));
}

/** A function, or `NAME+14`: an instruction so many bytes behind where it begins. */
function symbolOffsets(elf: ElfFile, symbol: string): number[] {
  const { name, behind } = insideOf(symbol);
  if (behind === 0n) return elf.functions(symbol);
  return elf.functions(name).map((start) => {
    const offset = start + Number(behind);
    if (!elf.isCode(offset)) throw new ElfError(`has no code at ${symbol}`, 'missing');
    return offset;
  });
}

function functionOffsets(elf: ElfFile, place: Extract<UserPlace, { kind: 'function' }>): number[] {
  if (place.symbol !== undefined) return symbolOffsets(elf, place.symbol);
  if (place.address !== undefined) {
    const offset = elf.offsetOf(place.address);
    if (offset === undefined)
      throw new ElfError(`has no code at the address 0x${place.address.toString(16)}`, 'missing');
    return [offset];
  }
  const offset = Number(place.offset ?? 0n);
  if (!elf.isCode(offset))
    throw new ElfError(`has no code at the offset 0x${offset.toString(16)}`, 'missing');
  return [offset];
}
