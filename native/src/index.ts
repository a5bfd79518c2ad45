// SPDX-License-Identifier: Apache-2.0
// The public names of the addon. It loads programs, attaches them, reads and writes maps and reads ring buffers; and it
// makes batches of records. It knows nothing of policies.

export { errnoName, NativeError, type NativeErrorCode } from './error.js';
export {
  type Added,
  type JoinNumbers,
  PROCESS_STRING_BYTES_MAX,
  RecordJoin,
  type RecordJoinOptions,
  slotState,
  TableHandle,
  type TableNumbers,
  type TableOptions,
} from './join.js';
export {
  bootId,
  type Clock,
  clockOffsetNs,
  type FieldStart,
  type KernelFunction,
  kernelField,
  kernelFunction,
  lsmHook,
  possibleCpus,
  tracepointParameters,
  waitGracePeriod,
} from './kernel.js';
export type { KernelField, KernelType } from './kernel-field.js';
export {
  BpfMap,
  type CreateMapOptions,
  createMap,
  type MapType,
  mapFlags,
  mapTypes,
  openMapById,
  openPinnedMap,
  updateFlags,
} from './map.js';
export { copyRanges } from './memory.js';
export { BpfObject, type OpenObjectOptions, openObject } from './object.js';
export { type Ability, type AbilityName, abilityNames, type Probe, probe, whyNothingLoads } from './probe.js';
export {
  type AttachOptions,
  BpfLink,
  BpfProgram,
  type CloneAttachType,
  type CloneOptions,
  cloneProgram,
  enableProgramStats,
  openMappingEvent,
  openPinnedLink,
  type ProgramStats,
} from './program.js';
export { type DrainResult, RingReader, type RingReaderOptions } from './ring.js';
