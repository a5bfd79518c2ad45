// SPDX-License-Identifier: Apache-2.0
// Owns the names that event consumers know numbers by.
import { capabilityNames as kernelNames } from '@weir/policy';

/**
 * Names of capability bits, from bit 0 on, as the CapabilitiesType of event consumers spells them: as the kernel does,
 * but for one.
 */
export const capabilityNames: readonly string[] = kernelNames.map((name) =>
  name === 'CAP_DAC_OVERRIDE' ? 'DAC_OVERRIDE' : name,
);

export function capabilities(bits: bigint): string[] {
  return capabilityNames.filter((_, bit) => ((bits >> BigInt(bit)) & 1n) === 1n);
}

const signals: Readonly<Record<number, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  10: 'SIGUSR1',
  11: 'SIGSEGV',
  12: 'SIGUSR2',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  16: 'SIGSTKFLT',
  17: 'SIGCHLD',
  18: 'SIGCONT',
  19: 'SIGSTOP',
  20: 'SIGTSTP',
  21: 'SIGTTIN',
  22: 'SIGTTOU',
  23: 'SIGURG',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  26: 'SIGVTALRM',
  27: 'SIGPROF',
  28: 'SIGWINCH',
  29: 'SIGIO',
  30: 'SIGPWR',
  31: 'SIGSYS',
};

export function signalName(number: number): string {
  return signals[number] ?? `SIG${number}`;
}

const families: Readonly<Record<number, string>> = {
  1: 'AF_UNIX',
  2: 'AF_INET',
  10: 'AF_INET6',
  16: 'AF_NETLINK',
  17: 'AF_PACKET',
};
const socketTypes: Readonly<Record<number, string>> = {
  1: 'SOCK_STREAM',
  2: 'SOCK_DGRAM',
  3: 'SOCK_RAW',
  5: 'SOCK_SEQPACKET',
};
const protocols: Readonly<Record<number, string>> = {
  0: 'IPPROTO_IP',
  1: 'IPPROTO_ICMP',
  6: 'IPPROTO_TCP',
  17: 'IPPROTO_UDP',
  58: 'IPPROTO_ICMPV6',
};
const tcpStates: Readonly<Record<number, string>> = {
  1: 'TCP_ESTABLISHED',
  2: 'TCP_SYN_SENT',
  3: 'TCP_SYN_RECV',
  4: 'TCP_FIN_WAIT1',
  5: 'TCP_FIN_WAIT2',
  6: 'TCP_TIME_WAIT',
  7: 'TCP_CLOSE',
  8: 'TCP_CLOSE_WAIT',
  9: 'TCP_LAST_ACK',
  10: 'TCP_LISTEN',
  11: 'TCP_CLOSING',
  12: 'TCP_NEW_SYN_RECV',
};

export const familyName = (number: number) => families[number] ?? `AF_${number}`;
export const socketTypeName = (number: number) => socketTypes[number] ?? `SOCK_${number}`;
export const protocolName = (number: number) => protocols[number] ?? `IPPROTO_${number}`;
export const tcpStateName = (number: number) => tcpStates[number] ?? '';

/** An address as text; the family says how many of the 16 bytes count. */
export function addressText(family: number, bytes: readonly number[]): string {
  if (family === 2) return bytes.slice(0, 4).join('.');
  if (family !== 10) return '';
  const groups = Array.from(
    { length: 8 },
    (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0),
  );
  // RFC 5952: the longest run of two or more zero groups is left out, the first of equals.
  let start = -1;
  let length = 1;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > length) {
      start = from;
      length = to - from;
    }
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return start < 0 ? text(0, 8) : `${text(0, start)}::${text(start + length, 8)}`;
}

const permissionLetters = ['---', '--x', '-w-', '-wx', 'r--', 'r-x', 'rw-', 'rwx'];
const fileTypes: Readonly<Record<number, string>> = {
  1: 'p',
  2: 'c',
  4: 'd',
  6: 'b',
  8: '-',
  10: 'l',
  12: 's',
};

/** An inode's mode as `ls -l` writes it; empty where it is not known. */
export function permissionText(mode: number): string {
  if (mode === 0) return '';
  const bits = [6, 3, 0].map((shift) => permissionLetters[(mode >> shift) & 7]).join('');
  return `${fileTypes[(mode >> 12) & 15] ?? '-'}${bits}`;
}

/** Nanoseconds since 1970 as RFC 3339 with nanoseconds. */
export function timeText(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  const fraction = ns - seconds * 1_000_000_000n;
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime()) || fraction < 0n) return '1970-01-01T00:00:00Z';
  return `${date.toISOString().slice(0, 19)}.${fraction.toString().padStart(9, '0')}Z`;
}
