// SPDX-License-Identifier: Apache-2.0
// Owns the columns of the archive's table. Names are for people who write SQL; field ids are for ever (Iceberg
// knows columns by them): a column is added at the end of its list of ids, never renumbered.

/** A column's type, by the name that DuckDB gives it; the Iceberg type is beside it. */
export const columnTypes = {
  VARCHAR: 'string',
  INTEGER: 'int',
  BIGINT: 'long',
  BOOLEAN: 'boolean',
  TIMESTAMPTZ: 'timestamptz',
  'VARCHAR[]': 'list<string>',
} as const;

export type ColumnType = keyof typeof columnTypes;

export interface Column {
  readonly id: number;
  readonly name: string;
  readonly type: ColumnType;
  readonly doc: string;
}

function column(id: number, name: string, type: ColumnType, doc: string): Column {
  return { id, name, type, doc };
}

/**
 * Text columns hold bytes of any kind in valid UTF-8: a byte that is no part of valid UTF-8 stands as the code
 * point U+EF00 plus the byte (see segment/src/text.ts); the way back is exact.
 */
export const columns: readonly Column[] = [
  column(
    1,
    'event_id',
    'VARCHAR',
    'boot id, CPU and sequence: the same event has the same id wherever it is seen',
  ),
  column(2, 'time', 'TIMESTAMPTZ', 'when it happened'),
  column(3, 'time_ns', 'BIGINT', 'the same, nanoseconds since 1970'),
  column(4, 'cluster', 'VARCHAR', 'name of the cluster'),
  column(5, 'node', 'VARCHAR', 'name of the node'),
  column(6, 'agent_id', 'VARCHAR', 'id of the agent that sent it, as the control plane enrolled it'),
  column(7, 'kind', 'VARCHAR', 'event_kind'),
  column(8, 'policy', 'VARCHAR', 'policy that matched'),
  column(9, 'policy_namespace', 'VARCHAR', 'namespace of a namespaced policy'),
  column(10, 'function', 'VARCHAR', 'function, LSM hook, tracepoint or symbol'),
  column(11, 'action', 'VARCHAR', 'action that was taken, or would have been in monitor mode'),
  column(12, 'monitor', 'BOOLEAN', 'true where the action only would have been taken'),
  column(13, 'message', 'VARCHAR', 'message of the policy'),
  column(14, 'tags', 'VARCHAR[]', 'tags of the policy'),
  column(15, 'exec_id', 'VARCHAR', 'id of the execution'),
  column(16, 'parent_exec_id', 'VARCHAR', 'id of the execution that created the process'),
  column(17, 'pid', 'BIGINT', 'process id on the host'),
  column(18, 'tid', 'BIGINT', 'thread id on the host'),
  column(19, 'parent_pid', 'BIGINT', 'process id of the parent'),
  column(20, 'start_time', 'TIMESTAMPTZ', 'when the execution began'),
  column(21, 'uid', 'BIGINT', 'real user id'),
  column(22, 'euid', 'BIGINT', 'effective user id'),
  column(23, 'auid', 'BIGINT', 'login user id'),
  column(24, 'user', 'VARCHAR', 'name of uid on the node'),
  column(25, 'binary', 'VARCHAR', 'path of the binary'),
  column(26, 'arguments', 'VARCHAR[]', 'arguments from argv[1] on'),
  column(27, 'cwd', 'VARCHAR', 'working directory'),
  column(28, 'process_flags', 'VARCHAR[]', 'exec_flag names'),
  column(29, 'inode', 'BIGINT', 'inode number of the binary'),
  column(30, 'links', 'BIGINT', 'link count of the binary; 0 is deleted or memfd'),
  column(31, 'cap_effective', 'BIGINT', 'capability bits'),
  column(32, 'pid_namespace', 'BIGINT', 'inode number of the pid namespace'),
  column(33, 'parent_binary', 'VARCHAR', "path of the parent's binary"),
  column(34, 'parent_arguments', 'VARCHAR[]', 'arguments of the parent'),
  column(35, 'container_id', 'VARCHAR', 'id of the container'),
  column(36, 'pod_namespace', 'VARCHAR', ''),
  column(37, 'pod', 'VARCHAR', ''),
  column(38, 'container', 'VARCHAR', ''),
  column(39, 'image', 'VARCHAR', ''),
  column(40, 'workload', 'VARCHAR', ''),
  column(41, 'exit_status', 'INTEGER', 'exit code'),
  column(42, 'exit_signal', 'VARCHAR', 'signal that ended the process'),
  column(43, 'path', 'VARCHAR', 'first file, path or string argument of a hook'),
  column(44, 'args', 'VARCHAR', 'arguments of a hook, as JSON'),
  column(45, 'return_value', 'BIGINT', 'return value of a hook, where it is a number'),
  column(46, 'source_address', 'VARCHAR', 'of the first socket argument, or of one that is returned'),
  column(47, 'source_port', 'INTEGER', ''),
  column(48, 'destination_address', 'VARCHAR', 'of the first socket argument, or of one that is returned'),
  column(49, 'destination_port', 'INTEGER', ''),
  column(50, 'severity', 'VARCHAR', 'as filters judged it'),
  column(51, 'labels', 'VARCHAR', 'labels of filters, as a JSON object'),
  column(52, 'flags', 'VARCHAR[]', 'record_flag names'),
  column(53, 'lost_stage', 'VARCHAR', 'loss events: lost where'),
  column(54, 'lost_count', 'BIGINT', 'loss events: how many'),
];
