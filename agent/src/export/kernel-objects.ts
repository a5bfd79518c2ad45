// SPDX-License-Identifier: Apache-2.0
// Owns how kernel objects look in an event (packets, addresses of Unix sockets, BPF programs and maps, performance
// events, modules), and the names of the numbers in them.
import { ArgumentType } from '@weir/schema';
import { bytesToText, type DecodedArgument } from '@weir/segment';
import { addressText, familyName, protocolName } from './names.js';

type Members = Readonly<Record<string, unknown>>;

const programTypes =
  'UNSPEC SOCKET_FILTER KPROBE SCHED_CLS SCHED_ACT TRACEPOINT XDP PERF_EVENT CGROUP_SKB CGROUP_SOCK LWT_IN LWT_OUT LWT_XMIT SOCK_OPS SK_SKB CGROUP_DEVICE SK_MSG RAW_TRACEPOINT CGROUP_SOCK_ADDR LWT_SEG6LOCAL LIRC_MODE2 SK_REUSEPORT FLOW_DISSECTOR CGROUP_SYSCTL RAW_TRACEPOINT_WRITABLE CGROUP_SOCKOPT TRACING STRUCT_OPS EXT LSM SK_LOOKUP SYSCALL NETFILTER'.split(
    ' ',
  );
const mapTypes =
  'UNSPEC HASH ARRAY PROG_ARRAY PERF_EVENT_ARRAY PERCPU_HASH PERCPU_ARRAY STACK_TRACE CGROUP_ARRAY LRU_HASH LRU_PERCPU_HASH LPM_TRIE ARRAY_OF_MAPS HASH_OF_MAPS DEVMAP SOCKMAP CPUMAP XSKMAP SOCKHASH CGROUP_STORAGE REUSEPORT_SOCKARRAY PERCPU_CGROUP_STORAGE QUEUE STACK SK_STORAGE DEVMAP_HASH STRUCT_OPS RINGBUF INODE_STORAGE TASK_STORAGE BLOOM_FILTER USER_RINGBUF CGRP_STORAGE ARENA'.split(
    ' ',
  );
const perfTypes = 'HARDWARE SOFTWARE TRACEPOINT HW_CACHE RAW BREAKPOINT'.split(' ');

/** Bits by which modules taint the kernel, as event consumers name them. */
const taints: readonly (readonly [bit: bigint, name: string])[] = [
  [1n, 'TAINT_PROPRIETARY_MODULE'],
  [2n, 'TAINT_FORCED_MODULE'],
  [4n, 'TAINT_FORCED_UNLOAD_MODULE'],
  [1024n, 'TAINT_STAGED_MODULE'],
  [4096n, 'TAINT_OUT_OF_TREE_MODULE'],
  [8192n, 'TAINT_UNSIGNED_MODULE'],
  [32768n, 'TAINT_KERNEL_LIVE_PATCH_MODULE'],
  [262144n, 'TAINT_TEST_MODULE'],
];

function named(prefix: string, names: readonly string[], number: number): string {
  return `${prefix}${names[number] ?? number}`;
}

/** The name in a payload: it ends at its NUL. */
function nameText(bytes: readonly number[] | Uint8Array): string {
  const buffer = Buffer.from(bytes);
  const end = buffer.indexOf(0);
  return bytesToText(end < 0 ? buffer : buffer.subarray(0, end));
}

export function packetMembers({ socket }: DecodedArgument): Members {
  if (socket === undefined) return {};
  return {
    hash: socket.hash,
    len: socket.length,
    priority: socket.priority,
    mark: socket.mark,
    saddr: addressText(socket.family, socket.sourceAddress),
    daddr: addressText(socket.family, socket.destinationAddress),
    sport: socket.sourcePort,
    dport: socket.destinationPort,
    proto: socket.protocol,
    protocol: socket.family === 0 ? '' : protocolName(socket.protocol),
    family: socket.family === 0 ? '' : familyName(socket.family),
  };
}

export function unixAddressMembers({ value, text }: DecodedArgument): Members {
  return { family: familyName(Number(value & 0xffffn)), path: text };
}

/** Of a program, or of the attributes of bpf(2) read as those of one. */
export function programMembers({ bpf }: DecodedArgument): Members {
  if (bpf === undefined) return {};
  return {
    ProgType: named('BPF_PROG_TYPE_', programTypes, bpf.type),
    InsnCnt: bpf.instructionCount,
    ProgName: nameText(bpf.name),
  };
}

export function mapMembers({ bpf }: DecodedArgument): Members {
  if (bpf === undefined) return {};
  return {
    MapType: named('BPF_MAP_TYPE_', mapTypes, bpf.type),
    KeySize: bpf.keySize,
    ValueSize: bpf.valueSize,
    MaxEntries: bpf.maxEntries,
    MapName: nameText(bpf.name),
  };
}

export function perfEventMembers({ perfEvent }: DecodedArgument): Members {
  if (perfEvent === undefined) return {};
  return {
    KprobeFunc: nameText(perfEvent.function),
    Type: named('PERF_TYPE_', perfTypes, perfEvent.type),
    Config: perfEvent.config.toString(),
    ProbeOffset: perfEvent.probeOffset.toString(),
  };
}

export function moduleMembers({ module }: DecodedArgument): Members {
  if (module === undefined) return {};
  return {
    name: nameText(module.name),
    tainted: taints.flatMap(([bit, name]) => ((module.tainted & bit) === 0n ? [] : [name])),
  };
}

/** The one word that a person knows an object by; undefined where the argument is none. */
export function objectText(argument: DecodedArgument): string | undefined {
  const { bpf, perfEvent, module } = argument;
  if (bpf !== undefined) {
    const type =
      argument.typeNumber === ArgumentType.bpfMap
        ? named('', mapTypes, bpf.type)
        : named('', programTypes, bpf.type);
    return `${type.toLowerCase()} ${nameText(bpf.name)}`.trimEnd();
  }
  if (perfEvent !== undefined) {
    const name = nameText(perfEvent.function);
    return `${named('', perfTypes, perfEvent.type).toLowerCase()} ${name === '' ? perfEvent.config : name}`;
  }
  return module === undefined ? undefined : nameText(module.name);
}
