// SPDX-License-Identifier: Apache-2.0
// Tests that apt's two formats of sources are read as apt reads them.

import { expect, test } from 'vitest';
import { parseDeb822Sources, parseListSources } from './apt.js';

test('reads one-line sources, with and without options, and not those for source packages', () => {
  const sources = parseListSources(
    [
      '# deb http://commented.example/debian bookworm main',
      'deb http://deb.debian.org/debian bookworm main contrib # why',
      'deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] https://mirror.example/ubuntu noble-updates main universe',
      'deb-src http://deb.debian.org/debian bookworm main',
      '',
    ].join('\n'),
  );
  expect(sources.map(({ uris, suites, components }) => [uris, suites, components])).toEqual([
    [['http://deb.debian.org/debian'], ['bookworm'], ['main', 'contrib']],
    [['https://mirror.example/ubuntu'], ['noble-updates'], ['main', 'universe']],
  ]);
});

test('reads deb822 stanzas with comments, several suites and embedded keys, and not disabled ones', () => {
  const stanza = [
    'Types: deb deb-src',
    '# the mirror nearby',
    'URIs: http://archive.ubuntu.com/ubuntu/',
    'Suites: noble noble-updates',
    'Components: main universe',
    'Signed-By:',
    ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
    ' .',
    ' mQINBF',
    ' -----END PGP PUBLIC KEY BLOCK-----',
  ];
  const sources = parseDeb822Sources(
    [
      ...stanza,
      '',
      'Enabled: no',
      ...stanza,
      '',
      'Types: deb-src',
      'URIs: http://archive.ubuntu.com/ubuntu/',
      'Suites: noble',
      'Components: main',
    ].join('\n'),
  );
  expect(sources).toHaveLength(1);
  expect(sources[0]).toMatchObject({
    uris: ['http://archive.ubuntu.com/ubuntu/'],
    suites: ['noble', 'noble-updates'],
    components: ['main', 'universe'],
  });
  expect(sources[0]?.raw).toContain('\n .\n mQINBF\n');
});
