// SPDX-License-Identifier: Apache-2.0
// The public names of the schema.

export { type Column, type ColumnType, columns, columnTypes } from './archive.js';
export { bpfCommandNumber, bpfCommands } from './bpf-commands.js';
export { FILTERS_MAX } from './filter-abi.js';
export * from './generated/layout.js';
export { type HashAlgorithm, hashAlgorithms } from './hash-algorithms.js';
export { limits, sharedMapNames } from './kernel-maps.js';
