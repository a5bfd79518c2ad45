// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// For tests alone: gives the state of a process that asks for it, as a hook would get it.

#include "process.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// The call that asks: readahead(-1, STATES_MAGIC, 0), which does nothing.
#define STATES_SYSCALL 187
#define STATES_MAGIC 0x57454953

struct states_result {
    __u32 pid;
    __u32 found;
    struct process_state state;
};

// The states, in the order in which they were asked for. Written by the program, read by the test.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, struct states_result);
} results SEC(".maps");

// Key 0: how many there are.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} control SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
    unsigned long si;
};
#pragma clang attribute pop

// void sys_enter(struct pt_regs *registers, long number)
SEC("tp_btf/sys_enter")
int states_asked(__u64 *context) {
    struct pt_regs *registers = (void *)context[0];
    if (context[1] != STATES_SYSCALL || registers->si != STATES_MAGIC)
        return 0;
    __u32 zero = 0, slot;
    __u64 *count = bpf_map_lookup_elem(&control, &zero);
    __u32 index = count ? __sync_fetch_and_add(count, 1) : 0;
    struct states_result *result = bpf_map_lookup_elem(&results, &index);
    struct scratch *scratch = scratch_claim(&slot);
    if (!scratch)
        return 0;
    struct process_state *state = process_state_get(scratch, slot);
    if (result) {
        result->pid = bpf_get_current_pid_tgid() >> 32;
        result->found = state != NULL;
        if (state)
            bpf_probe_read_kernel(&result->state, sizeof(result->state), state);
    }
    scratch_release(slot);
    return 0;
}
