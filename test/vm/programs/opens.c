// SPDX-License-Identifier: Apache-2.0
// Opens a path so many times, and closes what it got. Where the path does not exist it makes no other call.
// Prints how many opens there were.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    long count = atol(argv[1]);

    for (long n = 0; n < count; n++) {
        long fd = syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY, 0);

        if (fd >= 0)
            close((int)fd);
    }
    printf("%ld\n", count);
    return 0;
}
