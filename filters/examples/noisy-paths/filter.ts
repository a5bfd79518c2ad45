// SPDX-License-Identifier: Apache-2.0
// Drops opens and reads that every program makes by the hundred (loader, locales, time zone, its own /proc) and the
// reads of password files by the programs whose job that is. Writes are kept, whatever the path.
import { ArgumentType, Bytes, drop, Event, keep, Verdict } from '@weir/filter-sdk';

const MAY_WRITE = 2;
const MAY_APPEND = 8;
const O_ACCMODE = 3;
const O_CREAT_OR_TRUNC = 0x240;

export function filter(event: Event): Verdict {
  const path = pathOf(event);
  if (path.isEmpty || writes(event)) return keep();
  if (isNoise(path)) return drop();
  if (path.equals('/etc/shadow') || path.equals('/etc/gshadow')) {
    return readsPasswords(event.process.binary) ? drop() : keep();
  }
  return keep();
}

/** The first argument that is a path. */
function pathOf(event: Event): Bytes {
  for (let i = 0; i < event.argumentCount; i++) {
    const argument = event.argument(i);
    if (argument.type >= ArgumentType.filename && argument.type <= ArgumentType.dentry) return argument.path;
    if (argument.type == ArgumentType.string && argument.bytes.startsWith('/')) return argument.bytes;
  }
  return event.argument(-1).path;
}

/** Whether the call writes, as far as its arguments say: the mask of a permission check, the flags of an open. */
function writes(event: Event): bool {
  const name = event.functionName;
  const checks = name.equals('security_file_permission') || name.equals('security_inode_permission');
  const opens = name.endsWith('sys_openat') || name.endsWith('sys_open');
  if (!checks && !opens) {
    // Other hooks on files change something, all but these.
    return !name.equals('security_file_open') && !name.equals('file_open') && !name.equals('fd_install');
  }
  for (let i = 0; i < event.argumentCount; i++) {
    const argument = event.argument(i);
    if (argument.type != ArgumentType.int32 && argument.type != ArgumentType.uint32) continue;
    if (checks) {
      if ((argument.value & (MAY_WRITE | MAY_APPEND)) != 0) return true;
    } else if ((argument.value & (O_ACCMODE | O_CREAT_OR_TRUNC)) != 0) return true;
  }
  return false;
}

function isNoise(path: Bytes): bool {
  if (path.startsWith('/usr/') || path.startsWith('/lib')) {
    return (
      path.glob('/usr/lib*/**.so*') ||
      path.glob('/lib*/**.so*') ||
      path.isWithin('/usr/share/locale') ||
      path.isWithin('/usr/share/zoneinfo') ||
      path.isWithin('/usr/lib/locale') ||
      path.endsWith('/gconv-modules.cache')
    );
  }
  if (path.startsWith('/etc/')) {
    return (
      path.equals('/etc/ld.so.cache') ||
      path.equals('/etc/localtime') ||
      path.equals('/etc/nsswitch.conf') ||
      path.equals('/etc/resolv.conf')
    );
  }
  if (path.startsWith('/dev/')) return path.equals('/dev/null') || path.equals('/dev/urandom');
  return path.isWithin('/sys/fs/cgroup') || path.glob('/proc/*/cgroup') || path.glob('/proc/*/stat*');
}

function readsPasswords(binary: Bytes): bool {
  return (
    binary.endsWith('/unix_chkpwd') ||
    binary.equals('/usr/sbin/sshd') ||
    binary.equals('/usr/sbin/cron') ||
    binary.equals('/usr/bin/login') ||
    binary.equals('/usr/bin/sudo') ||
    binary.equals('/usr/bin/su')
  );
}
