// SPDX-License-Identifier: Apache-2.0
// Owns the places in programs and libraries that a policy names: functions of `uprobes`, by symbol, offset or address,
// and markers of `usdts`. Where in a file they are is found by whoever has the file.
import type { PolicyIssueCode } from './error.js';
import type { ResolvedCall, UserFunction, UserMarker } from './places.js';
import type { Located } from './policy.js';
import type { Uprobe, Usdt } from './shape.js';
import { parseInteger } from './values.js';

/** A counter's offset travels to the kernel in 32 bits (`ref_ctr_offset` of the uprobe PMU). */
const counterOffsetMax = 0xffff_ffffn;
const fileOffsetMax = 2n ** 63n - 1n;

type Report = (code: PolicyIssueCode, path: string, message: string) => void;

/** A file offset or an address as policies write them: a number, or a text such as `0x1234`. */
function readNumber(value: number | string): bigint | undefined {
  if (typeof value === 'number') return BigInt(value);
  const number = parseInteger(value);
  return number === undefined || number < 0n || number > fileOffsetMax ? undefined : number;
}

/** A digest in lower case, without the name of its kind; undefined where it is none. */
export function readDigest(text: string): string | undefined {
  return /^(?:sha256:)?([0-9a-f]{64})$/i.exec(text)?.[1]?.toLowerCase();
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** A symbol in two parts: the function, and how far behind its beginning is meant (`main+0x14`); 0 for that itself. */
export function insideOf(symbol: string): { readonly name: string; readonly behind: bigint } {
  const [, name = symbol, digits = '0'] = /^(.+)\+(0x[0-9a-fA-F]{1,8}|[0-9]{1,9})$/.exec(symbol) ?? [];
  return { name, behind: BigInt(digits) };
}

/** What a place is called in status, errors and keys of hooks. */
export function userPlaceName(place: UserFunction | UserMarker): string {
  if (place.kind === 'marker') return `${place.path}:${place.provider}:${place.name}`;
  const counter = place.counterOffset === 0n ? '' : `(${hex(place.counterOffset)})`;
  const where =
    place.symbol ?? (place.offset === undefined ? `@${hex(place.address ?? 0n)}` : `+${hex(place.offset)}`);
  return `${place.path}:${where}${counter}`;
}

function callOf(place: UserFunction | UserMarker, path: string): Located<ResolvedCall> {
  return { item: { symbol: userPlaceName(place), kind: 'user', meaning: '', syscallName: '', place }, path };
}

/** The functions of a uprobe, each a hook of its own. What is wrong with one is reported, and it is left out. */
export function uprobeCalls(
  uprobe: Uprobe,
  path: string,
  report: Report = () => {},
): Located<ResolvedCall>[] {
  const named = (['symbols', 'offsets', 'addrs'] as const).filter(
    (field) => (uprobe[field] ?? []).length > 0,
  );
  const [field, other] = named;
  if (field === undefined) {
    report('missing-field', `${path}.symbols`, 'is missing: name symbols, offsets or addrs');
    return [];
  }
  if (other !== undefined) {
    report(
      'conflict',
      `${path}.${other}`,
      `${field} are there already: write one of symbols, offsets and addrs`,
    );
  }
  const places = uprobe[field] ?? [];
  const counters = uprobe.refCtrOffsets ?? [];
  if (counters.length > 0 && counters.length !== places.length) {
    report(
      'wrong-value',
      `${path}.refCtrOffsets`,
      `has ${counters.length} offsets, and ${field} has ${places.length}: write one for each, 0 where there is no counter`,
    );
  }
  const digests = (uprobe.binaryDigests ?? []).flatMap((text, index) => {
    const digest = readDigest(text);
    if (digest !== undefined) return [digest];
    report(
      'wrong-value',
      `${path}.binaryDigests[${index}]`,
      'is no SHA-256 digest: write 64 hexadecimal digits, with or without "sha256:" before them',
    );
    return [];
  });
  const calls: Located<ResolvedCall>[] = [];
  const seen = new Set<string>();
  places.forEach((value, index) => {
    const at = `${path}.${field}[${index}]`;
    const counter = readNumber(counters[index] ?? 0);
    if (counter === undefined || counter > counterOffsetMax) {
      report('wrong-value', `${path}.refCtrOffsets[${index}]`, 'is no offset in a file of up to 4 GiB');
      return;
    }
    if (field === 'symbols' && String(value).includes('\0')) {
      report('wrong-value', at, 'is no name of a function: it has a NUL in it');
      return;
    }
    const number = field === 'symbols' ? 0n : readNumber(value);
    if (number === undefined) {
      report('wrong-value', at, 'is no offset or address: write a number, such as 4096 or "0x1000"');
      return;
    }
    const call = callOf(
      {
        kind: 'function',
        path: uprobe.path,
        ...(field === 'symbols'
          ? { symbol: String(value) }
          : field === 'offsets'
            ? { offset: number }
            : { address: number }),
        counterOffset: counter,
        digests: [...new Set(digests)].sort(),
      },
      at,
    );
    if (!seen.has(call.item.symbol)) calls.push(call);
    seen.add(call.item.symbol);
  });
  return calls;
}

/** The marker of a usdt; one name may stand for several places of the file. */
export function usdtCalls(usdt: Usdt, path: string): Located<ResolvedCall>[] {
  const { path: file, provider, name } = usdt;
  return [callOf({ kind: 'marker', path: file, provider, name }, `${path}.name`)];
}
