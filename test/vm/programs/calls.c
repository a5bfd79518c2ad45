// SPDX-License-Identifier: Apache-2.0
// Makes the system calls that it reads from its standard input, one a line, fields parted by tabs, and prints
// what each returned: the result, or the negative errno. Numbers are 64 bits, passed on as they are.
//
//   openat DIRECTORY PATH FLAGS     opens and closes
//   dup PATH                        opens, duplicates and closes; prints what dup returned
//   setns FD TYPE  |  prctl A B C D E  |  lseek FD OFFSET WHENCE  |  unshare FLAGS
//   pwrite FD TEXT                 at the beginning
//   connect OWN PORT PEER PORT      of UDP: binds to the one address unless it is "-", connects to the other
//   compat NUMBER A                 by the 32-bit entry (int 0x80)
//   exec PATH                       in a child; prints 0, or why it could not be executed
//
// Executed with the argument "nothing" it does nothing.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIELDS_MAX = 8, LINE_MAX_BYTES = 8192 };

static long number(const char *text) {
    return (long)strtoull(text, NULL, 0);
}

static long call(long id, long a, long b, long c, long d, long e) {
    long result = syscall(id, a, b, c, d, e);

    return result < 0 ? -errno : result;
}

static long execute(const char *path) {
    static volatile int failure;
    char *arguments[] = {(char *)path, "nothing", NULL};
    char *environment[] = {NULL};
    int status = 0;

    failure = 0;
    // The child shares this memory until it executes or ends.
    pid_t child = vfork();
    if (child == 0) {
        execve(path, arguments, environment);
        failure = errno;
        _exit(1);
    }
    if (child < 0)
        return -errno;
    waitpid(child, &status, 0);
    return -failure;
}

/* Returns the address's length. */
static socklen_t parse_address(struct sockaddr_storage *to, const char *text, long port) {
    struct sockaddr_in *v4 = (void *)to;
    struct sockaddr_in6 *v6 = (void *)to;

    memset(to, 0, sizeof(*to));
    if (strchr(text, ':')) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
            return sizeof(*v6);
    } else {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
            return sizeof(*v4);
    }
    fprintf(stderr, "no address: %s\n", text);
    exit(98);
}

static long connect_datagram(char **field) {
    struct sockaddr_storage own, peer;
    socklen_t peer_length = parse_address(&peer, field[3], number(field[4]));
    int fd = socket(peer.ss_family, SOCK_DGRAM, 0);
    long result = 0;

    if (fd < 0)
        return -errno;
    if (strcmp(field[1], "-") != 0) {
        socklen_t length = parse_address(&own, field[1], number(field[2]));

        if (bind(fd, (void *)&own, length) != 0)
            result = -errno;
    }
    if (result == 0 && connect(fd, (void *)&peer, peer_length) != 0)
        result = -errno;
    close(fd);
    return result;
}

/* A system call by the entry for 32-bit programs, which has numbers of its own. */
static long call_compat(long compat_number, long a) {
    int result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "0"((int)compat_number), "b"(a)
                     : "memory", "cc", "r8", "r9", "r10", "r11");
    return result;
}

static long perform(char **field) {
    const char *name = field[0];

    if (strcmp(name, "compat") == 0)
        return call_compat(number(field[1]), number(field[2]));

    if (strcmp(name, "openat") == 0) {
        long fd = call(SYS_openat, number(field[1]), (long)field[2], number(field[3]), 0, 0);

        if (fd >= 0)
            close((int)fd);
        return fd;
    }
    if (strcmp(name, "dup") == 0) {
        long fd = call(SYS_openat, AT_FDCWD, (long)field[1], O_RDONLY, 0, 0);
        long copy = call(SYS_dup, fd < 0 ? -1 : fd, 0, 0, 0, 0);

        if (fd >= 0)
            close((int)fd);
        if (copy >= 0)
            close((int)copy);
        return copy;
    }
    if (strcmp(name, "setns") == 0)
        return call(SYS_setns, number(field[1]), number(field[2]), 0, 0, 0);
    if (strcmp(name, "prctl") == 0)
        return call(SYS_prctl, number(field[1]), number(field[2]), number(field[3]), number(field[4]),
                    number(field[5]));
    if (strcmp(name, "lseek") == 0)
        return call(SYS_lseek, number(field[1]), number(field[2]), number(field[3]), 0, 0);
    if (strcmp(name, "pwrite") == 0)
        return call(SYS_pwrite64, number(field[1]), (long)field[2], (long)strlen(field[2]), 0, 0);
    if (strcmp(name, "unshare") == 0)
        return call(SYS_unshare, number(field[1]), 0, 0, 0, 0);
    if (strcmp(name, "connect") == 0)
        return connect_datagram(field);
    if (strcmp(name, "exec") == 0)
        return execute(field[1]);
    fprintf(stderr, "unknown call %s\n", name);
    exit(99);
}

int main(int argc, char **argv) {
    static char line[LINE_MAX_BYTES];

    if (argc > 1 && strcmp(argv[1], "nothing") == 0)
        return 0;
    while (fgets(line, sizeof(line), stdin)) {
        static char empty[] = "";
        char *field[FIELDS_MAX];
        char *rest = line;

        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < FIELDS_MAX; i++) {
            char *next = strsep(&rest, "\t");

            field[i] = next ? next : empty;
        }
        printf("%ld\n", perform(field));
        fflush(stdout);
    }
    return 0;
}
