// SPDX-License-Identifier: Apache-2.0
// Owns what benches do with numbers.

export function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
