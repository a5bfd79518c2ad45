// SPDX-License-Identifier: Apache-2.0
// Public names of metering.
export type { Driven } from './driver.js';
export type { Measures } from './emit.js';
export { MeterError, type MeterErrorCode } from './error.js';
export {
  DEPTH_EXPORT,
  type Driver,
  driverOf,
  type Exhausted,
  FUEL_EXPORT,
  type Fuel,
  fuelOf,
} from './fuel.js';
export { runEnd } from './latch.js';
export { type MeterOptions, meterModule } from './meter.js';
