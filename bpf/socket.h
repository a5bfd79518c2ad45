/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the reading of sockets and of socket addresses into the payload of an argument (struct
// socket_argument), and what of it look-ups compare.

#ifndef WEIR_SOCKET_H
#define WEIR_SOCKET_H

#include "hook_kernel.h"
#include "payload.h"
#include "spec.h"
#include <bpf/bpf_endian.h>

enum {
    FAMILY_INET = 2,
    FAMILY_INET6 = 10,
    TCP_STATE_CLOSE = 7,
    ADDRESS_BYTES = 16,
    ADDRESS4_BYTES = 4,
    // Bits of hook_argument.flags.
    ARGUMENT_OWN_ADDRESS = 2,
};

_Static_assert(sizeof(struct weir_socket_argument) <= WEIR_LIMIT_PATH_BYTES, "a payload is in a text slot");

/* Notes in an argument which socket it is; no event shows it. */
static __always_inline void name_socket(__u32 slot, __u32 number, __u64 socket) {
    struct hook_work *work = hook_work_of(slot);

    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS) && work && number < HOOK_ARGUMENTS_MAX)
        work->arguments[number].value = socket;
}

/*
 * Reads a struct sock, or the one of a struct socket (which has none before and after its life: then the
 * payload is all zeros but for the type). Not static: see read_path.
 */
__noinline int read_socket(__u32 slot, __u32 number, __u64 address, __u32 type) {
    struct weir_socket_argument *payload = payload_begin(slot, number, sizeof(*payload));
    struct sock *sock = (struct sock *)address;

    if (!payload)
        return 0;
    if (type == WEIR_ARGUMENT_TYPE_SOCKET) {
        struct socket *socket = (struct socket *)address;
        __s16 kind = 0;

        if (bpf_core_read(&kind, sizeof(kind), &socket->type)) {
            payload_unreadable(slot, number);
            return 0;
        }
        payload->type = kind;
        sock = BPF_CORE_READ(socket, sk);
        if (!sock)
            return 0;
    }
    if (bpf_core_read(&payload->family, sizeof(payload->family), &sock->__sk_common.skc_family)) {
        payload_unreadable(slot, number);
        return 0;
    }
    name_socket(slot, number, (__u64)sock);
    payload->type = BPF_CORE_READ(sock, sk_type);
    payload->protocol = BPF_CORE_READ(sock, sk_protocol);
    payload->state = BPF_CORE_READ(sock, __sk_common.skc_state);
    payload->mark = BPF_CORE_READ(sock, sk_mark);
    payload->priority = BPF_CORE_READ(sock, sk_priority);
    payload->cookie = BPF_CORE_READ(sock, __sk_common.skc_cookie.counter);
    if (payload->family == FAMILY_INET) {
        bpf_core_read(payload->source_address, ADDRESS4_BYTES, &sock->__sk_common.skc_rcv_saddr);
        bpf_core_read(payload->destination_address, ADDRESS4_BYTES, &sock->__sk_common.skc_daddr);
    } else if (payload->family == FAMILY_INET6) {
        bpf_core_read(payload->source_address, ADDRESS_BYTES, &sock->__sk_common.skc_v6_rcv_saddr);
        bpf_core_read(payload->destination_address, ADDRESS_BYTES, &sock->__sk_common.skc_v6_daddr);
    } else {
        return 0;
    }
    payload->source_port = BPF_CORE_READ(sock, __sk_common.skc_num);
    // A connection that is over has given its port back before it is closed (inet_put_port): which it had
    // stays here.
    if (!payload->source_port && payload->state == TCP_STATE_CLOSE)
        payload->source_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sock, inet_sport));
    payload->destination_port = bpf_ntohs(BPF_CORE_READ(sock, __sk_common.skc_dport));
    return 0;
}

/* As <linux/in.h> and <linux/in6.h> have them: part of what user programs see, the same on every kernel. */
struct internet_address {
    __u16 family;
    __u16 port;
    union {
        __u8 v4[ADDRESS4_BYTES];
        struct {
            __u32 flow;
            __u8 v6[ADDRESS_BYTES];
        };
    };
};

/* Reads a struct sockaddr: which end of the socket it is, the hook says. Not static: see read_path. */
__noinline int read_address(__u32 slot, __u32 number, __u64 address, __u32 is_user, __u32 is_own) {
    struct weir_socket_argument *payload = payload_begin(slot, number, sizeof(*payload));
    struct internet_address read = {};
    // A system call's address is in user memory, whatever it claims.
    bool from_user = is_user || !(address >> 63);

    if (!payload)
        return 0;
    long error = from_user ? bpf_probe_read_user(&read.family, sizeof(read.family), (void *)address)
                           : bpf_probe_read_kernel(&read.family, sizeof(read.family), (void *)address);
    __u32 size =
        read.family == FAMILY_INET6 ? sizeof(read) : offsetof(struct internet_address, v4) + ADDRESS4_BYTES;

    if (!error && (read.family == FAMILY_INET || read.family == FAMILY_INET6))
        error = from_user ? bpf_probe_read_user(&read, size, (void *)address)
                          : bpf_probe_read_kernel(&read, size, (void *)address);
    if (error) {
        payload_unreadable(slot, number);
        return 0;
    }
    payload->family = read.family;
    __u8 *to = is_own ? payload->source_address : payload->destination_address;

    if (read.family == FAMILY_INET)
        __builtin_memcpy(to, read.v4, ADDRESS4_BYTES);
    else if (read.family == FAMILY_INET6)
        __builtin_memcpy(to, read.v6, ADDRESS_BYTES);
    else
        return 0;
    if (is_own)
        payload->source_port = bpf_ntohs(read.port);
    else
        payload->destination_port = bpf_ntohs(read.port);
    return 0;
}

/* A number of a socket, by its argument_part. */
static __always_inline __u64 socket_number(const struct weir_socket_argument *payload, __u32 part) {
    switch (part) {
    case WEIR_ARGUMENT_PART_SOURCE_PORT:
        return payload->source_port;
    case WEIR_ARGUMENT_PART_DESTINATION_PORT:
        return payload->destination_port;
    case WEIR_ARGUMENT_PART_PROTOCOL:
        return payload->protocol;
    case WEIR_ARGUMENT_PART_FAMILY:
        return payload->family;
    default:
        return payload->state;
    }
}

/*
 * Lays an address out as a key of string_masks, in the slot for texts that are turned round: the version of
 * the protocol, then the address. An IPv4 address within IPv6 (::ffff:0:0/96) is one of IPv4. Where the
 * socket has no internet address, the version is 0 and nothing follows. Returns the length. Not static, so
 * that the verifier looks at it once.
 */
__noinline int address_key(__u32 slot, __u32 number, __u32 part) {
    struct text_slot *text = text_of(slot, number);
    struct text_slot *key = text_of(slot, TURNED_TEXT);

    if (!text || !key)
        return 0;
    const struct weir_socket_argument *payload = (void *)text->bytes;
    const __u8 *address =
        part == WEIR_ARGUMENT_PART_SOURCE_ADDRESS ? payload->source_address : payload->destination_address;
    const __u32 *words = (const __u32 *)address;

    if (payload->family == FAMILY_INET6 &&
        !(words[0] == 0 && words[1] == 0 && words[2] == bpf_htonl(0xffff))) {
        key->bytes[0] = 6;
        __builtin_memcpy(key->bytes + 1, address, ADDRESS_BYTES);
        return 1 + ADDRESS_BYTES;
    }
    if (payload->family != FAMILY_INET && payload->family != FAMILY_INET6) {
        key->bytes[0] = 0;
        return 1;
    }
    key->bytes[0] = 4;
    __builtin_memcpy(key->bytes + 1, payload->family == FAMILY_INET ? address : address + 12, ADDRESS4_BYTES);
    return 1 + ADDRESS4_BYTES;
}

#endif
