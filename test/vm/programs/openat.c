// SPDX-License-Identifier: Apache-2.0
// Opens the files named, by the openat system call itself; prints 0 or the errno of each.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        long fd = syscall(SYS_openat, AT_FDCWD, argv[i], O_RDONLY);
        printf("%d\n", fd < 0 ? errno : 0);
        if (fd >= 0)
            close((int)fd);
    }
    return 0;
}
