// SPDX-License-Identifier: Apache-2.0
// Addresses and networks: what is read, what is refused, and what is the same.
import { describe, expect, it } from 'vitest';
import { parseNetwork } from './addresses.js';

function check(text: string): string | undefined {
  const network = parseNetwork(text);
  return network && `${Buffer.from(network.bytes).toString('hex')}/${network.bits}`;
}

describe('a network', () => {
  it.each([
    ['10.1.2.3', '040a010203/32'],
    ['10.1.2.3/8', '040a000000/8'],
    ['10.129.2.3/9', '040a800000/9'],
    ['0.0.0.0/0', '0400000000/0'],
    ['::', `06${'00'.repeat(16)}/128`],
    ['::1', `06${'00'.repeat(15)}01/128`],
    ['fd00::/8', `06fd${'00'.repeat(15)}/8`],
    ['2001:db8:1::5/33', `0620010db8${'00'.repeat(12)}/33`],
    ['2001:db8::8001:5/112', `0620010db8${'00'.repeat(8)}8001${'0000'}/112`],
    ['1:2:3:4:5:6:7:8', '0600010002000300040005000600070008/128'],
    ['::ffff:10.1.2.3', '040a010203/32'],
    ['::ffff:0a01:0203/104', '040a000000/8'],
    ['::ffff:0:0/96', '0400000000/0'],
    ['::ffff:10.1.2.3/80', `06${'00'.repeat(16)}/80`],
  ])('%s is %s', (text, expected) => {
    expect(check(text)).toBe(expected);
  });

  it.each([
    '',
    '10.1.2',
    '10.1.2.256',
    '10.1.2.3/33',
    '10.1.2.3/',
    '10.1.2.3/8/8',
    '::1/129',
    ':::',
    'fd00::1%eth0',
    '1::2::3',
    'localhost',
    '010.1.2.3/-1',
  ])('%j is none', (text) => {
    expect(check(text)).toBeUndefined();
  });
});
