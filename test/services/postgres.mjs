// SPDX-License-Identifier: Apache-2.0
// Starts a private PostgreSQL for tests: a cluster in a temporary folder, on a Unix socket in that folder alone, as
// an unprivileged user. `node test/services/postgres.mjs` runs one until it is interrupted, and prints its URL.
import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** How long a start may take. */
const startMs = 60_000;

/** @returns {string | undefined} the folder with `initdb` and `postgres`, of the newest version that is installed. */
export function postgresFolder() {
  const candidates = [];
  const debian = '/usr/lib/postgresql';
  if (existsSync(debian)) {
    const versions = readdirSync(debian).sort((a, b) => Number(b) - Number(a));
    for (const version of versions) candidates.push(join(debian, version, 'bin'));
  }
  for (const folder of (process.env.PATH ?? '').split(':')) candidates.push(folder);
  return candidates.find(
    (folder) => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')),
  );
}

/** PostgreSQL refuses to run as root: root lends it the user that its package made, or nobody. */
function unprivileged() {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const entry = spawnSync('getent', ['passwd', name], { encoding: 'utf8' }).stdout.trim().split(':');
    if (entry.length >= 4) return { uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new Error('PostgreSQL cannot run as root, and there is neither a user postgres nor nobody.');
}

/**
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 * @throws {Error} where PostgreSQL is not installed or does not start.
 */
export async function startPostgres() {
  const bin = postgresFolder();
  if (bin === undefined) throw new Error('PostgreSQL is not installed: apt-get install postgresql');
  const user = unprivileged();
  const folder = mkdtempSync(join(tmpdir(), 'weir-postgres-'));
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const environment = { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', HOME: folder };
  const options = { cwd: folder, env: environment, ...user };
  const made = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'weir', '-A', 'trust', '-E', 'UTF8', '--no-sync', '--no-instructions'],
    { ...options, encoding: 'utf8' },
  );
  if (made.status !== 0) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`initdb failed: ${made.stderr || made.error?.message}`);
  }
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', data, '-k', folder, '-h', '', '-c', 'fsync=off', '-c', 'shared_buffers=32MB'],
    { ...options, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended = new Promise((resolve) => server.once('exit', resolve));
  let closed = false;
  const close = async () => {
    if (!closed) {
      closed = true;
      // SIGQUIT is an immediate shutdown: nothing of it is kept.
      server.kill('SIGQUIT');
    }
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await new Promise((resolve, reject) => {
      let log = '';
      const timer = setTimeout(() => reject(new Error(`PostgreSQL did not start:\n${log}`)), startMs);
      server.once('error', reject);
      server.once('exit', (code) => reject(new Error(`PostgreSQL ended with ${code}:\n${log}`)));
      server.stderr.on('data', (chunk) => {
        if (log.length < 100_000) log += chunk;
        if (log.includes('ready to accept connections')) {
          clearTimeout(timer);
          resolve();
        }
      });
    });
  } catch (cause) {
    await close();
    throw cause;
  }
  return { url: `postgresql://weir@localhost/postgres?host=${encodeURIComponent(folder)}`, close };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const postgres = await startPostgres();
  console.log(postgres.url);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void postgres.close());
}
