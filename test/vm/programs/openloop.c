// SPDX-License-Identifier: Apache-2.0
// Opens a file again and again, ten times a millisecond at most or as often as its second argument says: a
// hundred times for each byte of its standard input, so that whoever counts can keep up with it. Prints how
// often when the input has ended. With a third argument it goes on where it is denied, and prints behind it
// how often that was. Before each it calls a function of its own, and takes its fourth argument as its name.

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((noinline, noclone, used)) void about_to_open(const char *path) {
    __asm__ volatile("" ::"r"(path) : "memory");
}

int main(int argc, char **argv) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    long opened = 0, denied = 0, granted = 0;

    if (argc < 2 || argc > 5)
        return 2;
    int turn = argc > 2 ? atoi(argv[2]) : 10;
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int left = granted > opened + denied;

        if (poll(&input, 1, left ? 1 : -1) > 0) {
            char bytes[256];
            ssize_t length = read(0, bytes, sizeof(bytes));

            if (length <= 0)
                break;
            granted += 100 * length;
        }
        for (int i = 0; i < turn && granted > opened + denied; i++) {
            about_to_open(argv[1]);
            if (argc > 4)
                prctl(PR_SET_NAME, argv[4]);
            long fd = syscall(SYS_openat, AT_FDCWD, argv[1], O_RDONLY);

            if (fd < 0 && argc < 4)
                return 1;
            if (fd < 0) {
                denied++;
                continue;
            }
            opened++;
            close((int)fd);
        }
    }
    if (argc < 4)
        printf("%ld\n", opened);
    else
        printf("%ld %ld\n", opened, denied);
    return 0;
}
