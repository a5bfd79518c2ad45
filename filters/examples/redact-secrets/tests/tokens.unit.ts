// SPDX-License-Identifier: Apache-2.0
// Where a token ends: too early would leave a part of it to be read, too late would mask what is none.
import { bytes } from '@weir/filter-sdk/testing';
import { endOfToken } from '../filter';

export function aTokenEndsWithTheText(): void {
  assert(endOfToken(bytes('ghp_abc'), 0) == 7);
  assert(endOfToken(bytes('x=ghp_abc'), 2) == 9);
}

export function aTokenHasLettersDigitsAndThreeSigns(): void {
  assert(endOfToken(bytes('aZ09-._ b'), 0) == 7);
}

export function aTokenEndsWithWhatIsNoneOfThese(): void {
  assert(endOfToken(bytes('abc"x'), 0) == 3);
  assert(endOfToken(bytes('abc/x'), 0) == 3);
  assert(endOfToken(bytes('abc@x'), 0) == 3, 'the byte before the letters');
  assert(endOfToken(bytes('abc[x'), 0) == 3, 'the byte after them');
}

export function nothingIsNoToken(): void {
  assert(endOfToken(bytes(''), 0) == 0);
}
