// SPDX-License-Identifier: Apache-2.0
// Owns the settings of the server: arguments and environment, parsed once, each wrong one named.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type AcceptancePolicy, parseFilterLimits } from '@weir/filter-accept';

export interface Config {
  readonly host: string;
  readonly port: number;
  readonly dataFolder: string;
  readonly databaseUrl: string | undefined;
  readonly cluster: string;
  /** Where another replica keeps it too; else it is made in the data folder. */
  readonly signingKeyFile: string;
  readonly worker: boolean;
  /** Bounds of filter modules, where they are not the defaults. */
  readonly filterLimits: Partial<AcceptancePolicy>;
  /** Object storage; without it, a folder in the data folder. */
  readonly s3: S3Config | undefined;
}

export interface S3Config {
  readonly bucket: string;
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  readonly prefix: string | undefined;
  readonly pathStyle: boolean;
}

export const usage = `weir-control-plane: the server of Weir

Usage: weir-control-plane [options]

  --host ADDRESS           address to listen on (WEIR_HOST; default 127.0.0.1)
  --port NUMBER            port to listen on, 0 for any free one (WEIR_PORT; default 8420)
  --data FOLDER            folder for database, keys and archive (WEIR_DATA; default ./.weir/control-plane)
  --cluster NAME           cluster of the first bootstrap token (WEIR_CLUSTER; default "default")
  --signing-key FILE       key that signs desired states (WEIR_SIGNING_KEY; default signing-key.json in the data folder)
  --filter-limit NAME=VALUE
                           most that an uploaded filter's module may have, as on the agents: memory=8MiB (4MiB),
                           table=1024, functions, module; can be given again (WEIR_FILTER_LIMIT, with commas)
  --no-worker              leave jobs to another process
  --openapi                print the OpenAPI document and end
  --help                   show this

Environment:
  DATABASE_URL             postgres://…: PostgreSQL in the place of the embedded SQLite
  WEIR_S3_BUCKET           bucket for filters and archive in the place of a folder in the data folder; with it
  WEIR_S3_ENDPOINT           address of a store other than AWS
  WEIR_S3_REGION             region
  WEIR_S3_PREFIX             what keys begin with, such as weir/
  WEIR_S3_PATH_STYLE         1: bucket in the path, as most stores other than AWS want it
  AWS_ACCESS_KEY_ID, …       credentials, as the AWS SDK finds them
`;

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export type Command =
  | { readonly run: 'serve'; readonly config: Config }
  | { readonly run: 'help' }
  | { readonly run: 'openapi' };

/** @throws {UsageError} naming the option that is wrong. */
export function parseConfig(args: readonly string[], environment: NodeJS.ProcessEnv): Command {
  let values: ReturnType<typeof read>;
  try {
    values = read(args);
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  if (values.help === true) return { run: 'help' };
  if (values.openapi === true) return { run: 'openapi' };
  const portText = values.port ?? environment.WEIR_PORT ?? '8420';
  const port = Number(portText);
  if (!/^[0-9]{1,5}$/.test(portText) || port > 65_535) {
    throw new UsageError(`--port must be a number from 0 to 65535, not "${portText}".`);
  }
  const cluster = values.cluster ?? environment.WEIR_CLUSTER ?? 'default';
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(cluster)) {
    throw new UsageError(`--cluster must be a name of a-z, 0-9, "-" and ".", not "${cluster}".`);
  }
  const databaseUrl = environment.DATABASE_URL;
  if (databaseUrl !== undefined && !/^postgres(ql)?:\/\//.test(databaseUrl)) {
    // The URL holds a password: it is not shown.
    throw new UsageError('DATABASE_URL must begin with postgres:// or postgresql://.');
  }
  const dataFolder = resolve(values.data ?? environment.WEIR_DATA ?? '.weir/control-plane');
  const signingKeyFile = values['signing-key'] ?? environment.WEIR_SIGNING_KEY;
  return {
    run: 'serve',
    config: {
      host: values.host ?? environment.WEIR_HOST ?? '127.0.0.1',
      port,
      dataFolder,
      databaseUrl,
      cluster,
      signingKeyFile: resolve(dataFolder, signingKeyFile ?? 'signing-key.json'),
      worker: values['no-worker'] !== true,
      filterLimits: readLimits(values['filter-limit'] ?? environment.WEIR_FILTER_LIMIT?.split(',') ?? []),
      s3: readS3(environment),
    },
  };
}

function readLimits(given: readonly string[]): Partial<AcceptancePolicy> {
  try {
    return parseFilterLimits(given);
  } catch (cause) {
    throw new UsageError(`--filter-limit ${(cause as Error).message}.`, { cause });
  }
}

function readS3(environment: NodeJS.ProcessEnv): S3Config | undefined {
  const bucket = environment.WEIR_S3_BUCKET;
  if (bucket === undefined || bucket === '') return undefined;
  const endpoint = environment.WEIR_S3_ENDPOINT;
  if (endpoint !== undefined && !/^https?:\/\//.test(endpoint)) {
    throw new UsageError(`WEIR_S3_ENDPOINT must be an http or https address, not "${endpoint}".`);
  }
  return {
    bucket,
    endpoint,
    region: environment.WEIR_S3_REGION ?? environment.AWS_REGION,
    prefix: environment.WEIR_S3_PREFIX,
    pathStyle: /^(1|true|yes)$/.test(environment.WEIR_S3_PATH_STYLE ?? ''),
  };
}

function read(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    options: {
      host: { type: 'string' },
      port: { type: 'string' },
      data: { type: 'string' },
      cluster: { type: 'string' },
      'signing-key': { type: 'string' },
      'filter-limit': { type: 'string', multiple: true },
      'no-worker': { type: 'boolean' },
      openapi: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  }).values;
}
