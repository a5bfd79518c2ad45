// SPDX-License-Identifier: Apache-2.0
// Owns how an argument of a hook looks in an event: one member of the KprobeArgument that consumers know.
import { ArgumentFlag, ArgumentType, bpfCommands, type SocketArgument } from '@weir/schema';
import type { DecodedArgument } from '@weir/segment';
import {
  mapMembers,
  moduleMembers,
  objectText,
  packetMembers,
  perfEventMembers,
  programMembers,
  unixAddressMembers,
} from './kernel-objects.js';
import {
  addressText,
  capabilities,
  capabilityNames,
  familyName,
  permissionText,
  protocolName,
  socketTypeName,
  tcpStateName,
} from './names.js';

type Json = Readonly<Record<string, unknown>>;

/** Leaves members out that are zero or empty, as proto3 JSON does. */
export function compact(members: Json): Json {
  return Object.fromEntries(
    Object.entries(members).filter(
      ([, value]) =>
        value !== undefined &&
        value !== '' &&
        value !== 0 &&
        value !== '0' &&
        value !== false &&
        !(Array.isArray(value) && value.length === 0),
    ),
  );
}

function socketMembers(argument: DecodedArgument): Json {
  const socket = argument.socket;
  if (socket === undefined) return {};
  return {
    family: familyName(socket.family),
    type: socketTypeName(socket.type),
    protocol: protocolName(socket.protocol),
    mark: socket.mark,
    priority: socket.priority,
    saddr: addressText(socket.family, socket.sourceAddress),
    daddr: addressText(socket.family, socket.destinationAddress),
    sport: socket.sourcePort,
    dport: socket.destinationPort,
    cookie: socket.cookie.toString(),
    state: tcpStateName(socket.state),
  };
}

/** The one end of a socket that an address by itself names: its peer, or where that is empty its own. */
function addressOf(socket: SocketArgument): { address: string; port: number } {
  const isOwn = socket.destinationPort === 0 && socket.destinationAddress.every((byte) => byte === 0);
  return {
    address: addressText(socket.family, isOwn ? socket.sourceAddress : socket.destinationAddress),
    port: isOwn ? socket.sourcePort : socket.destinationPort,
  };
}

function sockaddrMembers({ socket }: DecodedArgument): Json {
  if (socket === undefined) return {};
  const { address, port } = addressOf(socket);
  return { family: familyName(socket.family), addr: address, port };
}

function credentialMembers({ credential }: DecodedArgument): Json {
  if (credential === undefined) return {};
  const { uid, gid, euid, egid, suid, sgid, fsuid, fsgid } = credential;
  return {
    uid,
    gid,
    euid,
    egid,
    suid,
    sgid,
    fsuid,
    fsgid,
    caps: {
      permitted: capabilities(credential.capPermitted),
      effective: capabilities(credential.capEffective),
      inheritable: capabilities(credential.capInheritable),
    },
    user_ns: { level: credential.userNamespaceLevel, ns: { inum: credential.userNamespace } },
  };
}

/** Whether a module's signature is valid, false included; left out where that is not known. */
function signature({ module }: DecodedArgument): Json {
  const known = module?.signatureOk;
  return known === 0 || known === 1 ? { signature_ok: known === 1 } : {};
}

function bytesMember(argument: DecodedArgument): Json {
  const bytes = Buffer.from(argument.payload).toString('base64');
  return (argument.flagBits & ArgumentFlag.truncated) !== 0
    ? { truncated_bytes_arg: { bytes_arg: bytes, orig_size: String(argument.originalLength) } }
    : { bytes_arg: bytes };
}

function memberOf(argument: DecodedArgument): Json {
  const { typeNumber: type, value } = argument;
  const text = argument.text ?? '';
  const permission = permissionText(Number(value));
  switch (type) {
    case ArgumentType.int8:
    case ArgumentType.int16:
    case ArgumentType.int32:
      return { int_arg: Number(BigInt.asIntN(32, value)) };
    case ArgumentType.int64:
      return { long_arg: argument.signedValue.toString() };
    case ArgumentType.uint8:
    case ArgumentType.uint16:
    case ArgumentType.uint32:
      return { uint_arg: Number(BigInt.asUintN(32, value)) };
    case ArgumentType.uint64:
      return { size_arg: value.toString() };
    case ArgumentType.string:
    case ArgumentType.filename:
    case ArgumentType.dataLoc:
      return { string_arg: text };
    case ArgumentType.charBuf:
    case ArgumentType.charIovec:
    case ArgumentType.constBuf:
    case ArgumentType.iovIter:
      return bytesMember(argument);
    case ArgumentType.file:
    case ArgumentType.kiocb:
      return { file_arg: compact({ path: text, permission }) };
    case ArgumentType.fd:
      return { file_arg: compact({ path: text, permission: permissionText(Number(value >> 32n)) }) };
    case ArgumentType.path:
    case ArgumentType.dentry:
      return { path_arg: compact({ path: text, permission }) };
    case ArgumentType.linuxBinprm:
      return { linux_binprm_arg: compact({ path: text, permission }) };
    case ArgumentType.sock:
    case ArgumentType.socket:
      return { sock_arg: compact(socketMembers(argument)) };
    case ArgumentType.sockaddr:
      return { sockaddr_arg: compact(sockaddrMembers(argument)) };
    case ArgumentType.skb:
      return { skb_arg: compact(packetMembers(argument)) };
    case ArgumentType.sockaddrUn:
      return { sockaddrun_arg: compact(unixAddressMembers(argument)) };
    case ArgumentType.netDevice:
      return { net_dev_arg: compact({ name: text }) };
    case ArgumentType.bpfAttr:
      return { bpf_attr_arg: compact(programMembers(argument)) };
    case ArgumentType.bpfProg:
      return { bpf_prog_arg: compact(programMembers(argument)) };
    case ArgumentType.bpfMap:
      return { bpf_map_arg: compact(mapMembers(argument)) };
    case ArgumentType.perfEvent:
      return { perf_event_arg: compact(perfEventMembers(argument)) };
    case ArgumentType.module:
    case ArgumentType.loadInfo:
      return { module_arg: { ...compact(moduleMembers(argument)), ...signature(argument) } };
    case ArgumentType.cred:
      return { process_credentials_arg: credentialMembers(argument) };
    case ArgumentType.capability:
      return { capability_arg: { value: Number(value), name: capabilityNames[Number(value)] ?? '' } };
    case ArgumentType.kernelCapT:
      return { kernel_cap_t_arg: capabilities(value).join(' ') };
    case ArgumentType.capInheritable:
      return { cap_inheritable_arg: capabilities(value).join(' ') };
    case ArgumentType.capPermitted:
      return { cap_permitted_arg: capabilities(value).join(' ') };
    case ArgumentType.capEffective:
      return { cap_effective_arg: capabilities(value).join(' ') };
    case ArgumentType.bpfCmd:
      return { bpf_cmd_arg: bpfCommands[Number(value)] ?? Number(BigInt.asIntN(32, value)) };
    case ArgumentType.syscall64:
      return {
        syscall_id: compact({ id: Number(value & 0xffffffffn), abi: value >> 32n === 0n ? 'x64' : 'i386' }),
      };
    case ArgumentType.userNamespace: {
      const namespace = argument.userNamespace;
      return {
        user_namespace_arg:
          namespace === undefined
            ? {}
            : {
                level: namespace.level,
                owner: namespace.owner,
                group: namespace.group,
                ns: { inum: namespace.inode },
              },
      };
    }
    default:
      return argument.payload.length > 0 ? bytesMember(argument) : { size_arg: value.toString() };
  }
}

/** One argument in the shape of a KprobeArgument. */
export function argumentJson(argument: DecodedArgument): Json {
  const label = argument.label === '' ? {} : { label: argument.label };
  if ((argument.flagBits & ArgumentFlag.unreadable) !== 0) {
    return { error_arg: { Message: 'the memory could not be read' }, ...label };
  }
  return { ...memberOf(argument), ...label };
}

/** One argument as a few words, for people. */
export function argumentText(argument: DecodedArgument): string {
  if ((argument.flagBits & ArgumentFlag.unreadable) !== 0) return '?';
  const socket = argument.socket;
  if (socket !== undefined && argument.typeNumber === ArgumentType.sockaddr) {
    const { address, port } = addressOf(socket);
    return address === '' ? familyName(socket.family) : `${address}:${port}`;
  }
  if (socket !== undefined) {
    const from = `${addressText(socket.family, socket.sourceAddress)}:${socket.sourcePort}`;
    return `${from} -> ${addressText(socket.family, socket.destinationAddress)}:${socket.destinationPort}`;
  }
  switch (argument.typeNumber) {
    case ArgumentType.int8:
    case ArgumentType.int16:
    case ArgumentType.int32:
    case ArgumentType.int64:
      return argument.signedValue.toString();
    case ArgumentType.bpfCmd:
      return bpfCommands[Number(argument.value)] ?? argument.signedValue.toString();
    case ArgumentType.capability:
      return capabilityNames[Number(argument.value)] ?? argument.value.toString();
    case ArgumentType.kernelCapT:
    case ArgumentType.capInheritable:
    case ArgumentType.capPermitted:
    case ArgumentType.capEffective:
      return capabilities(argument.value).join(',');
    case ArgumentType.cred:
      return `uid=${argument.credential?.uid} euid=${argument.credential?.euid}`;
    case ArgumentType.syscall64:
      return `${argument.value & 0xffffffffn}${argument.value >> 32n === 0n ? '' : '/i386'}`;
    case ArgumentType.userNamespace:
      return `user:[${argument.userNamespace?.inode}]`;
    default:
      return argument.text ?? objectText(argument) ?? argument.value.toString();
  }
}
