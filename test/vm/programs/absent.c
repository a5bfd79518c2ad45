// SPDX-License-Identifier: Apache-2.0
// Opens a file whose name lies in memory that is mapped and not resident: in a file that nobody has read.
// Opens it a second time, when the kernel has read the name. Prints 0 or the errno of each.
//
//   absent FILE      FILE holds the name, closed by NUL

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    int from = open(argv[1], O_RDONLY);
    // Random: nothing is read ahead, and nothing around what is asked for is mapped with it.
    if (from < 0 || posix_fadvise(from, 0, 0, POSIX_FADV_RANDOM) != 0)
        return 3;
    const char *name = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, from, 0);

    if (name == MAP_FAILED)
        return 4;
    for (int i = 0; i < 2; i++) {
        long fd = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY);

        printf("%d\n", fd < 0 ? errno : 0);
    }
    return 0;
}
