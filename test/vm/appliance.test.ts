// SPDX-License-Identifier: Apache-2.0
// Tests that a command in the guest and this host reach each other: over the serial
// line, by the network, and through a forwarded port.

import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Appliance, bootInteractive } from './appliance.js';
import { isUnavailable } from './errors.js';
import { harnessFolder } from './places.js';

const timeoutMs = 900_000;

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

// What runs in the guest: asks the host, then answers the host, until told to end.
const guestCode = `
const { createServer } = require('node:http');
fetch('http://10.0.2.2:' + process.env.HOST_PORT + '/').then((r) => r.text()).then((text) => {
  console.log('host said ' + text + "'s \\u00e9");
  createServer((_, response) => response.end('from the guest')).listen(8080, () => console.log('listening'));
});
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  console.log('told ' + line);
  process.exit(0);
});
`;

test('a guest command talks to the host by serial line, network and forwarded port', {
  timeout: timeoutMs,
}, async ({ skip }) => {
  const server = createServer((_request, response) => response.end("it's me"));
  const hostPort = await listen(server);
  const forwarded = await freePort();
  const lines: string[] = [];
  let onLine = (): void => {};
  let appliance: Appliance;
  try {
    appliance = await bootInteractive({
      payload: {
        command: ['node', '-e', guestCode],
        env: { HOST_PORT: String(hostPort) },
        files: [{ from: join(harnessFolder(), 'apt-packages.txt'), to: 'extra/packages.txt' }],
      },
      portForward: [{ host: forwarded, guest: 8080 }],
      onSerialLine: (line) => {
        lines.push(line);
        onLine();
      },
    });
  } catch (error) {
    server.close();
    if (!isUnavailable(error) || process.env.CI === 'true') throw error;
    return skip(`no guest here: ${error.message}`);
  }
  try {
    const seen = async (line: string): Promise<void> => {
      while (!lines.includes(line)) {
        const more = new Promise<'more'>((resolve) => {
          onLine = () => resolve('more');
        });
        const which = await Promise.race([more, appliance.ended]);
        if (which !== 'more')
          throw new Error(`no "${line}" in ${lines.join('\n')}\n${appliance.consoleText()}`);
      }
    };
    await seen('listening');
    expect(lines[0]).toBe("host said it's me's é");
    const response = await fetch(`http://127.0.0.1:${forwarded}/`);
    expect(await response.text()).toBe('from the guest');
    appliance.writeLine('goodbye');
    await seen('told goodbye');
    await appliance.ended;
  } finally {
    await appliance.close();
    server.close();
  }
});
