// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// For benches alone: programs that do nothing, on hooks that others are measured on. What the kernel counts
// for one of them is what its own counting costs.

#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sys_enter")
int empty_system_call(__u64 *ctx) {
    (void)ctx;
    return 0;
}

SEC("fentry/security_file_open")
int empty_function(__u64 *ctx) {
    (void)ctx;
    return 0;
}
