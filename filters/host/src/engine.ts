// SPDX-License-Identifier: Apache-2.0
// Owns the types of the engine's WebAssembly interface that the host uses; Node's own types leave them out.

export interface WasmModule {
  readonly __module?: never;
}

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

interface Engine {
  compile(bytes: Uint8Array): Promise<WasmModule>;
  Instance: new (module: WasmModule, imports: object) => { exports: Record<string, unknown> };
}

export const engine = (globalThis as unknown as { WebAssembly: Engine }).WebAssembly;
