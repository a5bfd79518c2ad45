// SPDX-License-Identifier: Apache-2.0
// Does one thing with a kernel object, and prints 0 or the errno. What fails has been asked of the kernel all
// the same.
//
//   unix PATH               connects to a Unix socket: a path, given without its closing NUL, or "@" and an
//   abstract name map NAME | program NAME makes a map or a program of BPF perf TYPE CONFIG        opens a
//   performance event probe FUNCTION          opens a performance event that probes a function capset gives
//   up CAP_CHOWN, then takes it back

#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static long connect_unix(const char *name) {
    struct {
        struct sockaddr_un address;
        char behind[64];
    } memory;
    size_t length = strlen(name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    // What lies behind the name is none of it.
    memset(&memory, 'x', sizeof(memory));
    memory.address.sun_family = AF_UNIX;
    memcpy(memory.address.sun_path, name, length);
    if (name[0] == '@')
        memory.address.sun_path[0] = 0;
    return connect(fd, (void *)&memory.address, offsetof(struct sockaddr_un, sun_path) + length);
}

static long make_map(const char *name) {
    union bpf_attr attributes = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 24, .max_entries = 7};

    strncpy(attributes.map_name, name, sizeof(attributes.map_name) - 1);
    return syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes));
}

static long load_program(const char *name) {
    static const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr attributes = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                                 .insns = (uintptr_t)code,
                                 .insn_cnt = 2,
                                 .license = (uintptr_t) "GPL"};

    strncpy(attributes.prog_name, name, sizeof(attributes.prog_name) - 1);
    return syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
}

static long open_event(uint32_t type, uint64_t config, const char *function) {
    struct perf_event_attr attributes = {.type = type, .size = sizeof(attributes), .config = config};

    attributes.kprobe_func = (uintptr_t)function;
    return syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

static long open_probe(const char *function) {
    FILE *file = fopen("/sys/bus/event_source/devices/kprobe/type", "r");
    unsigned type = 0;

    if (!file || fscanf(file, "%u", &type) != 1)
        return -1;
    return open_event(type, 0, function);
}

static long change_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2], less[2];

    if (syscall(SYS_capget, &header, data) < 0)
        return -1;
    memcpy(less, data, sizeof(data));
    less[0].effective &= ~1U;
    if (syscall(SYS_capset, &header, less) < 0)
        return -1;
    return syscall(SYS_capset, &header, data);
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    const char *name = argc > 2 ? argv[2] : "";
    long result;

    if (strcmp(verb, "unix") == 0)
        result = connect_unix(name);
    else if (strcmp(verb, "map") == 0)
        result = make_map(name);
    else if (strcmp(verb, "program") == 0)
        result = load_program(name);
    else if (strcmp(verb, "perf") == 0)
        result = open_event(strtoul(name, NULL, 0), argc > 3 ? strtoull(argv[3], NULL, 0) : 0, NULL);
    else if (strcmp(verb, "probe") == 0)
        result = open_probe(name);
    else if (strcmp(verb, "capset") == 0)
        result = change_capabilities();
    else
        return 2;
    printf("%d\n", result < 0 ? errno : 0);
    return 0;
}
