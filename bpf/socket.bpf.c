// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Entry point of what forgets the owners of sockets that are gone: their addresses are given to others.

#include "owners.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The last that is done with a socket before its memory is freed. */
SEC("fentry/security_sk_free")
int forget_socket(__u64 *ctx) {
    __u64 socket = ctx[0];

    bpf_map_delete_elem(&socket_owners, &socket);
    return 0;
}
