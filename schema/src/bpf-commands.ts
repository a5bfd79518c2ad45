// SPDX-License-Identifier: Apache-2.0
// Owns the names of the commands of bpf(2) (enum bpf_cmd of the kernel): in policies, and in events.

/** By number. */
export const bpfCommands: readonly string[] =
  'MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET PROG_ATTACH PROG_DETACH PROG_TEST_RUN PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID OBJ_GET_INFO_BY_FD PROG_QUERY RAW_TRACEPOINT_OPEN BTF_LOAD BTF_GET_FD_BY_ID TASK_FD_QUERY MAP_LOOKUP_AND_DELETE_ELEM MAP_FREEZE BTF_GET_NEXT_ID MAP_LOOKUP_BATCH MAP_LOOKUP_AND_DELETE_BATCH MAP_UPDATE_BATCH MAP_DELETE_BATCH LINK_CREATE LINK_UPDATE LINK_GET_FD_BY_ID LINK_GET_NEXT_ID ENABLE_STATS ITER_CREATE LINK_DETACH PROG_BIND_MAP TOKEN_CREATE'
    .split(' ')
    .map((name) => `BPF_${name}`);

/** The number of a command, by its name in any case; undefined where there is none of that name. */
export function bpfCommandNumber(name: string): number | undefined {
  const upper = name.toUpperCase();
  const number = bpfCommands.indexOf(upper === 'BPF_PROG_RUN' ? 'BPF_PROG_TEST_RUN' : upper);
  return number < 0 ? undefined : number;
}
