// SPDX-License-Identifier: Apache-2.0
// Owns how one action is done: a GET whose answer nobody reads, a look-up whose answer nobody needs. Neither follows where
// it is sent on to.

import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import { mayLeadTo } from './hosts.js';

/** Looks a host up as programs do, and leaves out addresses that no name may lead to. */
const guardedLookup: LookupFunction = (name, options, callback) => {
  lookup(name, { ...options, all: true }, (error, addresses: LookupAddress[] = []) => {
    if (error !== null) {
      callback(error, []);
      return;
    }
    const allowed = addresses.filter(({ address }) => mayLeadTo(name, address));
    const [first] = allowed;
    if (first === undefined) {
      const leads = addresses.map(({ address }) => address).join(', ');
      callback(new Error(`${name} leads to ${leads}, where no action is sent by a name`), []);
    } else if (options.all === true) callback(null, allowed);
    else callback(null, first.address, first.family);
  });
};

/** Calls a URL. Done where there is an answer, whatever its status; its body is not read. */
export function getUrl(target: string, signal: AbortSignal): Promise<void> {
  const url = new URL(target);
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const made = request(
      url,
      {
        method: 'GET',
        agent: false,
        lookup: guardedLookup,
        signal,
        maxHeaderSize: 16_384,
        headers: { 'user-agent': 'weir-agent', connection: 'close' },
      },
      (response) => {
        response.on('error', () => undefined);
        response.destroy();
        resolve();
      },
    );
    made.on('error', reject);
    made.end();
  });
}

/**
 * Asks the name servers of this host for the addresses of a name. An answer that there is none is an answer.
 * @param servers others to ask, as address:port
 */
export async function lookUpName(
  name: string,
  signal: AbortSignal,
  servers?: readonly string[],
): Promise<void> {
  const resolver = new Resolver({ timeout: 2000, tries: 2 });
  if (servers !== undefined) resolver.setServers(servers);
  const cancel = () => resolver.cancel();
  signal.addEventListener('abort', cancel);
  try {
    await resolver.resolve4(name);
  } catch (error) {
    if (
      !(error instanceof Error) ||
      !['ENOTFOUND', 'ENODATA'].includes((error as NodeJS.ErrnoException).code ?? '')
    )
      throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
