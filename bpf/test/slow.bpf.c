// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// For tests alone: takes its time in the calls of one process. Attached to a function before a hook is, it
// runs between the programs at the function's entry and those at its check, so that what happens there is
// met.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 slowed_pid = 0;
const volatile __u32 turns = 0;

static long turn(__u32 index, void *context) {
    (void)index;
    (void)context;
    return 0;
}

SEC("fentry/security_file_open")
int slow_function(__u64 *ctx) {
    (void)ctx;
    if (bpf_get_current_pid_tgid() >> 32 == slowed_pid)
        bpf_loop(turns, turn, NULL, 0);
    return 0;
}
