// SPDX-License-Identifier: Apache-2.0
// As its first act writes the file named first; with a second argument `setns`, enters its own uts namespace
// anew and prints the errno.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    int file = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (file < 0 || write(file, "x", 1) != 1)
        return 3;
    if (argc > 2 && strcmp(argv[2], "setns") == 0) {
        int namespace = open("/proc/self/ns/uts", O_RDONLY);

        printf("%d\n", syscall(SYS_setns, namespace, CLONE_NEWUTS) < 0 ? errno : 0);
    }
    return 0;
}
