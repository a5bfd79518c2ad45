// SPDX-License-Identifier: Apache-2.0
// Masks secrets in arguments and environments before anything is stored: values of options and variables by their
// names, tokens by their prefixes, what authorises, passwords in URLs, private keys. Of whatever it fails on, the host
// masks all arguments. Must be the first in the list of filters. MITRE ATT&CK T1552 is what it takes away.
import { Bytes, Config, Event, keep, LruSet, mix, Process, TextList, Verdict } from '@weir/filter-sdk';

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

export function filter(event: Event): Verdict {
  let found = 0;
  let process = event.process;
  for (let i = 0; i < 8 && process.isKnown; i++) {
    found += redactProcess(process);
    process = process.parent;
  }
  if (event.parent.key != event.process.parent.key) found += redactProcess(event.parent);
  for (let i = 0; i < event.argumentCount; i++) {
    const argument = event.argument(i);
    if (argument.isText) found += redactText(argument.bytes);
  }
  return found > 0 ? keep().labelText('redacted', 'true') : keep();
}

function redactProcess(process: Process): i32 {
  if (!process.isKnown) return 0;
  const key = mix(process.key, process.execNs);
  if (clean.has(key)) return 0;
  const found = redactText(process.arguments.raw) + redactText(process.environment);
  if (found == 0) clean.add(key);
  return found;
}

/** Masks what is secret in texts with NUL between them; returns how many pieces that are. */
function redactText(all: Bytes): i32 {
  let found = 0;
  for (let i = 0; i < prefixes.length; i++) {
    const prefix = prefixes.at(i);
    for (let at = all.indexOf(prefix); at >= 0; ) {
      const end = endOfToken(all, at);
      found += redact(all.slice(at, end));
      at = all.indexOf(prefix, end);
    }
  }
  // One by one only where there is something to be found: most have nothing.
  const isNamed = (all.indexOfByte(0x3d) >= 0 || all.indexOfByte(0x2d) >= 0) && names.isIn(all);
  const isMarked =
    all.contains('://') || all.contains('-----BEGIN') || all.containsIgnoreCase('authorization:');
  if (!isNamed && !isMarked) return found;
  let isValue = false;
  for (let from = 0; from < all.length; ) {
    const next = all.indexOfByte(0, from);
    const end = next < 0 ? all.length : next;
    const one = all.slice(from, end);
    if (isValue && one.at(0) != 0x2d) found += redact(one);
    else if (one.length > 3) {
      if (isMarked) found += redactMarked(one);
      const equals = isNamed ? one.indexOfByte(0x3d) : -1;
      if (equals > 0 && names.isIn(one.slice(0, equals))) found += redact(one.slice(equals + 1));
      isValue = isNamed && equals < 0 && one.at(0) == 0x2d && names.isIn(one);
      from = end + 1;
      continue;
    }
    isValue = false;
    from = end + 1;
  }
  return found;
}

/** Private keys, passwords in URLs, headers that authorise. */
function redactMarked(text: Bytes): i32 {
  if (text.startsWith('-----BEGIN')) return redact(text);
  let found = 0;
  const scheme = text.indexOf('://');
  if (scheme > 0) {
    const at = text.indexOfByte(0x40, scheme);
    const colon = text.indexOfByte(0x3a, scheme + 3);
    if (colon > 0 && colon < at) found += redact(text.slice(colon + 1, at));
  }
  const authorization = text.indexOfIgnoreCase('authorization:');
  return authorization < 0 ? found : found + redact(text.slice(authorization + 14));
}

function redact(secret: Bytes): i32 {
  if (secret.isEmpty) return 0;
  keep().redact(secret);
  return 1;
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
