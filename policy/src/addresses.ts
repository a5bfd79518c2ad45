// SPDX-License-Identifier: Apache-2.0
// Owns internet addresses and networks as bytes: as policies write them, and as the kernel stage looks them up.

/** The beginning of an address: as many of its bits as count. */
export interface Network {
  /** The version (4 or 6), then the address. */
  readonly bytes: Uint8Array;
  /** Bits that count, those of the version not counted. */
  readonly bits: number;
}

function bytes4(text: string): number[] | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  return parts?.every((part) => part <= 255) === true ? parts : undefined;
}

function bytes6(text: string): number[] | undefined {
  if (!/^[0-9a-fA-F:.]+$/.test(text) || !text.includes(':') || !URL.canParse(`http://[${text}]/`))
    return undefined;
  // The URL's own spelling: hexadecimal groups, at most one run of them left out.
  const spelt = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [head = '', tail] = spelt.split('::');
  const groups = (part: string | undefined) => (part ?? '').split(':').filter((group) => group !== '');
  const before = groups(head);
  const after = groups(tail);
  const left = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...left, ...after].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}

const mappedBits = 96;

/**
 * Reads an address or a network in CIDR notation; undefined where it is none. What is IPv4 within IPv6 (::ffff:10.0.0.1)
 * is IPv4, as a socket of IPv6 that speaks IPv4 is matched as one.
 */
export function parseNetwork(text: string): Network | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const v4 = bytes4(address);
  const all = v4 ?? bytes6(address);
  if (all === undefined || rest.length > 0 || !(length === undefined || /^\d{1,3}$/.test(length)))
    return undefined;
  const bits = length === undefined ? all.length * 8 : Number(length);
  if (bits > all.length * 8) return undefined;
  const isMapped =
    v4 === undefined &&
    bits >= mappedBits &&
    all.slice(0, 10).every((byte) => byte === 0) &&
    all[10] === 255 &&
    all[11] === 255;
  const [version, kept, counted] = isMapped
    ? [4, all.slice(12), bits - mappedBits]
    : [v4 === undefined ? 6 : 4, all, bits];
  const masked = kept.map((byte, index) => {
    const own = Math.min(8, Math.max(0, counted - index * 8));
    return byte & (0xff00 >> own) & 0xff;
  });
  return { bytes: Uint8Array.of(version, ...masked), bits: counted };
}
