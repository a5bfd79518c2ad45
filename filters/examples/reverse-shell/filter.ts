// SPDX-License-Identifier: Apache-2.0
// Marks shells that are tied to a connection: the ways in which an intruder turns code execution into an interactive
// session. By how programs are called, and, with a policy on connections, by a shell that connects itself. MITRE
// ATT&CK T1059.004, T1059.006, T1571.
import {
  alert,
  ArgumentList,
  Bytes,
  Config,
  Event,
  EventKind,
  keep,
  NetworkList,
  Severity,
  TextList,
  Verdict,
} from '@weir/filter-sdk';

const shells = new TextList(['sh', 'bash', 'dash', 'ash', 'zsh', 'ksh', 'mksh', 'busybox']);
const netcats = new TextList(['nc', 'ncat', 'netcat', 'nc.openbsd', 'nc.traditional']);
const spawns = new TextList([
  '/bin/sh',
  '/bin/bash',
  'pty.spawn',
  'subprocess',
  'dup2',
  'os.system',
  'child_process',
  'exec(',
]);
const sockets = new TextList(['socket', 'fsockopen', 'tcpsocket', 'net.connect', 'io::socket', '/inet/tcp/']);
let allowed = new TextList([]);
let trusted = new NetworkList(['127.0.0.0/8', '::1']);

export function configure(config: Config): void {
  allowed = config.texts('allowedParents', allowed);
  trusted = config.networks('trustedNetworks', trusted);
}

export function filter(event: Event): Verdict {
  const process = event.process;
  if (allowed.has(process.parent.binary)) return keep();
  const how = event.kind == EventKind.exec ? called(process.binary.name, process.arguments) : connects(event);
  if (how == '') return keep();
  alert(Severity.critical, 'a shell is tied to a connection')
    .labelText('how', how)
    .label('binary', process.binary)
    .label('arguments', process.arguments.raw.slice(0, 256));
  return keep()
    .severity(Severity.critical)
    .labelText('how', how)
    .labelText('attack', 'T1059.004')
    .label('parent', process.parent.binary);
}

/** How a program is called; empty where nothing is found. */
function called(name: Bytes, list: ArgumentList): string {
  if (list.contain('/dev/tcp/') || list.contain('/dev/udp/')) return 'redirection';
  const isBusybox = name.equals('busybox') && (list.first.equals('nc') || list.first.equals('netcat'));
  if (netcats.has(name) || isBusybox) {
    const executes =
      list.has('-e') ||
      list.has('-c') ||
      list.contain('--exec') ||
      list.contain('--sh-exec') ||
      list.has('-lvpe');
    return executes ? 'netcat' : '';
  }
  if (name.equals('socat')) return list.contain('exec:') || list.contain('system:') ? 'socat' : '';
  if (name.equals('mkfifo') || name.equals('openssl'))
    return list.has('s_client') && list.has('-quiet') ? 'openssl' : '';
  const isInterpreter =
    name.startsWith('python') ||
    name.startsWith('perl') ||
    name.startsWith('ruby') ||
    name.startsWith('php') ||
    name.startsWith('lua') ||
    name.equals('node') ||
    name.endsWith('awk');
  return isInterpreter && sockets.isIn(list.raw) && (spawns.isIn(list.raw) || name.endsWith('awk'))
    ? 'interpreter'
    : '';
}

/** A shell has no reason to open a connection of its own. */
function connects(event: Event): string {
  const socket = event.connection;
  if (!socket.hasSocket || !socket.destination.isKnown || trusted.has(socket.destination)) return '';
  return shells.has(event.process.binary.name) ? 'shell-connects' : '';
}
