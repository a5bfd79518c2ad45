// SPDX-License-Identifier: Apache-2.0
// Owns the layout of a batch: what the agent's join makes, filters read, the spool stores and encoders read.
//
//   batch_header
//   records          as the kernel wrote them, one after the other, each on a multiple of 8
//   record offsets   u32 each, record_count of them
//   process entries  fixed width, each process once
//   pod entries      fixed width, each pod once
//   binding entries  fixed width, each (policy, hook) once
//   bytes            strings of the entries, labels, annotations
//
// The parts may lie in any order; the header says where. Every offset in the header and every span in an entry or
// annotation counts from the start of the batch; spans inside a record count from the start of that record.
import { field, layout } from './layout.js';
import { identity } from './records.js';

export const batchHeader = layout('batch_header', 'The first bytes of a batch.', [
  field('magic', 'u32', '0x52494557: "WEIR"'),
  field('version', 'u16', 'version of this layout'),
  field('header_bytes', 'u16', 'bytes of this header'),
  field('byte_length', 'u32', 'bytes of the whole batch'),
  field('record_count', 'u32', 'how many records'),
  field('offsets_at', 'u32', 'where the record offsets are'),
  field('process_count', 'u32', 'how many process entries'),
  field('processes_at', 'u32', 'where the process entries are'),
  field('pod_count', 'u32', 'how many pod entries'),
  field('pods_at', 'u32', 'where the pod entries are'),
  field('binding_count', 'u32', 'how many binding entries'),
  field('bindings_at', 'u32', 'where the binding entries are'),
  field('release_sequence', 'u32', 'sequence of the rollout whose release was in force'),
  field('boot_to_unix_ns', 'i64', 'add it to a time on the boot-time clock to have nanoseconds since 1970'),
  field('batch_sequence', 'u64', 'counts the batches of this agent since it started'),
  field('boot_id', { array: 'u8', count: 16 }, 'random id of this boot of the node'),
  field('node_name', 'span', 'name of the node'),
  field('cluster_name', 'span', 'name of the cluster'),
  field('node_labels', 'span', 'pairs of name and value, each followed by NUL'),
]);

export const processEntry = layout('process_entry', 'A process, as it was when the batch was laid out.', [
  field('pid', 'u32', "process id in the host's pid namespace"),
  field('parent_index', 'u32', "1 + index of the parent's entry in this batch, 0 where it is not in it"),
  field('start_ns', 'u64', 'when the process was created, boot-time clock; with pid, its identity'),
  field(
    'exec_ns',
    'u64',
    'when it last called exec (or was created), boot-time clock; with pid, the exec_id',
  ),
  field('parent_start_ns', 'u64', 'start time of the parent'),
  field('parent_exec_ns', 'u64', 'exec time of the parent when this process was created'),
  field('parent_pid', 'u32', 'process id of the parent'),
  field('pod_index', 'u32', '1 + index of the pod entry, 0 where it is in none'),
  field('cgroup_id', 'u64', 'id of its cgroup'),
  ...identity,
  field('reference_count', 'u32', 'entries and events that refer to it'),
  field('reserved', 'u32', '0'),
  field('binary', 'span', 'path of the binary'),
  field('arguments', 'span', 'argv from argv[1] on, each followed by NUL but the last'),
  field('cwd', 'span', 'working directory'),
  field('container_id', 'span', 'id of its container, from the cgroup; empty on the host'),
  field('user_name', 'span', 'name of uid on the node, where known'),
  field('environment', 'span', 'environment, each variable followed by NUL; empty unless asked for'),
]);

export const podEntry = layout('pod_entry', 'A pod and one container of it.', [
  field('namespace', 'span', ''),
  field('name', 'span', ''),
  field('uid', 'span', ''),
  field('container_id', 'span', "with the runtime's scheme"),
  field('container_name', 'span', ''),
  field('image_id', 'span', ''),
  field('image_name', 'span', ''),
  field('workload', 'span', ''),
  field('workload_kind', 'span', ''),
  field('labels', 'span', 'pairs of name and value, each followed by NUL'),
  field('annotations', 'span', 'pairs of name and value, each followed by NUL'),
  field('container_start_unix_ns', 'u64', ''),
  field('container_pid', 'u32', 'first process of the container, in its own pid namespace'),
  field('flags', 'u32', '1 privileged, 2 maybe an exec probe'),
]);

export const bindingEntry = layout(
  'binding_entry',
  'A policy on a hook: what its hook records have in common.',
  [
    field('binding_id', 'u32', 'as in hook records'),
    field('event_kind', 'u32', 'event_kind of its records'),
    field('policy_name', 'span', ''),
    field('policy_namespace', 'span', 'empty for a cluster-wide policy'),
    field('function_name', 'span', 'function, LSM hook, tracepoint event, or symbol'),
    field('subsystem', 'span', 'tracepoint subsystem, path of a uprobe or usdt'),
    field(
      'provider',
      'span',
      'usdt provider; of a uprobe with a counter the offset of that in the file, in decimal digits',
    ),
    field('message', 'span', ''),
    field('tags', 'span', 'each followed by NUL'),
    field(
      'argument_labels',
      'span',
      'one for each argument in order, each followed by NUL; empty where it has none',
    ),
  ],
);

export const annotation = layout(
  'annotation',
  'What filters said of a record. label_count structs annotation_label follow it.',
  [
    field('severity', 'u8', 'severity'),
    field('error', 'u8', '1 where a filter trapped on the record'),
    field('label_count', 'u16', ''),
    field('filter_index', 'u32', 'reserved for the filter that spoke last'),
    field('message', 'span', ''),
  ],
);

export const annotationLabel = layout('annotation_label', 'A label that a filter put on a record.', [
  field('name', 'span', 'filter.<filter name>.<label>'),
  field('value', 'span', ''),
]);

export const batchParts = [batchHeader, processEntry, podEntry, bindingEntry, annotation, annotationLabel];
