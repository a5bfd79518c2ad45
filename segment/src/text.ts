// SPDX-License-Identifier: Apache-2.0
// Owns the way between bytes and text. Paths, arguments and names are bytes of any kind; JSON, SQL and terminals
// want text. The way there and back is exact:
//
//   a byte 0xNN that is no part of valid UTF-8        ⇄  the code point U+EF00 + 0xNN (U+EF80 to U+EFFF)
//   the three bytes of a valid U+EF80 to U+EFFF        ⇄  three such code points, as if each were invalid
//
// so that one text stands for one run of bytes only.

const invalidBase = 0xef00;
const encoder = new TextEncoder();

/** What a decoder would have replaced, or what would be taken for an escape: either needs the slow way. */
const needsCare = /[\uFFFD\uEF80-\uEFFF]/;
const escaped = /[\uEF80-\uEFFF]/;

/**
 * Length in bytes of the well-formed UTF-8 sequence at `at`, 0 where there is none (Unicode 15, table 3-7:
 * no overlong form, no surrogate, nothing over U+10FFFF).
 */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const second = bytes[at + 1] ?? 0;
  if (first < 0xe0) return isContinuation(second) ? 2 : 0;
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high || !isContinuation(bytes[at + 2] ?? 0)) return 0;
  if (first < 0xf0) return 3;
  return isContinuation(bytes[at + 3] ?? 0) ? 4 : 0;
}

function isContinuation(byte: number): boolean {
  return byte >= 0x80 && byte <= 0xbf;
}

function isEscapeSequence(bytes: Uint8Array, at: number): boolean {
  // U+EF80 to U+EFFF are EE BE 80 to EE BF BF.
  return bytes[at] === 0xee && (bytes[at + 1] === 0xbe || bytes[at + 1] === 0xbf);
}

function bytesToTextWithCare(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: string[] = [];
  let from = 0;
  let at = 0;
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at);
    if (length !== 0 && !(length === 3 && isEscapeSequence(bytes, at))) {
      at += length;
      continue;
    }
    if (from < at) parts.push(buffer.toString('utf8', from, at));
    const invalid = Math.max(length, 1);
    for (let i = 0; i < invalid; i++) parts.push(String.fromCharCode(invalidBase + (bytes[at + i] ?? 0)));
    at += invalid;
    from = at;
  }
  if (from < at) parts.push(buffer.toString('utf8', from, at));
  return parts.join('');
}

/** Turns bytes of any kind into well-formed text. The way back is {@link textToBytes}. */
export function bytesToText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  return needsCare.test(text) ? bytesToTextWithCare(bytes) : text;
}

/** Turns text made by {@link bytesToText} into the bytes that it was made of. */
export function textToBytes(text: string): Uint8Array {
  if (!escaped.test(text)) return encoder.encode(text);
  const bytes = new Uint8Array(text.length * 3);
  let length = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < invalidBase + 0x80 || code > invalidBase + 0xff) continue;
    length += encoder.encodeInto(text.slice(from, i), bytes.subarray(length)).written;
    bytes[length++] = code - invalidBase;
    from = i + 1;
  }
  length += encoder.encodeInto(text.slice(from), bytes.subarray(length)).written;
  return bytes.subarray(0, length);
}

/**
 * What a terminal must not get: control codes, the escape of an invalid byte, line separators, marks that change
 * the direction of text or are not seen, lone surrogates; and the backslash, so that what is shown is unambiguous.
 */
const unprintable =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  /[\u0000-\u001f\\\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\uef80-\uefff\u{e0000}-\u{e007f}]|\p{Surrogate}/gu;

function shown(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (character === '\\') return '\\\\';
  if (code >= invalidBase + 0x80 && code <= invalidBase + 0xff) return hex(code - invalidBase);
  if (code < 0x80) return hex(code);
  return `\\u{${code.toString(16)}}`;
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}

/** Makes text harmless to a terminal: what it would act upon is shown as `\x1b` or `\u{202e}`. */
export function printable(text: string): string {
  return text.replace(unprintable, shown);
}
