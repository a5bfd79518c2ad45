// SPDX-License-Identifier: Apache-2.0
// Owns the words for a process sensor that the kernel refuses.
import { NativeError } from '@weir/native';
import { lastWordOf } from './policy/errors.js';
import { Sensor, type SensorOptions } from './process/sensor.js';

/** Loads the process sensor. @throws {NativeError} that says why, where the kernel refuses it. */
export function loadSensor(options: SensorOptions): Sensor {
  try {
    return Sensor.load(options);
  } catch (error) {
    throw sensorRefusal(error);
  }
}

/** Gives the same error with what the verifier said of which program; as it is where the verifier said nothing. */
export function sensorRefusal(error: unknown): unknown {
  if (!(error instanceof NativeError)) return error;
  const said = lastWordOf(error);
  if (said === '') return error;
  // libbpf names the program in a line of its own, above the verifier's log.
  const [, program] = /prog '(\w{1,64})': BPF program load failed/.exec(error.log) ?? [];
  const { code, errno, log } = error;
  const message = `${error.message}: ${program === undefined ? '' : `${program}: `}${said}`;
  return new NativeError(code, message, { errno, log, cause: error });
}
