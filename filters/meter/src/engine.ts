// SPDX-License-Identifier: Apache-2.0
// Owns the types of the engine's WebAssembly interface that metering uses; Node's own types leave them out.

interface Engine {
  validate(bytes: Uint8Array): boolean;
}

export const engine = (globalThis as unknown as { WebAssembly: Engine }).WebAssembly;
