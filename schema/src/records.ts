// SPDX-License-Identifier: Apache-2.0
// Owns the layout of the records that kernel programs write to the ring buffer. A record goes through the agent,
// the filters and the spool as the kernel wrote it: fields marked "agent:" are zero in the ring and are filled in
// place by the join. Every span counts from the start of its record. A record starts on a multiple of 8 bytes.
import { field, layout } from './layout.js';

const header = [
  field('size', 'u32', 'bytes of the whole record, payload included, a multiple of 8'),
  field('kind', 'u16', 'event_kind'),
  field('flags', 'u16', 'record_flag bits'),
  field('time_ns', 'u64', 'when it happened, on the boot-time clock'),
  field('sequence', 'u64', 'counts the records of this CPU since the counters were made; a gap is a loss'),
  field('cpu', 'u32', 'the CPU that counts the sequence'),
  field('tid', 'u32', "thread id in the host's pid namespace"),
  field('pid', 'u32', "process id (thread group) in the host's pid namespace"),
  field('process_index', 'u32', 'agent: 1 + index of the process entry in the batch, 0 where there is none'),
  field(
    'start_ns',
    'u64',
    'when the process was created (thread group leader), boot-time clock; with pid, its identity',
  ),
  field(
    'exec_ns',
    'u64',
    'when the process got the program that it ran (exec, else its creation), boot-time clock; 0 where the kernel programs have not seen it. Where the agent knows of another program, that one was lost',
  ),
  field('cgroup_id', 'u64', "id of the process's cgroup in the v2 hierarchy"),
  field(
    'parent_index',
    'u32',
    "agent: 1 + index of the parent's process entry in the batch, 0 where there is none",
  ),
  field('annotation', 'u32', 'agent: offset of the annotation in the batch, 0 where there is none'),
];

export const recordHeader = layout('record_header', 'What every record begins with.', header);

/** Who and what a process is: in exec records, and in the process entries of a batch. */
const identity = [
  field('uid', 'u32', 'real user id'),
  field('gid', 'u32', 'real group id'),
  field('euid', 'u32', 'effective user id'),
  field('egid', 'u32', 'effective group id'),
  field('suid', 'u32', 'saved user id'),
  field('sgid', 'u32', 'saved group id'),
  field('fsuid', 'u32', 'user id for file access'),
  field('fsgid', 'u32', 'group id for file access'),
  field('auid', 'u32', 'login user id, 4294967295 where never set'),
  field('securebits', 'u32', 'securebits of the credentials'),
  field('cap_permitted', 'u64', 'capability bits'),
  field('cap_effective', 'u64', 'capability bits'),
  field('cap_inheritable', 'u64', 'capability bits'),
  field('namespaces', { array: 'u32', count: 10 }, 'inode numbers by namespace_kind'),
  field('namespace_pid', 'u32', 'process id in its own pid namespace'),
  field('exec_flags', 'u32', 'exec_flag bits'),
  field('inode', 'u64', 'inode number of the binary'),
  field('links', 'u32', 'link count of the binary at exec; 0 is deleted or memfd'),
  field('mode', 'u32', 'inode mode of the binary'),
];

export const execRecord = layout('exec_record', 'A process replaced its program.', [
  ...header,
  field('parent_start_ns', 'u64', 'start time of the parent'),
  field('parent_pid', 'u32', 'process id of the parent'),
  field('arguments_original', 'u32', 'bytes of the arguments before they were cut, closing NULs included'),
  ...identity,
  field('binary', 'span', 'path of the binary'),
  field('arguments', 'span', 'argv from argv[1] on, each followed by NUL but the last'),
  field('cwd', 'span', 'working directory'),
  field('cgroup_name', 'span', "last part of the cgroup's path"),
  field('environment', 'span', 'environment, each variable followed by NUL; empty unless asked for'),
]);

export const cloneRecord = layout('clone_record', 'A process was created. The header is that of the child.', [
  ...header,
  field('parent_start_ns', 'u64', 'start time of the parent'),
  field('parent_pid', 'u32', 'process id of the parent'),
  field('namespace_pid', 'u32', 'process id of the child in its own pid namespace'),
  field('namespaces', { array: 'u32', count: 10 }, 'inode numbers by namespace_kind'),
  field('cgroup_name', 'span', "last part of the cgroup's path"),
]);

export const exitRecord = layout('exit_record', 'The last thread of a process ended.', [
  ...header,
  field('status', 'u32', 'exit code, 0 to 255'),
  field('signal', 'u32', 'number of the signal that ended it, 0 where none did'),
]);

export const hookRecord = layout(
  'hook_record',
  'A policy matched on a hook (kprobe, tracepoint, lsm, uprobe, usdt, loader). Its arguments follow it, argument_count of them, each a struct argument; then the payloads.',
  [
    ...header,
    field('binding_id', 'u32', 'the policy on this hook, as the agent numbered it'),
    field('binding_index', 'u32', 'agent: 1 + index of the binding entry in the batch'),
    field('selector_index', 'u16', 'which selector of the hook in the policy matched, from 0'),
    field('argument_count', 'u16', 'structs that follow: arguments, then data, then the return value'),
    field('action', 'u16', 'action (the gravest that the selector does)'),
    field('return_action', 'u16', 'action at the return'),
    field('action_error', 'i32', 'errno that the call was made to return, negative, 0 where it was not'),
    field('action_signal', 'u32', 'signal that was sent, 0 where none was'),
    field('function_offset', 'u64', 'uprobes: offset in the file'),
    field('kernel_stack', 'span', 'u64 addresses, innermost first'),
    field('user_stack', 'span', 'u64 addresses, innermost first'),
    field('data_count', 'u16', 'how many of the structs are data'),
    field('has_return', 'u16', '1 where the last struct is the return value'),
    field('undecided_terms', 'u32', 'terms that could not be decided'),
  ],
);

/** Bytes of the longest digest. */
export const digestBytesMax = 64;

export const imaHash = layout(
  'ima_hash',
  'The hash of a file, as IMA has it. The last bytes of a hook record that has the flag ima_hash.',
  [
    field('algorithm', 'u32', "the kernel's hash_algo"),
    field('reserved', 'u32', '0'),
    field(
      'digest',
      { array: 'u8', count: digestBytesMax },
      'as many of the first bytes as the algorithm has',
    ),
  ],
);

export const argument = layout('argument', 'One argument of a hook record.', [
  field('type', 'u8', 'argument_type'),
  field('index', 'u8', 'index of the argument in the function'),
  field('flags', 'u16', 'argument_flag bits'),
  field('original_length', 'u32', 'bytes before the payload was cut, where known, else its length'),
  field('payload', 'span', 'by type; counts from the start of the record'),
  field('value', 'u64', 'by type'),
]);

export const socketArgument = layout('socket_argument', 'Payload of sock, socket, skb and sockaddr.', [
  field('family', 'u16', 'AF_*'),
  field('type', 'u16', 'SOCK_*'),
  field('protocol', 'u16', 'IPPROTO_*'),
  field('state', 'u16', 'TCP state'),
  field('source_port', 'u16', 'in host order'),
  field('destination_port', 'u16', 'in host order'),
  field('mark', 'u32', ''),
  field('priority', 'u32', ''),
  field('length', 'u32', 'bytes of the skb'),
  field('source_address', { array: 'u8', count: 16 }, 'IPv4 in the first four bytes'),
  field('destination_address', { array: 'u8', count: 16 }, 'IPv4 in the first four bytes'),
  field('cookie', 'u64', 'identity of the socket'),
  field('hash', 'u32', 'of the skb'),
  field('sec_path_length', 'u16', ''),
  field('sec_path_original_length', 'u16', ''),
]);

export const credentialArgument = layout('credential_argument', 'Payload of cred.', [
  ...identity.slice(0, 13),
  field('user_namespace', 'u32', 'inode number'),
  field('user_namespace_level', 'u32', 'nesting level'),
]);

export const userNamespaceArgument = layout('user_namespace_argument', 'Payload of user_namespace.', [
  field('inode', 'u32', 'inode number'),
  field('level', 'i32', 'nesting level'),
  field('owner', 'u32', 'user id of its owner'),
  field('group', 'u32', 'group id of its owner'),
]);

export const bpfArgument = layout('bpf_argument', 'Payload of bpf_attr, bpf_prog and bpf_map.', [
  field('type', 'u32', 'program or map type'),
  field('instruction_count', 'u32', ''),
  field('key_size', 'u32', ''),
  field('value_size', 'u32', ''),
  field('max_entries', 'u32', ''),
  field('reserved', 'u32', '0'),
  field('name', { array: 'u8', count: 16 }, 'NUL-terminated'),
]);

export const perfEventArgument = layout('perf_event_argument', 'Payload of perf_event.', [
  field('type', 'u32', 'PERF_TYPE_*'),
  field('reserved', 'u32', '0'),
  field('config', 'u64', ''),
  field('probe_offset', 'u64', ''),
  field('function', { array: 'u8', count: 64 }, 'NUL-terminated'),
]);

export const moduleArgument = layout('module_argument', 'Payload of module and load_info.', [
  field('tainted', 'u64', 'taint bits'),
  field('signature_ok', 'u32', '1 where the signature is valid, 0 where not, 2 where not known'),
  field('reserved', 'u32', '0'),
  field('name', { array: 'u8', count: 64 }, 'NUL-terminated'),
]);

export const lossRecord = layout('loss_record', 'Events were lost. Made by the agent.', [
  ...header,
  field('stage', 'u32', 'loss_stage'),
  field('reserved', 'u32', '0'),
  field('count', 'u64', 'how many'),
]);

export const throttleRecord = layout(
  'throttle_record',
  'A throttle began (1) or ended (2) to hold events back. Made by the agent. The header names the process whose events they are, and its cgroup; those of a policy are of no process.',
  [
    ...header,
    field('type', 'u32', '1 start, 2 stop'),
    field('scope', 'u32', 'throttle_scope'),
    field('held_back', 'u64', 'how many events, at stop'),
    field('cgroup_name', 'span', 'of the cgroup; empty where they are those of a policy'),
    field('policy_name', 'span', 'of the policy whose events they are, else empty'),
  ],
);

export const alertRecord = layout(
  'alert_record',
  'A filter derived it. Its text and labels are in the annotation.',
  [
    ...header,
    field('cause_sequence', 'u64', 'sequence of the record on which it was emitted'),
    field('cause_cpu', 'u32', 'CPU of that record'),
    field('severity', 'u32', 'severity'),
  ],
);

export const tamperRecord = layout(
  'tamper_record',
  'Somebody interfered with the agent, its programs or its maps.',
  [...header, field('message', 'span', 'what was found')],
);

export const records = [
  recordHeader,
  execRecord,
  cloneRecord,
  exitRecord,
  hookRecord,
  imaHash,
  argument,
  socketArgument,
  credentialArgument,
  userNamespaceArgument,
  bpfArgument,
  perfEventArgument,
  moduleArgument,
  lossRecord,
  throttleRecord,
  alertRecord,
  tamperRecord,
];

export { identity };
