/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the map of the processes that sockets belong to: see socket_owner.h.

#ifndef WEIR_OWNERS_H
#define WEIR_OWNERS_H

#include "kernel.h"
#include "weir.h"

// Key: address of the struct sock. Programs write and delete; the agent empties it.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, WEIR_LIMIT_SOCKET_OWNERS);
    __type(key, __u64);
    __type(value, struct weir_socket_owner);
} socket_owners SEC(".maps");

#endif
