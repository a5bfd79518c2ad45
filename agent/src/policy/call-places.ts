// SPDX-License-Identifier: Apache-2.0
// Owns the table by which a program that calls of a list share tells them apart.
import { syscallNumber } from '@weir/policy';
import { limits } from '@weir/schema';
import { PolicyLoadError } from './errors.js';

/** The table by which a program tells the calls of a list: at each number 1 + position in the list. */
export function callPlaces(calls: readonly string[]): Uint8Array {
  const places = new Uint8Array(2 * limits.syscalls);
  const view = new DataView(places.buffer);
  calls.forEach((call, position) => {
    const number = syscallNumber(call);
    if (number === undefined || number >= limits.syscalls)
      throw new PolicyLoadError('load', `the number of the system call ${call} is not known to this version`);
    view.setUint16(2 * number, position + 1, true);
  });
  return places;
}
