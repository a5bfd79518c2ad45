// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Entry points of slots. What is attached to a place in the kernel or in a program is none of the hook's own
// programs but one of these, which goes on with whatever program lies in the slot. So a hook's program is
// exchanged by one store: each call finds the old one or the new one, never both, and never none.
//
// Where the two are of kinds that cannot share a slot, since one can make the function fail and the other
// cannot, there are two slots on the function for a while, and programs that hand calls over:
//
//     at the entry     hand_over          notes the call, then goes on with its new program, where it has one
//     then the check   judge_handed       goes on with its new program, where the call was noted
//                      judge_unhanded     goes on with its old program, where it was not
//
// Each call is noted or not at its entry, by what is in the slot then; the check goes by that, however soon
// after it the store comes.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum {
    // What runs.
    SLOT_ACTING = 0,
    // Where a program lies before it acts, and that to which calls are handed over.
    SLOT_NEW = 1,
    // While calls are handed over: what judges those that are not.
    SLOT_OLD = 2,
    SLOT_PLACES = 3,
    // Calls between their entry and the check at once.
    HANDED_CALLS_MAX = 4096,
};

/* Of each clone another, which the agent fills. */
struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, SLOT_PLACES);
    __type(key, __u32);
    __type(value, __u32);
} slot SEC(".maps");

/*
 * Calls that are judged by the new program. Key: where on the stack the programs' context lies, which is in
 * the frame of the call: its entry and its check get the same address, and no other call under way has it.
 * Written and deleted by the programs below.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, HANDED_CALLS_MAX);
    __type(key, __u64);
    __type(value, __u8);
} handed_calls SEC(".maps");

SEC("fentry/security_file_open")
int at_entry(__u64 *ctx) {
    bpf_tail_call(ctx, &slot, SLOT_ACTING);
    return 0;
}

SEC("fmod_ret/security_file_open")
int at_check(__u64 *ctx) {
    bpf_tail_call(ctx, &slot, SLOT_ACTING);
    return 0;
}

SEC("lsm/file_open")
int at_lsm_slot(__u64 *ctx) {
    bpf_tail_call(ctx, &slot, SLOT_ACTING);
    return 0;
}

SEC("tp_btf/sys_enter")
int at_raw_tracepoint(__u64 *ctx) {
    bpf_tail_call(ctx, &slot, SLOT_ACTING);
    return 0;
}

SEC("tracepoint")
int at_tracepoint(__u64 *ctx) {
    bpf_tail_call(ctx, &slot, SLOT_ACTING);
    return 0;
}

SEC("uprobe")
int at_user_place(void *ctx) {
    bpf_tail_call(ctx, &slot, SLOT_ACTING);
    return 0;
}

/* The address of a program's context as a number: see is_on_thread_stack (prevent.h). */
static __always_inline __u64 call_of(void *ctx) {
    void *spilled = ctx;
    __u64 address = 0;

    bpf_probe_read_kernel(&address, sizeof(address), &spilled);
    return address;
}

/* A call that cannot be noted stays with the old program. */
SEC("fentry/security_file_open")
int hand_over(__u64 *ctx) {
    __u64 call = call_of(ctx);
    __u8 handed = 1;

    if (bpf_map_update_elem(&handed_calls, &call, &handed, BPF_ANY) == 0)
        bpf_tail_call(ctx, &slot, SLOT_NEW);
    else
        bpf_tail_call(ctx, &slot, SLOT_OLD);
    return 0;
}

SEC("fmod_ret/security_file_open")
int judge_handed(__u64 *ctx) {
    __u64 call = call_of(ctx);

    if (bpf_map_delete_elem(&handed_calls, &call) == 0)
        bpf_tail_call(ctx, &slot, SLOT_NEW);
    return 0;
}

SEC("fmod_ret/security_file_open")
int judge_unhanded(__u64 *ctx) {
    __u64 call = call_of(ctx);

    if (bpf_map_delete_elem(&handed_calls, &call) != 0)
        bpf_tail_call(ctx, &slot, SLOT_OLD);
    return 0;
}
