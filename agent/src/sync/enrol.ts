// SPDX-License-Identifier: Apache-2.0
// Owns who this agent is to its control plane: its key, made here and never sent, and what the control plane gave
// it when it enrolled. Both are kept in one file that only the agent's user can read.
import { mkdirSync, readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  ControlPlaneClient,
  ControlPlaneClientError,
  createSigner,
  enrollmentMessage,
  generateSigningKey,
} from '@weir/control-plane/client';
import { type AgentConfig, ConfigError } from '../config.js';

/** Context of an enrolment's proof. */
const ENROLMENT_CONTEXT = 'weir.enroll.v1';
const RETRY_MS_MAX = 30_000;

export interface Enrolment {
  readonly url: string;
  readonly node: string;
  readonly privateKey: string;
  readonly publicKey: string;
  readonly agentId: string;
  /** The agent's own token. */
  readonly token: string;
  readonly cluster: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Key that signs desired states. */
  readonly controlPlaneKey: string;
}

/** Writes a file so that it is there as a whole or not at all, for this user only. */
export async function writePrivately(path: string, text: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, text, { mode: 0o600, flush: true });
  await rename(temporary, path);
}

function readEnrolment(path: string): Partial<Enrolment> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  try {
    return JSON.parse(text) as Partial<Enrolment>;
  } catch {
    throw new ConfigError(`${path} is damaged: remove it to enrol anew`);
  }
}

/** Who the agent is, or becomes now. Tries until the control plane answers or the signal aborts. */
export async function enrol(config: AgentConfig, signal: AbortSignal): Promise<Enrolment> {
  const url = config.controlPlane ?? '';
  mkdirSync(config.dataFolder, { recursive: true, mode: 0o700 });
  const path = join(config.dataFolder, 'identity.json');
  const known = readEnrolment(path);
  if (known.agentId !== undefined && known.url === url && known.node === config.nodeName) {
    return known as Enrolment;
  }
  if (config.token === undefined) {
    throw new ConfigError(
      `the agent has not enrolled with ${url}: the first start needs --token-file or WEIR_TOKEN`,
    );
  }
  const key =
    known.privateKey !== undefined && known.publicKey !== undefined
      ? { privateKey: known.privateKey, publicKey: known.publicKey }
      : await generateSigningKey();
  // The key first: should the answer be lost, the same key enrols to the same agent again.
  await writePrivately(path, JSON.stringify(key));
  const signer = await createSigner(key);
  const client = new ControlPlaneClient({ url, token: config.token });
  for (let waitMs = 250; ; waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)) {
    try {
      const answer = await client.enroll({
        node: config.nodeName,
        publicKey: key.publicKey,
        proof: await signer.sign(ENROLMENT_CONTEXT, enrollmentMessage(key.publicKey, config.nodeName)),
        kernel: release(),
      });
      const enrolment: Enrolment = { ...key, url, node: config.nodeName, ...answer };
      await writePrivately(path, JSON.stringify(enrolment));
      return enrolment;
    } catch (error) {
      if (!(error instanceof ControlPlaneClientError) || !error.retryable) throw error;
      process.stderr.write(`weir-agent: enrolment: ${error.message} Trying again in ${waitMs} ms.\n`);
    }
    await delay(waitMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) throw new ConfigError('ended before the agent had enrolled');
  }
}
