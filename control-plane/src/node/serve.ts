// SPDX-License-Identifier: Apache-2.0
// Owns the putting together of the server in Node: store, modules, archive, worker, app, listener; and its end.
import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { serve as listen, type ServerType } from '@hono/node-server';
import type { Kysely } from 'kysely';
import { createApp } from '../app.js';
import type { CatalogueTables } from '../archive/catalogue.js';
import { JobWorker } from '../jobs/worker.js';
import type { Clock, Log } from '../ports.js';
import { ReleaseWatch } from '../release-watch.js';
import { releaseInForce } from '../services/agents.js';
import { newId, type Services } from '../services/context.js';
import { openPostgres, openSqlite } from '../store/open.js';
import { openArchive } from './archive.js';
import { BlobModules } from './blob-modules.js';
import { createFirstTokens, loadSigner } from './bootstrap.js';
import type { Config } from './config.js';
import { openBlobs } from './open-blobs.js';

export interface Server {
  readonly url: string;
  /** File with the first tokens, where this start made them. */
  readonly credentialsFile: string | undefined;
  readonly services: Services;
  close(): Promise<void>;
}

/** How long requests under way may take once the server closes. */
const drainMs = 5_000;

export async function startServer(config: Config, log: Log): Promise<Server> {
  const clock: Clock = { nowMs: () => Date.now() };
  await mkdir(config.dataFolder, { recursive: true, mode: 0o700 });
  const closers: Array<() => Promise<void> | void> = [];
  const close = async () => {
    for (const step of closers.splice(0).reverse()) await step();
  };
  try {
    const { store, db } =
      config.databaseUrl === undefined
        ? await openSqlite(join(config.dataFolder, 'control-plane.sqlite'))
        : await openPostgres(config.databaseUrl);
    closers.push(() => store.close());
    const signer = await loadSigner(config.signingKeyFile);
    const { dataFolder, cluster } = config;
    const credentialsFile = await createFirstTokens(store, { dataFolder, cluster, clock });
    const watch = new ReleaseWatch({ look: () => releaseInForce({ store }) });
    const blobs = openBlobs(config);
    closers.push(() => blobs.close());
    let worker: JobWorker | undefined;
    const opened = await openArchive({
      // The archive's tables are beside those that this type names.
      db: db as unknown as Kysely<CatalogueTables>,
      store,
      blobs,
      clock,
      scratchFolder: join(dataFolder, 'scratch'),
      onJob: () => worker?.wake(),
    });
    closers.push(() => opened.close());
    const modules = new BlobModules(blobs);
    const services: Services = {
      store,
      modules,
      archive: opened.archive,
      signer,
      watch,
      clock,
      log,
      filterLimits: config.filterLimits,
    };
    if (config.worker) {
      const owner = newId(clock.nowMs());
      const started = new JobWorker({ store, clock, log, owner, handlers: opened.jobs });
      started.start();
      closers.push(() => started.close());
      worker = started;
    }
    const app = createApp({ services });
    const server = await new Promise<ServerType>((resolve, reject) => {
      const started = listen({ fetch: app.fetch, hostname: config.host, port: config.port }, () =>
        resolve(started),
      );
      started.once('error', reject);
    });
    closers.push(() => {
      // Long polls end first, so that the listener has nothing to wait for.
      watch.close();
      return stop(server);
    });
    const { port } = server.address() as AddressInfo;
    const host = config.host.includes(':') ? `[${config.host}]` : config.host;
    return { url: `http://${host}:${port}`, credentialsFile, services, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function stop(server: ServerType): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  if ('closeIdleConnections' in server) server.closeIdleConnections();
  const timer = setTimeout(() => {
    if ('closeAllConnections' in server) server.closeAllConnections();
  }, drainMs);
  await closed;
  clearTimeout(timer);
}
