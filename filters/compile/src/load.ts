// SPDX-License-Identifier: Apache-2.0
// Owns whether a module can be loaded with a configuration, by the very host that runs in the agent: a release with one
// that cannot is refused by each node, and holds up all that is released with it.
import { FilterHost, FilterHostError } from '@weir/filter-host';
import { FilterBuildError } from './error.js';

/** More than any agent allows: how large a module and its budget may be is for those that it is sent to. */
const acceptance = { memoryBytesMax: 64 * 1024 * 1024, tableElementsMax: 65_536 };
const budgetCaps = { fuelPerEvent: 2 ** 31, averageFuel: 2 ** 31, averageNs: 2 ** 31 };

/**
 * Loads a module once, with its configuration as JSON text where there is one. Whether it is accepted at all is not asked
 * here.
 * @throws {FilterBuildError} `load`, with the reason that an agent would give
 */
export async function checkLoad(module: Uint8Array, config?: string): Promise<void> {
  const host = await FilterHost.create({ acceptance, budgetCaps });
  try {
    await host.setFilters([config === undefined ? { bytes: module } : { bytes: module, config }]);
  } catch (cause) {
    if (!(cause instanceof FilterHostError)) throw cause;
    if (cause.code === 'load') throw new FilterBuildError('load', cause.message, [], { cause });
  } finally {
    await host.close();
  }
}
