// SPDX-License-Identifier: Apache-2.0
// Owns the words of the policy language: argument types, operators, actions and their spellings, and what each type
// is like. What a word means in a place is judged in `validate.ts`.
import { ArgumentType, NamespaceKind } from '@weir/schema';

/** What an argument is matched as. */
export type TypeFamily =
  | 'integer'
  | 'text'
  | 'unix'
  | 'path'
  | 'socket'
  | 'capabilities'
  | 'credentials'
  | 'name'
  | 'opaque'
  | 'syscall'
  | 'nop'
  | 'auto';

export interface TypeInfo {
  /** argument_type of the schema; 0 for `auto`. */
  readonly type: number;
  readonly family: TypeFamily;
  /** Of integers: width, and whether the kernel extends the sign. */
  readonly bits: number;
  readonly signed: boolean;
}

function info(type: number, family: TypeFamily, bits = 0, signed = false): TypeInfo {
  return { type, family, bits, signed };
}

const int8 = info(ArgumentType.int8, 'integer', 8, true);
const uint8 = info(ArgumentType.uint8, 'integer', 8);
const int16 = info(ArgumentType.int16, 'integer', 16, true);
const uint16 = info(ArgumentType.uint16, 'integer', 16);
const int32 = info(ArgumentType.int32, 'integer', 32, true);
const uint32 = info(ArgumentType.uint32, 'integer', 32);
const int64 = info(ArgumentType.int64, 'integer', 64, true);
const uint64 = info(ArgumentType.uint64, 'integer', 64);

/** Every spelling of an argument's type. */
export const typeInfos: Readonly<Record<string, TypeInfo>> = {
  auto: info(ArgumentType.none, 'auto'),
  int8,
  sint8: int8,
  uint8,
  int16,
  sint16: int16,
  uint16,
  int: int32,
  int32,
  sint32: int32,
  uint32,
  int64,
  sint64: int64,
  long: int64,
  uint64,
  ulong: uint64,
  size_t: uint64,
  string: info(ArgumentType.string, 'text'),
  char_buf: info(ArgumentType.charBuf, 'text'),
  char_iovec: info(ArgumentType.charIovec, 'text'),
  const_buf: info(ArgumentType.constBuf, 'text'),
  iov_iter: info(ArgumentType.iovIter, 'text'),
  data_loc: info(ArgumentType.dataLoc, 'text'),
  filename: info(ArgumentType.filename, 'text'),
  fd: info(ArgumentType.fd, 'path'),
  file: info(ArgumentType.file, 'path'),
  path: info(ArgumentType.path, 'path'),
  dentry: info(ArgumentType.dentry, 'path'),
  kiocb: info(ArgumentType.kiocb, 'path'),
  linux_binprm: info(ArgumentType.linuxBinprm, 'path'),
  sock: info(ArgumentType.sock, 'socket'),
  socket: info(ArgumentType.socket, 'socket'),
  skb: info(ArgumentType.skb, 'socket'),
  sockaddr: info(ArgumentType.sockaddr, 'socket'),
  sockaddr_un: info(ArgumentType.sockaddrUn, 'unix'),
  net_device: info(ArgumentType.netDevice, 'name'),
  cred: info(ArgumentType.cred, 'credentials'),
  capability: info(ArgumentType.capability, 'integer', 32, true),
  kernel_cap_t: info(ArgumentType.kernelCapT, 'capabilities', 64),
  cap_inheritable: info(ArgumentType.capInheritable, 'capabilities', 64),
  cap_permitted: info(ArgumentType.capPermitted, 'capabilities', 64),
  cap_effective: info(ArgumentType.capEffective, 'capabilities', 64),
  user_namespace: info(ArgumentType.userNamespace, 'opaque'),
  bpf_attr: info(ArgumentType.bpfAttr, 'name'),
  bpf_cmd: info(ArgumentType.bpfCmd, 'integer', 32, true),
  bpf_map: info(ArgumentType.bpfMap, 'name'),
  bpf_prog: info(ArgumentType.bpfProg, 'name'),
  perf_event: info(ArgumentType.perfEvent, 'name'),
  load_info: info(ArgumentType.loadInfo, 'name'),
  module: info(ArgumentType.module, 'name'),
  syscall64: info(ArgumentType.syscall64, 'syscall', 64),
  nop: info(ArgumentType.nop, 'nop'),
};
export const typeNames: readonly string[] = Object.keys(typeInfos);

/** Looks a type's spelling up. `typeInfos` is a plain object: its prototype's names are no types. */
export function typeInfo(name: string): TypeInfo | undefined {
  return Object.hasOwn(typeInfos, name) ? typeInfos[name] : undefined;
}

/** Which families each operator on an argument works on. */
export const argumentOperators = {
  Equal: ['integer', 'text', 'path', 'unix', 'name', 'capabilities', 'syscall'],
  NotEqual: ['integer', 'text', 'path', 'unix', 'name', 'capabilities', 'syscall'],
  In: ['integer', 'text', 'path', 'unix', 'name', 'capabilities', 'syscall'],
  NotIn: ['integer', 'text', 'path', 'unix', 'name', 'capabilities', 'syscall'],
  GT: ['integer', 'capabilities'],
  LT: ['integer', 'capabilities'],
  Mask: ['integer', 'capabilities'],
  InRange: ['integer', 'capabilities'],
  NotInRange: ['integer', 'capabilities'],
  InMap: ['integer', 'capabilities', 'syscall'],
  NotInMap: ['integer', 'capabilities', 'syscall'],
  Prefix: ['text', 'path', 'unix', 'name'],
  NotPrefix: ['text', 'path', 'unix', 'name'],
  Postfix: ['text', 'path', 'unix', 'name'],
  NotPostfix: ['text', 'path', 'unix', 'name'],
  SubString: ['text', 'path', 'unix', 'name'],
  SubStringIgnCase: ['text', 'path', 'unix', 'name'],
  FileType: ['path'],
  NotFileType: ['path'],
  CapabilitiesGained: ['capabilities', 'credentials'],
  SAddr: ['socket'],
  NotSAddr: ['socket'],
  DAddr: ['socket'],
  NotDAddr: ['socket'],
  SPort: ['socket'],
  NotSPort: ['socket'],
  SPortPriv: ['socket'],
  NotSPortPriv: ['socket'],
  DPort: ['socket'],
  NotDPort: ['socket'],
  DPortPriv: ['socket'],
  NotDPortPriv: ['socket'],
  Protocol: ['socket'],
  Family: ['socket', 'unix'],
  State: ['socket'],
  CelExpr: ['integer', 'text', 'path', 'unix', 'name', 'capabilities'],
} as const satisfies Record<string, readonly TypeFamily[]>;
export type ArgumentOperator = keyof typeof argumentOperators;

/** Operators that take no value. */
export const valuelessOperators: readonly ArgumentOperator[] = [
  'SPortPriv',
  'NotSPortPriv',
  'DPortPriv',
  'NotDPortPriv',
];

/** Other spellings, in lower case; the operators' own names are taken in any case as well. */
const operatorSpellings: Readonly<Record<string, ArgumentOperator>> = {
  eq: 'Equal',
  neq: 'NotEqual',
  ne: 'NotEqual',
  greaterthan: 'GT',
  lessthan: 'LT',
  substringigncase: 'SubStringIgnCase',
  celexpr: 'CelExpr',
};

/** Finds an operator by name, in any spelling of it. */
export function findOperator<Name extends string>(
  text: string,
  names: readonly Name[],
  spellings: Readonly<Record<string, Name>> = {},
): Name | undefined {
  const lower = text.toLowerCase();
  const found = names.find((name) => name.toLowerCase() === lower);
  if (found !== undefined) return found;
  return Object.hasOwn(spellings, lower) ? spellings[lower] : undefined;
}

export const argumentOperatorNames = Object.keys(argumentOperators) as ArgumentOperator[];

export function findArgumentOperator(text: string): ArgumentOperator | undefined {
  return findOperator(text, argumentOperatorNames, operatorSpellings);
}

export const binaryOperators = ['In', 'NotIn', 'Prefix', 'NotPrefix', 'Postfix', 'NotPostfix'] as const;
export type BinaryOperator = (typeof binaryOperators)[number];
export const setOperators = ['In', 'NotIn'] as const;
export type SetOperator = (typeof setOperators)[number];

export const actionNames = [
  'Post',
  'NoPost',
  'Sigkill',
  'Signal',
  'Override',
  'NotifyEnforcer',
  'CleanupEnforcerNotification',
  'TrackSock',
  'UntrackSock',
  'GetUrl',
  'DnsLookup',
  'Set',
] as const;
export type ActionName = (typeof actionNames)[number];

/** Names of namespaces in policies, with their namespace_kind. */
export const namespaceKinds = {
  Uts: NamespaceKind.uts,
  Ipc: NamespaceKind.ipc,
  Mnt: NamespaceKind.mnt,
  Pid: NamespaceKind.pid,
  PidForChildren: NamespaceKind.pidForChildren,
  Net: NamespaceKind.net,
  Time: NamespaceKind.time,
  TimeForChildren: NamespaceKind.timeForChildren,
  Cgroup: NamespaceKind.cgroup,
  User: NamespaceKind.user,
} as const;
export type NamespaceName = keyof typeof namespaceKinds;
export const namespaceNames = Object.keys(namespaceKinds) as NamespaceName[];

/** Capabilities by number. */
export const capabilityNames = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const;
