// SPDX-License-Identifier: Apache-2.0
// Owns what tests of the app share: the real server on a temporary folder, a filter module of any name, a policy.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlPlaneClient, createSigner, enrollmentMessage, generateSigningKey } from '../client.js';
import { type Bytes, signatureContexts, utf8 } from '../crypto.js';
import type { Credentials } from '../node/bootstrap.js';
import { type Server, startServer } from '../node/serve.js';
import type { LogEntry } from '../ports.js';

export interface TestServer {
  readonly server: Server;
  readonly url: string;
  readonly folder: string;
  readonly adminToken: string;
  readonly bootstrapToken: string;
  readonly admin: ControlPlaneClient;
  readonly logged: LogEntry[];
  client(token?: string): ControlPlaneClient;
  enroll(node: string): Promise<{ agentId: string; token: string; controlPlaneKey: string }>;
  close(): Promise<void>;
}

/** Starts the server on a free port of the loopback, with all that it has in a folder that goes with it. */
export async function startTestServer(databaseUrl?: string): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-control-plane-'));
  const logged: LogEntry[] = [];
  const server = await startServer(
    {
      host: '127.0.0.1',
      port: 0,
      dataFolder: folder,
      databaseUrl,
      cluster: 'test',
      signingKeyFile: join(folder, 'signing-key.json'),
      worker: true,
      filterLimits: {},
      s3: undefined,
    },
    (entry) => logged.push(entry),
  );
  const credentials = JSON.parse(await readFile(join(folder, 'credentials.json'), 'utf8')) as Credentials;
  const client = (token?: string) =>
    new ControlPlaneClient({ url: server.url, ...(token === undefined ? {} : { token }) });
  return {
    server,
    url: server.url,
    folder,
    ...credentials,
    admin: client(credentials.adminToken),
    logged,
    client,
    async enroll(node) {
      return client(credentials.bootstrapToken).enroll(await enrollment(node));
    },
    async close() {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Makes a key and proves that it is held. */
export async function enrollment(node: string) {
  const key = await generateSigningKey();
  const signer = await createSigner(key);
  const proof = await signer.sign(signatureContexts.enroll, enrollmentMessage(key.publicKey, node));
  return { node, publicKey: key.publicKey, proof };
}

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...unsigned(content.length), ...content];
}

function text(value: string): number[] {
  const bytes = utf8(value);
  return [...unsigned(bytes.length), ...bytes];
}

/** Assembles the smallest module that is a filter: it keeps every event. */
export function filterModule(name: string, version: string, more: Record<string, unknown> = {}): Bytes {
  const manifest = { abi: 1, name, version, description: '', failMode: 'open', ...more };
  const i32 = 0x7f;
  const constant = (value: number) => [4, 0, 0x41, value, 0x0b];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(0, [...text('weir.manifest'), ...utf8(JSON.stringify(manifest))]),
    ...section(1, [3, 0x60, 0, 1, i32, 0x60, 1, i32, 1, i32, 0x60, 2, i32, i32, 1, i32]),
    ...section(3, [4, 0, 1, 1, 2]),
    // 32 pages, at most 64.
    ...section(5, [1, 0x01, 32, ...unsigned(64)]),
    ...section(7, [
      ...[5, ...text('memory'), 2, 0],
      ...[...text('weir_abi_version'), 0, 0],
      ...[...text('weir_reserve'), 0, 1],
      ...[...text('weir_filter'), 0, 2],
      ...[...text('weir_configure'), 0, 3],
    ]),
    ...section(10, [4, ...constant(1), ...constant(0), ...constant(0), ...constant(0)]),
  ]);
}

/** A policy that is valid, with a path to make it another. */
export function policyYaml(name: string, path = '/etc/shadow'): string {
  return `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: ${name}
spec:
  kprobes:
    - call: security_file_open
      syscall: false
      args:
        - index: 0
          type: file
      selectors:
        - matchArgs:
            - index: 0
              operator: Equal
              values:
                - ${path}
`;
}
