// SPDX-License-Identifier: Apache-2.0
// Masks secrets in arguments and environments before anything is stored: values of options and variables by their
// names, tokens by their prefixes, what authorises, passwords in URLs, private keys. Of whatever it fails on, the host
// masks all arguments. Must be the first in the list of filters. MITRE ATT&CK T1552 is what it takes away.
import {
  Argument,
  Bytes,
  Config,
  Event,
  keep,
  LruSet,
  mix,
  Process,
  TextList,
  Verdict,
} from '@weir/filter-sdk';

let names = new TextList([
  'password',
  'passwd',
  'passphrase',
  'secret',
  'token',
  'api-key',
  'api_key',
  'apikey',
  'access-key',
  'access_key',
  'private-key',
  'private_key',
  'credential',
]);
let prefixes = new TextList([
  'ghp_',
  'gho_',
  'ghs_',
  'github_pat_',
  'glpat-',
  'xoxb-',
  'xoxp-',
  'AKIA',
  'ASIA',
  'sk_live_',
  'rk_live_',
  'eyJhbGciOi',
  'npm_',
  'hvs.',
]);
// Executions without a secret, most of all: looked at once.
const clean = new LruSet(16384);

export function configure(config: Config): void {
  names = config.texts('names', names);
  prefixes = config.texts('prefixes', prefixes);
}

/** As far as the host looks for what is to be masked. */
const GENERATIONS = 64;
/** Pieces of one event; beyond them what holds a secret is masked as a whole, for there is no room for many more. */
const PIECES = 32;
let pieces = 0;

export function filter(event: Event): Verdict {
  pieces = 0;
  redactLine(event.process);
  if (event.parent.key != event.process.parent.key) redactLine(event.parent);
  for (let i = 0; i < event.argumentCount; i++) redactArgument(event.argument(i));
  for (let i = 0; i < event.dataCount; i++) redactArgument(event.data(i));
  redactArgument(event.returned);
  return pieces > 0 ? keep().labelText('redacted', 'true') : keep();
}

/** A process and its ancestors. */
function redactLine(first: Process): void {
  let process = first;
  for (let i = 0; i <= GENERATIONS && process.isKnown; i++) {
    redactProcess(process);
    process = process.parent;
  }
}

function redactProcess(process: Process): void {
  const key = mix(process.key, process.execNs);
  if (clean.has(key)) return;
  const before = pieces;
  redactText(process.arguments.raw);
  redactText(process.environment);
  if (pieces == before) clean.add(key);
}

function redactArgument(argument: Argument): void {
  if (argument.isText) redactText(argument.bytes);
}

/** Masks what is secret in texts with NUL between them; the whole where that is more than there is room for. */
function redactText(all: Bytes): void {
  if (all.isEmpty || !redactPieces(all)) return;
  keep().redact(all);
  pieces++;
}

/** Masks what is secret; returns true where there is no room for all of it. */
function redactPieces(all: Bytes): bool {
  for (let i = 0; i < prefixes.length; i++) {
    const prefix = prefixes.at(i);
    for (let at = all.indexOf(prefix); at >= 0; ) {
      const end = endOfToken(all, at);
      if (redact(all.slice(at, end))) return true;
      at = all.indexOf(prefix, end);
    }
  }
  // One by one only where there is something to be found: most have nothing.
  const isNamed = (all.indexOfByte(0x3d) >= 0 || all.indexOfByte(0x2d) >= 0) && names.isIn(all);
  const isMarked =
    all.contains('://') || all.contains('-----BEGIN') || all.containsIgnoreCase('authorization:');
  if (!isNamed && !isMarked) return false;
  let isValue = false;
  for (let from = 0; from < all.length; ) {
    const next = all.indexOfByte(0, from);
    const end = next < 0 ? all.length : next;
    const one = all.slice(from, end);
    from = end + 1;
    if (isValue && one.at(0) != 0x2d) {
      if (redact(one)) return true;
      isValue = false;
      continue;
    }
    isValue = false;
    if (one.length <= 3) continue;
    if (isMarked && redactMarked(one)) return true;
    const equals = isNamed ? one.indexOfByte(0x3d) : -1;
    if (equals > 0 && names.isIn(one.slice(0, equals)) && redact(one.slice(equals + 1))) return true;
    isValue = isNamed && equals < 0 && one.at(0) == 0x2d && names.isIn(one);
  }
  return false;
}

/** Private keys, passwords in URLs, headers that authorise. */
function redactMarked(text: Bytes): bool {
  if (text.startsWith('-----BEGIN')) return redact(text);
  const scheme = text.indexOf('://');
  if (scheme > 0) {
    const at = text.indexOfByte(0x40, scheme);
    const colon = text.indexOfByte(0x3a, scheme + 3);
    if (colon > 0 && colon < at && redact(text.slice(colon + 1, at))) return true;
  }
  const authorization = text.indexOfIgnoreCase('authorization:');
  return authorization >= 0 && redact(text.slice(authorization + 14));
}

/** Masks a piece; returns true where there is no room for it. */
function redact(secret: Bytes): bool {
  if (secret.isEmpty) return false;
  if (pieces >= PIECES) return true;
  keep().redact(secret);
  pieces++;
  return false;
}

export function endOfToken(text: Bytes, start: i32): i32 {
  let end = start;
  while (end < text.length) {
    const byte = <u32>text.at(end);
    const isPart =
      (byte | 0x20) - 0x61 < 26 || byte - 0x30 < 10 || byte == 0x2d || byte == 0x2e || byte == 0x5f;
    if (!isPart) break;
    end++;
  }
  return end;
}
