/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the reading of kernel objects into the payload of an argument: packets, addresses of Unix sockets,
// programs and maps of BPF, performance events, modules; and where in such a payload the name lies that
// look-ups compare. The length of that name is the argument's value.

#ifndef WEIR_OBJECTS_H
#define WEIR_OBJECTS_H

#include "buffer.h"
#include "hook_kernel.h"
#include "payload.h"
#include "socket.h"

enum {
    FAMILY_UNIX = 1,
    UNIX_NAME_BYTES_MAX = 108,
    // Bit of hook_argument.flags: the next parameter says how long an address is.
    ARGUMENT_SIZED = 16,
    NAME_BYTES_MAX = 64,
    MODULE_SIGNATURE_UNKNOWN = 2,
    // Types of performance events from here on are those of units that were registered: kprobe, uprobe.
    PERF_TYPE_DYNAMIC = 6,
    PORTS_BYTES = 4,
    EXTENSIONS_MAX = 4,
    NO_HEADER = 0xffff,
};

/* Takes over what a read of a name came to: its length without the NUL, and whether it may be cut. */
static __always_inline void name_read(__u32 slot, __u32 number, long length, __u32 size) {
    struct hook_work *work = hook_work_of(slot);

    if (!work || number >= HOOK_ARGUMENTS_MAX || length <= 0)
        return;
    work->arguments[number].value = length - 1;
    if (length == size) {
        work->arguments[number].flags |= WEIR_ARGUMENT_FLAG_TRUNCATED;
        count(WEIR_KERNEL_COUNTER_TRUNCATED_ARGUMENT);
    }
}

/*
 * Reads the address of a Unix socket: a path, or "@" and an abstract name. `size` is that of the address, 0
 * where the hook does not know it: then a name ends at its first NUL. The value is the family; one of another
 * family has no text. Not static: see read_path.
 */
__noinline int read_unix_address(__u32 slot, __u32 number, __u64 address, __u32 is_user_call, __u64 size) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);
    bool is_user = is_user_call || !(address >> 63);
    __u64 path = address + sizeof(__u16);
    __u16 family = 0;
    __u8 first = 0;
    long length;

    if (!work || !text || number >= HOOK_ARGUMENTS_MAX)
        return 0;
    struct weir_argument *argument = &work->arguments[number];

    if (read_bytes(&family, sizeof(family), address, is_user))
        goto unreadable;
    argument->value = family;
    if (family != FAMILY_UNIX || size == sizeof(__u16))
        return 0;
    if (read_bytes(&first, sizeof(first), path, is_user))
        goto unreadable;
    __u64 bytes = size > sizeof(__u16) ? size - sizeof(__u16) : UNIX_NAME_BYTES_MAX;

    if (bytes > UNIX_NAME_BYTES_MAX)
        bytes = UNIX_NAME_BYTES_MAX;
    barrier_var(bytes);
    bytes &= 127;
    if (first == 0 && size) {
        if (read_bytes(text->bytes, bytes, path, is_user))
            goto unreadable;
        text->bytes[0] = '@';
        text->bytes[bytes] = 0;
        length = bytes;
    } else {
        // The text of a path ends at its NUL, or where the address does.
        __u8 *to = text->bytes;

        if (first == 0) {
            *to++ = '@';
            path++;
        }
        length = is_user ? bpf_probe_read_user_str(to, bytes + 1, (void *)path)
                         : bpf_probe_read_kernel_str(to, bytes + 1, (void *)path);
        if (length <= 0)
            goto unreadable;
        length += first == 0 ? 0 : -1;
    }
    argument->payload.length = length;
    argument->original_length = length;
    return 0;

unreadable:
    argument->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
    count_failure(WEIR_FAILURE_PLACE_HOOK_ARGUMENT);
    return 0;
}

/*
 * Reads a struct sk_buff: its internet header, and the ports behind it. A packet without one (yet, or of
 * another protocol) has no family and no addresses; of a later fragment there are no ports. Not static: see
 * read_path.
 */
__noinline int read_packet(__u32 slot, __u32 number, __u64 address) {
    struct weir_socket_argument *payload = payload_begin(slot, number, sizeof(*payload));
    const struct sk_buff *packet = (const struct sk_buff *)address;
    __u16 network = 0;

    if (!payload)
        return 0;
    if (bpf_core_read(&network, sizeof(network), &packet->network_header)) {
        payload_unreadable(slot, number);
        return 0;
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS))
        name_socket(slot, number, (__u64)BPF_CORE_READ(packet, sk));
    payload->length = BPF_CORE_READ(packet, len);
    payload->priority = BPF_CORE_READ(packet, priority);
    payload->mark = BPF_CORE_READ(packet, mark);
    payload->hash = BPF_CORE_READ(packet, hash);
    __u16 carried = bpf_ntohs(BPF_CORE_READ(packet, protocol));
    const __u8 *header = (const __u8 *)BPF_CORE_READ(packet, head) + network;
    __u8 first = 0, protocol = 0;
    __u16 fragment = 0;
    __u32 behind;

    // Before the header is made there is none; what a packet carries is told later than that.
    if (network == 0 || network == NO_HEADER || bpf_probe_read_kernel(&first, sizeof(first), header))
        return 0;
    if (first >> 4 == 4 && (carried == 0x0800 || carried == 0)) {
        payload->family = FAMILY_INET;
        bpf_probe_read_kernel(&protocol, sizeof(protocol), header + 9);
        bpf_probe_read_kernel(&fragment, sizeof(fragment), header + 6);
        bpf_probe_read_kernel(payload->source_address, ADDRESS4_BYTES, header + 12);
        bpf_probe_read_kernel(payload->destination_address, ADDRESS4_BYTES, header + 16);
        behind = (first & 15) * 4;
    } else if (first >> 4 == 6 && (carried == 0x86dd || carried == 0)) {
        payload->family = FAMILY_INET6;
        bpf_probe_read_kernel(&protocol, sizeof(protocol), header + 6);
        bpf_probe_read_kernel(payload->source_address, ADDRESS_BYTES, header + 8);
        bpf_probe_read_kernel(payload->destination_address, ADDRESS_BYTES, header + 24);
        behind = 40;
#pragma clang loop unroll(disable)
        for (int i = 0; i < EXTENSIONS_MAX; i++) {
            __u8 extension[2] = {};

            // Hop-by-hop, routing and destination options.
            if (protocol != 0 && protocol != 43 && protocol != 60)
                break;
            if (bpf_probe_read_kernel(extension, sizeof(extension), header + behind))
                break;
            protocol = extension[0];
            behind += (extension[1] + 1) * 8;
        }
    } else {
        return 0;
    }
    payload->protocol = protocol;
    // TCP, UDP, DCCP, SCTP, UDP-Lite begin with their ports.
    if ((protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136) &&
        !(bpf_ntohs(fragment) & 0x1fff)) {
        __u16 ports[2] = {};

        if (bpf_probe_read_kernel(ports, PORTS_BYTES, header + behind) == 0) {
            payload->source_port = bpf_ntohs(ports[0]);
            payload->destination_port = bpf_ntohs(ports[1]);
        }
    }
    return 0;
}

/*
 * Reads a BPF map or program, or the attributes of bpf(2) as BPF_PROG_LOAD has them: what they mean the
 * command says. Not static: see read_path.
 */
__noinline int read_bpf_object(__u32 slot, __u32 number, __u64 address, __u32 type, __u32 is_user_call) {
    struct weir_bpf_argument *payload = payload_begin(slot, number, sizeof(*payload));
    bool is_user = is_user_call || !(address >> 63);
    long error, length;

    if (!payload)
        return 0;
    if (type == WEIR_ARGUMENT_TYPE_BPF_MAP) {
        const struct bpf_map *map = (const struct bpf_map *)address;

        error = bpf_core_read(&payload->type, sizeof(payload->type), &map->map_type);
        payload->key_size = BPF_CORE_READ(map, key_size);
        payload->value_size = BPF_CORE_READ(map, value_size);
        payload->max_entries = BPF_CORE_READ(map, max_entries);
        length = bpf_core_read_str(payload->name, sizeof(payload->name), &map->name);
    } else if (type == WEIR_ARGUMENT_TYPE_BPF_PROG) {
        const struct bpf_prog *program = (const struct bpf_prog *)address;
        const struct bpf_prog_aux *more = BPF_CORE_READ(program, aux);

        error = bpf_core_read(&payload->type, sizeof(payload->type), &program->type);
        payload->instruction_count = BPF_CORE_READ(program, len);
        length = bpf_core_read_str(payload->name, sizeof(payload->name), &more->name);
    } else {
        __u32 head[2] = {}; // prog_type and insn_cnt
        __u64 name = address + offsetof(union bpf_attr, prog_name);

        error = read_bytes(head, sizeof(head), address, is_user);
        payload->type = head[0];
        payload->instruction_count = head[1];
        // An older program gives attributes that end before the name.
        length = is_user ? bpf_probe_read_user_str(payload->name, sizeof(payload->name), (void *)name)
                         : bpf_probe_read_kernel_str(payload->name, sizeof(payload->name), (void *)name);
    }
    if (error)
        payload_unreadable(slot, number);
    else
        name_read(slot, number, length, sizeof(payload->name) + 1); // 15 bytes are a whole name
    return 0;
}

/* Reads a struct perf_event; the function is that of a probe. Not static: see read_path. */
__noinline int read_perf_event(__u32 slot, __u32 number, __u64 address) {
    struct weir_perf_event_argument *payload = payload_begin(slot, number, sizeof(*payload));
    const struct perf_event *event = (const struct perf_event *)address;

    if (!payload)
        return 0;
    if (bpf_core_read(&payload->type, sizeof(payload->type), &event->attr.type)) {
        payload_unreadable(slot, number);
        return 0;
    }
    payload->config = BPF_CORE_READ(event, attr.config);
    if (payload->type < PERF_TYPE_DYNAMIC)
        return 0;
    payload->probe_offset = BPF_CORE_READ(event, attr.probe_offset);
    const void *function = (const void *)BPF_CORE_READ(event, attr.kprobe_func);

    if (function) {
        // The caller's memory; where it is no text, the unit is none that probes a function by its name.
        long length = bpf_probe_read_user_str(payload->function, sizeof(payload->function), function);

        name_read(slot, number, length, sizeof(payload->function));
    }
    return 0;
}

/* Reads a struct module, or the struct load_info of one that is being loaded. Not static: see read_path. */
__noinline int read_module(__u32 slot, __u32 number, __u64 address, __u32 type) {
    struct weir_module_argument *payload = payload_begin(slot, number, sizeof(*payload));
    const struct module *module = (const struct module *)address;
    const struct load_info *load = (const struct load_info *)address;
    __u8 signature = MODULE_SIGNATURE_UNKNOWN;
    __u64 taints = 0;
    long length;

    if (!payload)
        return 0;
    if (type == WEIR_ARGUMENT_TYPE_MODULE) {
        length = bpf_core_read_str(payload->name, sizeof(module->name), &module->name);
        if (bpf_core_field_exists(module->sig_ok))
            bpf_core_read(&signature, sizeof(signature), &module->sig_ok);
    } else {
        length = bpf_probe_read_kernel_str(payload->name, sizeof(payload->name), BPF_CORE_READ(load, name));
        if (bpf_core_field_exists(load->sig_ok))
            bpf_core_read(&signature, sizeof(signature), &load->sig_ok);
        // Not there yet where the loading has only begun.
        module = BPF_CORE_READ(load, mod);
    }
    if (length <= 0) {
        payload_unreadable(slot, number);
        return 0;
    }
    bpf_core_read(&taints, sizeof(taints), &module->taints);
    payload->tainted = taints;
    payload->signature_ok = signature;
    name_read(slot, number, length, sizeof(payload->name));
    return 0;
}

/* Where in the payload of an argument its name is; 0 where the whole payload is text. */
static __always_inline __u32 name_offset(__u8 type) {
    switch (type) {
    case WEIR_ARGUMENT_TYPE_BPF_ATTR:
    case WEIR_ARGUMENT_TYPE_BPF_MAP:
    case WEIR_ARGUMENT_TYPE_BPF_PROG:
        return offsetof(struct weir_bpf_argument, name);
    case WEIR_ARGUMENT_TYPE_PERF_EVENT:
        return offsetof(struct weir_perf_event_argument, function);
    case WEIR_ARGUMENT_TYPE_LOAD_INFO:
    case WEIR_ARGUMENT_TYPE_MODULE:
        return offsetof(struct weir_module_argument, name);
    default:
        return 0;
    }
}

/*
 * Copies the name in a payload to the slot for texts that are turned round, where it is the beginning of a
 * key. Not static, so that the verifier looks at it once.
 */
__noinline int copy_name(__u32 slot, __u32 number, __u32 offset) {
    struct text_slot *text = text_of(slot, number);
    struct text_slot *to = text_of(slot, TURNED_TEXT);

    // What is behind a shorter name is not looked at: the key says where it ends.
    if (text && to && offset < NAME_BYTES_MAX)
        bpf_probe_read_kernel(to->bytes, NAME_BYTES_MAX, text->bytes + offset);
    return 0;
}

#endif
