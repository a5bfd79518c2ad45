// SPDX-License-Identifier: Apache-2.0
// Owns the declarations of the functions that the host gives. AssemblyScript takes the name of this file as the name
// of the module that they are imported from.

/** Level 0 debug, 1 info, 2 warning, 3 error, 4 the reason of an abort. At most 512 bytes are read. */
export declare function log(level: i32, at: usize, bytes: i32): void;
