// SPDX-License-Identifier: Apache-2.0
// Owns the public types of acceptance.
import type { FilterManifest } from './manifest.js';

/** Bounds that a module must keep. */
export interface AcceptancePolicy {
  moduleBytesMax: number;
  /** The largest maximum that the module's memory may declare. */
  memoryBytesMax: number;
  /** The smallest maximum that leaves room for a batch. */
  memoryBytesMin: number;
  typesMax: number;
  functionsMax: number;
  /** Bytes of one function's body. */
  functionBytesMax: number;
  localsMax: number;
  globalsMax: number;
  tableElementsMax: number;
  exportsMax: number;
  dataSegmentsMax: number;
  elementSegmentsMax: number;
}

/** Why a module was refused. Code branches on these, people read `reason`. */
export type RefusalCode =
  | 'size'
  | 'malformed'
  | 'section'
  | 'type'
  | 'import'
  | 'export'
  | 'memory'
  | 'table'
  | 'limit'
  | 'start'
  | 'feature'
  | 'manifest'
  | 'abi'
  | 'invalid';

export type Acceptance =
  | {
      ok: true;
      manifest: FilterManifest;
      moduleBytes: number;
      memoryBytesMax: number;
      functions: number;
      imports: string[];
      /** Whether it takes a configuration. */
      configurable: boolean;
    }
  | { ok: false; code: RefusalCode; reason: string };
