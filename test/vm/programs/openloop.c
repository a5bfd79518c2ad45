// SPDX-License-Identifier: Apache-2.0
// Opens a file again and again, with a pause after each 50, until its standard input ends; prints how often.

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct pollfd input = {.fd = 0, .events = POLLIN | POLLHUP};
    long opened = 0;

    if (argc != 2)
        return 2;
    printf("ready\n");
    fflush(stdout);
    while (poll(&input, 1, 1) == 0) {
        for (int i = 0; i < 50; i++) {
            long fd = syscall(SYS_openat, AT_FDCWD, argv[1], O_RDONLY);

            if (fd >= 0) {
                opened++;
                close((int)fd);
            }
        }
    }
    printf("%ld\n", opened);
    return 0;
}
