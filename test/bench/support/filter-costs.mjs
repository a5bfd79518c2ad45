// SPDX-License-Identifier: Apache-2.0
// What each safety measure costs: the same module over the same batch with it and without it, in one process and in
// turn, the least time of each: other work on the machine only adds.
import { driverOf, fuelOf, meterModule } from '@weir/filter-meter';
import {
  FILTER_CALL_BATCH_AT_AT,
  FILTER_CALL_BATCH_BYTES_AT,
  FILTER_CALL_BYTES,
  FILTER_CALL_CURSOR_AT,
  FILTER_CALL_RECORD_COUNT_AT,
  FILTER_CALL_VERDICTS_AT_AT,
} from '@weir/schema';
import { RECORDS } from './filter-events.mjs';

const LOAD_FUEL = 1n << 50n;
/** Of an event, and of all: as much as there can be, so that nothing ends. */
const FUEL = 2 ** 31 - 1;
const SHARE = 2 ** 30 - 1;
const driven = {
  name: 'weir_filter',
  cursorAt: FILTER_CALL_CURSOR_AT,
  recordCountAt: FILTER_CALL_RECORD_COUNT_AT,
};

/** An instance on the bare ABI, and how to have it judge the batch with or without copying it in. */
function instance(bytes, batch) {
  const made = new WebAssembly.Instance(new WebAssembly.Module(bytes), { weir: { log() {} } });
  const { exports } = made;
  fuelOf(made).refill(LOAD_FUEL);
  const driver = driverOf(made);
  exports.weir_start?.();
  const area = exports.weir_reserve(FILTER_CALL_BYTES + batch.length + RECORDS + 64) >>> 0;
  const memory = Buffer.from(exports.memory.buffer);
  const view = new DataView(exports.memory.buffer);
  const batchAt = area + FILTER_CALL_BYTES;
  const verdictsAt = batchAt + ((batch.length + 7) & ~7);
  memory.set(batch, batchAt);
  return (copies) => {
    memory.fill(0, area, batchAt);
    memory.fill(0, verdictsAt, verdictsAt + RECORDS);
    view.setUint32(area + FILTER_CALL_BATCH_AT_AT, batchAt, true);
    view.setUint32(area + FILTER_CALL_BATCH_BYTES_AT, batch.length, true);
    view.setUint32(area + FILTER_CALL_VERDICTS_AT_AT, verdictsAt, true);
    driver.spent.value = 0;
    driver.reserve.value = 0;
    const started = process.hrtime.bigint();
    if (copies) memory.fill(batch, batchAt, batchAt + batch.length);
    // It comes back behind each event that something is said of.
    for (let at = 0; at < RECORDS; ) at = driver.run(area, verdictsAt, at, RECORDS, FUEL, SHARE, SHARE, FUEL);
    return Number(process.hrtime.bigint() - started) / RECORDS;
  };
}

/** Least ns an event of each variant, which take turns. */
export function takeTurns(variants, rounds) {
  const best = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(variants)) {
      const ns = run();
      if (round >= rounds >> 2) best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, ns);
    }
  }
  return best;
}

const percent = (more, less) => Math.round((more / less - 1) * 1000) / 10;

/**
 * Percent that each measure adds to a filter without it. `host` has ns an event in the whole host with and without
 * the watchdog.
 */
export function costsOf(bytes, batch, rounds) {
  const only = (measure) =>
    meterModule(bytes, { driven, measures: { fuel: false, depth: false, nan: false, [measure]: true } });
  const shared = new Uint8Array(new SharedArrayBuffer(batch.length));
  shared.set(batch);
  const bare = instance(only('none'), shared);
  const variants = {
    bare: () => bare(false),
    fuel: instance(only('fuel'), shared).bind(null, false),
    depth: instance(only('depth'), shared).bind(null, false),
    nan: instance(only('nan'), shared).bind(null, false),
    metered: instance(meterModule(bytes, { driven }), shared).bind(null, false),
    copied: () => bare(true),
  };
  const ns = takeTurns(variants, rounds);
  return {
    bareNs: ns.bare,
    meteredNs: ns.metered,
    fuelPercent: percent(ns.fuel, ns.bare),
    depthPercent: percent(ns.depth, ns.bare),
    nanPercent: percent(ns.nan, ns.bare),
    allMeteringPercent: percent(ns.metered, ns.bare),
    copyPercent: percent(ns.copied, ns.bare),
    copyNs: ns.copied - ns.bare,
  };
}
