// SPDX-License-Identifier: Apache-2.0
// Owns hooks in programs and libraries: the file is opened once, its places are found in it, and a program is attached
// to each of them by that open file, so that it is the very file that was looked at.
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import {
  ElfError,
  type FileReader,
  type HookPlan,
  locateUserPlace,
  type UserArgument,
  type UserLocation,
  type UserPlace,
} from '@weir/policy';
import { makeUserArgument, USER_ARGUMENT_BYTES, UserArgumentKind, writeUserArgument } from '@weir/schema';
import { PolicyLoadError } from './errors.js';
import { realPathIn } from './host-paths.js';
import { u64 } from './prevention.js';

/** What a hook in a program needs to be attached. */
export interface UserRequest {
  readonly place: UserPlace;
  /** Indexes of the arguments that are read. */
  readonly indexes: readonly number[];
  /** Of those that are set. */
  readonly sets: readonly number[];
}

/** What a hook needs to be attached; undefined of one that is in no program. */
export function userRequestOf(hook: HookPlan): UserRequest | undefined {
  if (hook.user === undefined) return undefined;
  return { place: hook.user, indexes: userIndexes(hook), sets: settings(hook) };
}

/** The arguments of a marker that selectors of a hook set, each once, in order. */
export function settings({ selectors }: HookPlan): number[] {
  const indexes = selectors.flatMap(({ set }) => (set === undefined ? [] : [set.argument]));
  return [...new Set(indexes)].sort((a, b) => a - b);
}

/** The arguments of a program that a hook reads, those that say the size of others among them. */
function userIndexes({ arguments: all }: HookPlan): number[] {
  return all.flatMap(({ index, register, field, buffer }) => [
    ...(register !== undefined || field?.source === 'current_task' ? [] : [index]),
    ...(buffer?.sizeIndex === undefined ? [] : [buffer.sizeIndex]),
  ]);
}

/** A place in a file: while it is open, by that path. */
export interface UserPlaced {
  readonly path: string;
  readonly offset: number;
  readonly counterOffset: number;
  /** The same for the same file, whatever its path. */
  readonly file: string;
}

/** Of `user_arguments` (bpf/user.h). */
const argumentsMax = 16;
const noRegister = 0xffff;
const digestChunkBytes = 1 << 20;

function readerOf(fd: number, bytes: number): FileReader {
  return {
    bytes,
    read: (offset, length) => {
      const buffer = new Uint8Array(Math.max(0, Math.min(length, bytes - offset)));
      let done = 0;
      while (done < buffer.length) {
        const more = readSync(fd, buffer, done, buffer.length - done, offset + done);
        if (more === 0) break;
        done += more;
      }
      return buffer.subarray(0, done);
    },
  };
}

/** SHA-256 of a file, in hexadecimal digits. */
function digestOf(file: FileReader): string {
  const hash = createHash('sha256');
  for (let at = 0; at < file.bytes; at += digestChunkBytes) hash.update(file.read(at, digestChunkBytes));
  return hash.digest('hex');
}

/** Calls a body with a file of the host, by its path as processes of the host see it. */
function withFile<Result>(
  root: string,
  path: string,
  body: (fd: number, file: FileReader & { readonly id: string }) => Result,
): Result {
  // An absolute link in the host's tree begins at the host's root.
  const real = realPathIn(root)(path);
  if (real === undefined) throw new PolicyLoadError('no-function', `there is no file ${path} on this host`);
  let fd: number;
  try {
    // What is no file shall not keep the agent waiting.
    fd = openSync(`${root}${real}`, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new PolicyLoadError('load', `${path} cannot be opened (${code})`, error);
  }
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) throw new PolicyLoadError('load', `${path} is no file`);
    return body(fd, { ...readerOf(fd, Number(stat.size)), id: `${stat.dev}:${stat.ino}` });
  } finally {
    closeSync(fd);
  }
}

function locate(place: UserPlace, file: FileReader): UserLocation[] {
  try {
    return locateUserPlace(place, file, () => digestOf(file));
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    throw new PolicyLoadError(
      error.code === 'missing' ? 'no-function' : 'load',
      `${place.path} ${error.message}`,
      error,
    );
  }
}

function writeArgument(view: DataView, at: number, argument: UserArgument): void {
  const common = { bytes: argument.bytes, isSigned: argument.signed ? 1 : 0 };
  writeUserArgument(
    view,
    at,
    argument.kind === 'constant'
      ? makeUserArgument({ ...common, kind: UserArgumentKind.constant, value: argument.value })
      : argument.kind === 'register'
        ? makeUserArgument({ ...common, kind: UserArgumentKind.register, base: argument.register })
        : makeUserArgument({
            ...common,
            kind: UserArgumentKind.memory,
            base: argument.base ?? noRegister,
            index: argument.index ?? noRegister,
            shift: argument.shift,
            value: argument.displacement,
          }),
  );
}

/** The constants that say where arguments are. @throws {PolicyLoadError} where one that is read is nowhere */
export function encodeUserArguments(
  { place, indexes, sets }: UserRequest,
  { arguments: places }: Pick<UserLocation, 'arguments'>,
): Uint8Array {
  const bytes = new Uint8Array(argumentsMax * USER_ARGUMENT_BYTES);
  for (const index of new Set([...indexes, ...sets])) {
    const argument = places[index];
    if (argument === undefined || index >= argumentsMax) {
      const what = place.kind === 'marker' ? `the marker ${place.provider}:${place.name}` : 'a function';
      throw new PolicyLoadError(
        'load',
        `${place.path}: ${what} has no argument ${index} that can be read; it has ${places.length}, counted from 0`,
      );
    }
    if (typeof argument === 'string') {
      throw new PolicyLoadError('load', `${place.path}: argument ${index} cannot be read: ${argument}`);
    }
    if (sets.includes(index) && argument.kind !== 'memory')
      throw new PolicyLoadError(
        'load',
        `${place.path}: argument ${index} cannot be set: it ${argument.kind === 'constant' ? 'is a constant' : 'is in a register, which no program may change here'}; one that lies in memory can`,
      );
    writeArgument(new DataView(bytes.buffer), index * USER_ARGUMENT_BYTES, argument);
  }
  return bytes;
}

function digits(place: UserPlace): string {
  return place.kind === 'marker' ? place.name : (place.symbol ?? place.path.replace(/^.*\//, ''));
}

/**
 * Calls `attach` for each place in the file that a hook stands for, with a program's constants and name.
 * @param root of the host's file tree, empty where it is this process's own
 * @throws {PolicyLoadError}
 */
export function atUserPlaces(
  request: UserRequest,
  spec: Uint8Array,
  root: string,
  attach: (rodata: Readonly<Record<string, Uint8Array>>, name: string, place: UserPlaced) => void,
): void {
  const { place } = request;
  withFile(root, place.path, (fd, file) => {
    for (const location of locate(place, file)) {
      const { offset, counterOffset } = location;
      const rodata = {
        spec,
        function_offset: u64(BigInt(offset)),
        user_arguments: encodeUserArguments(request, location),
      };
      attach(rodata, digits(place).replace(/\W/g, '_').slice(0, 15), {
        path: `/proc/self/fd/${fd}`,
        offset,
        counterOffset,
        file: file.id,
      });
    }
  });
}
