// SPDX-License-Identifier: Apache-2.0
// What the policies of the library are tried with: calls made exactly, and events told as short texts.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { readSocketArgument, SOCKET_ARGUMENT_BYTES } from '@weir/schema';
import type { ScenarioContext } from '../scenario.js';
import type { HookEvent, HookEventArgument } from './hooks.js';

/** A line of the program `syscalls`. */
export type Line = readonly [number: number, ...args: (string | number)[]];

/** Makes system calls in a process of their own, and returns what each returned. */
export async function calls(
  { run }: ScenarioContext,
  lines: readonly Line[],
  within: readonly string[] = [],
): Promise<number[]> {
  const [program = 'syscalls', ...args] = [...within, 'syscalls', '/dev/null'];
  const input = lines.map((line) => `${line.join('\t')}\n`).join('');
  const { stdout, stderr, code, signal } = await run(program, args, { input });
  if (code !== 0) throw new Error(`syscalls ended with ${code ?? signal}: ${stderr}`);
  return stdout.trim().split('\n').map(Number);
}

function address(family: number, bytes: readonly number[]): string {
  if (family === 2) return bytes.slice(0, 4).join('.');
  const hex = Buffer.from(bytes).toString('hex').replace(/^0+/, '');
  return `::${hex}`;
}

function argument({ text, value }: HookEventArgument): string {
  if (text.length === SOCKET_ARGUMENT_BYTES) {
    const bytes = Buffer.from(text, 'latin1');
    const socket = readSocketArgument(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
    return `${address(socket.family, socket.sourceAddress)}:${socket.sourcePort}>${address(socket.family, socket.destinationAddress)}:${socket.destinationPort}`;
  }
  return text === '' ? String(value) : text;
}

/** An event as its function and what it tells. Numbers that are others each time are left out. */
export function told({ symbol, args, returned }: HookEvent): string {
  const parts = [...args, ...(returned === undefined ? [] : [returned])].map(argument);
  return `${symbol.replace(/^(security|__x64_sys)_/, '')} ${parts.join(' ')}`
    .replace(/^capset .*$/, 'capset')
    .replace(/^(task_kill|ptrace_access_check|ptrace_traceme) \d+/, '$1 PID')
    .replace(/:\[\d+\]/, ':[]')
    .replace(/[^ -~]/g, '')
    .replace(/:\d{5}(?=>|$| )/g, ':PORT');
}

/** The bytes of a `struct sockaddr_un`, in hexadecimal. */
export function unixAddress(path: string): string {
  return `0100${Buffer.from(`${path}\0`).toString('hex')}`;
}

/** One connection over TCP: five bytes go, eight come back, and the one who connected closes first. */
export async function exchangeOverTcp(host: string): Promise<void> {
  const server = createServer();
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect(port, host);
  const [peer] = await accepted;
  client.write('hello');
  await once(peer, 'data');
  peer.write('welcome!');
  await once(client, 'data');
  const gone = once(peer, 'close');
  client.destroy();
  await gone;
  server.close();
  await once(server, 'close');
}

/** Tries a port at which nobody listens. */
export async function knock(port: number): Promise<void> {
  const client = connect(port, '127.0.0.1');
  await once(client, 'error');
}

/** Two datagrams to one peer. */
export async function sendDatagrams(type: 'udp4' | 'udp6'): Promise<void> {
  const host = type === 'udp4' ? '127.0.0.1' : '::1';
  const [receiver, sender] = [createSocket(type), createSocket(type)];
  receiver.bind(0, host);
  await once(receiver, 'listening');
  const { port } = receiver.address();
  for (const text of ['a', 'b']) {
    const came = once(receiver, 'message');
    sender.send(text, port, host);
    await came;
  }
  for (const socket of [sender, receiver]) socket.close();
}
