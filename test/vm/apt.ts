// SPDX-License-Identifier: Apache-2.0
// Downloads and unpacks Debian packages without touching the host's package
// state and without root: an apt of our own, whose lists, cache and (empty)
// status are in the cache folder. The host's mirrors, proxy and credentials are
// used; its hooks, pins and third-party sources are not.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VmError } from './errors.js';
import { execute } from './execute.js';

const debianMirror = 'http://deb.debian.org/debian';
const debianSecurityMirror = 'http://deb.debian.org/debian-security';
/** A slow mirror, some 60 MB. */
const downloadTimeoutMs = 900_000;
const debianReleases = /^(bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing)\b/;
const debianKeyrings = [
  '/usr/share/keyrings/debian-archive-keyring.gpg',
  '/usr/share/keyrings/debian-archive-keyring.pgp',
];

/** One source, as apt's deb822 files state it; `raw` is kept to be written back as it was. */
export interface AptSource {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  readonly raw: string;
  readonly format: 'list' | 'sources';
}

/** Parses a one-line-format sources file (sources.list). */
export function parseListSources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line);
    if (match === null) continue;
    const [, uri = '', suite = '', components = ''] = match;
    sources.push({
      uris: [uri],
      suites: [suite],
      components: components.trim().split(/\s+/),
      raw: line.trim(),
      format: 'list',
    });
  }
  return sources;
}

/** Parses a deb822 sources file; disabled stanzas and source packages are left out. */
export function parseDeb822Sources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const stanza of text.split(/\n[ \t]*\n/)) {
    const lines = stanza.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const fields = new Map<string, string>();
    let current = '';
    for (const line of lines) {
      const match = /^([\w-]+):\s*(.*)$/.exec(line);
      if (match !== null) {
        current = (match[1] ?? '').toLowerCase();
        fields.set(current, match[2] ?? '');
      } else fields.set(current, `${fields.get(current) ?? ''}\n${line.trim()}`);
    }
    const words = (name: string): string[] =>
      (fields.get(name) ?? '').split(/\s+/).filter((word) => word !== '');
    if (/^(no|false|0)$/i.test(fields.get('enabled') ?? 'yes')) continue;
    if (!words('types').includes('deb')) continue;
    sources.push({
      uris: words('uris'),
      suites: words('suites'),
      components: words('components'),
      raw: lines.join('\n'),
      format: 'sources',
    });
  }
  return sources;
}

function readHostSources(): AptSource[] {
  const files = ['/etc/apt/sources.list'];
  const parts = '/etc/apt/sources.list.d';
  if (existsSync(parts)) files.push(...readdirSync(parts).map((name) => join(parts, name)));
  return files.flatMap((file) => {
    if (!existsSync(file)) return [];
    if (file.endsWith('.list')) return parseListSources(readFileSync(file, 'utf8'));
    if (file.endsWith('.sources')) return parseDeb822Sources(readFileSync(file, 'utf8'));
    return [];
  });
}

/** Returns the host's release, such as `bookworm` or `noble`. */
export function hostRelease(): string {
  const text = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const release = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(text)?.[1];
  if (release === undefined) {
    throw new VmError(
      'APT_SOURCES',
      '/etc/os-release has no VERSION_CODENAME; a Debian or Ubuntu host is needed',
    );
  }
  return release;
}

/**
 * Chooses the sources of the guest's userland: the host's own distribution, so that
 * node, the addon and the shared libraries they were linked with run there as here.
 */
function userlandSources(): AptSource[] {
  const release = hostRelease();
  const own = readHostSources().filter(
    (source) =>
      source.components.includes('main') &&
      source.suites.some((suite) => suite === release || suite.startsWith(`${release}-`)),
  );
  if (own.length === 0) {
    throw new VmError(
      'APT_SOURCES',
      `no apt source of this host offers ${release} main; add one under /etc/apt`,
    );
  }
  return own;
}

/** Chooses where kernels come from: Debian bookworm, by the host's mirror if it has one for Debian. */
function kernelSources(withBackports: boolean): AptSource[] {
  const keyring = debianKeyrings.find((file) => existsSync(file));
  if (keyring === undefined) {
    throw new VmError(
      'APT_SOURCES',
      `${debianKeyrings[0]} is missing, without which kernels cannot be verified: apt-get install debian-archive-keyring`,
    );
  }
  const debian = readHostSources().filter(
    (source) =>
      source.components.includes('main') && source.suites.some((suite) => debianReleases.test(suite)),
  );
  const isSecurity = (source: AptSource): boolean =>
    source.suites.some((suite) => suite.endsWith('-security'));
  const main = debian.find((source) => !isSecurity(source))?.uris[0] ?? debianMirror;
  const security =
    debian.find((source) => source.suites.every((suite) => suite.endsWith('-security')))?.uris[0] ??
    debianSecurityMirror;
  const stanza = (uri: string, suites: string[]): AptSource => ({
    uris: [uri],
    suites,
    components: ['main'],
    raw: `Types: deb\nURIs: ${uri}\nSuites: ${suites.join(' ')}\nComponents: main\nSigned-By: ${keyring}`,
    format: 'sources',
  });
  return [
    stanza(main, ['bookworm', ...(withBackports ? ['bookworm-backports'] : [])]),
    stanza(security, ['bookworm-security']),
  ];
}

/** An apt with a state of its own. */
export interface Apt {
  /** Returns the names of packages matching a regular expression (apt's dialect). */
  search(pattern: string): Promise<string[]>;
  /** Downloads packages with all that they depend on; returns the .deb files. */
  download(packages: readonly string[]): Promise<string[]>;
  /** Downloads exactly one package; returns its .deb file. */
  downloadOne(name: string): Promise<string>;
}

/** Opens an apt for the guest's userland. */
export async function openUserlandApt(folder: string): Promise<Apt> {
  return openApt(folder, userlandSources());
}

/** Opens an apt for Debian's kernels. */
export async function openKernelApt(folder: string, withBackports: boolean): Promise<Apt> {
  return openApt(folder, kernelSources(withBackports));
}

async function openApt(folder: string, sources: readonly AptSource[]): Promise<Apt> {
  const parts = join(folder, 'sources');
  const archives = join(folder, 'cache', 'archives');
  for (const path of [parts, join(folder, 'lists', 'partial'), join(archives, 'partial')]) {
    mkdirSync(path, { recursive: true });
  }
  const write = (format: AptSource['format'], separator: string): void => {
    const raw = sources.filter((source) => source.format === format).map((source) => source.raw);
    writeFileSync(join(parts, `guest.${format}`), `${raw.join(separator)}\n`);
  };
  write('list', '\n');
  write('sources', '\n\n');
  const status = join(folder, 'status');
  writeFileSync(status, '');

  // How to reach the mirror is the host's business; all else in its configuration
  // (hooks that clean caches, for one) would only be in the way.
  const host = await execute('apt-config', ['dump'], { code: 'APT_SOURCES' });
  const reach = host
    .split('\n')
    .filter((line) => /^Acquire::(http|https|Check-|Retries|Force|Max-)/i.test(line));
  const config = join(folder, 'apt.conf');
  writeFileSync(
    config,
    [
      'Dir::Etc::parts "/dev/null";',
      'Dir::Etc::main "/dev/null";',
      'Dir::Etc::preferences "/dev/null";',
      'Dir::Etc::preferencesparts "/dev/null";',
      'Dir::Etc::sourcelist "/dev/null";',
      `Dir::Etc::sourceparts "${parts}";`,
      `Dir::State "${folder}";`,
      `Dir::State::lists "${join(folder, 'lists')}";`,
      `Dir::State::status "${status}";`,
      `Dir::Cache "${join(folder, 'cache')}";`,
      'APT::Architecture "amd64";',
      'APT::Architectures { "amd64"; };',
      // The _apt user cannot write into a folder below someone's home.
      'APT::Sandbox::User "root";',
      'APT::Install-Recommends "false";',
      'Acquire::Languages "none";',
      'Acquire::Retries "3";',
      ...reach,
      '',
    ].join('\n'),
  );
  const env = { APT_CONFIG: config, DEBIAN_FRONTEND: 'noninteractive' };
  const options = { env, code: 'APT_DOWNLOAD', timeoutMs: downloadTimeoutMs } as const;
  await execute('apt-get', ['-q', 'update'], options);

  return {
    async search(pattern) {
      const text = await execute('apt-cache', ['search', '--names-only', pattern], options);
      return text.split('\n').flatMap((line) => line.split(' - ')[0]?.trim() || []);
    },
    async download(packages) {
      await execute('apt-get', ['-q', '-y', 'install', '--download-only', ...packages], options);
      return debFiles(archives);
    },
    async downloadOne(name) {
      const uris = await execute('apt-get', ['-q', 'download', '--print-uris', name], options);
      const file = /^'[^']*'\s+(\S+)/m.exec(uris)?.[1];
      if (file === undefined) throw new VmError('APT_DOWNLOAD', `apt knows no file of the package ${name}`);
      // apt-get download writes into the current folder.
      await execute('sh', ['-c', 'cd "$0" && exec apt-get -q download "$1"', archives, name], options);
      const found = debFiles(archives).find((path) => path.includes(`/${name}_`) || path.endsWith(file));
      if (found === undefined) throw new VmError('APT_DOWNLOAD', `apt downloaded no ${file}`);
      return found;
    },
  };
}

function debFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.deb'))
    .sort()
    .map((name) => join(folder, name));
}

/** Unpacks a .deb over a folder, keeping the folder's own links of directories (merged /usr). */
export async function unpackDeb(file: string, into: string): Promise<void> {
  await execute('sh', [
    '-c',
    'dpkg-deb --fsys-tarfile "$0" | tar --extract --keep-directory-symlink --preserve-permissions --no-same-owner --directory "$1"',
    file,
    into,
  ]);
}
