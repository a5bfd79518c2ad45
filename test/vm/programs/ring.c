// SPDX-License-Identifier: Apache-2.0
// Opens a file by io_uring, on a thread of the kernel's (IOSQE_ASYNC), and prints 0 or the negative errno.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENTRIES = 4 };

static void *map(int ring, size_t bytes, off_t what) {
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
}

int main(int argc, char **argv) {
    struct io_uring_params parameters;

    memset(&parameters, 0, sizeof(parameters));
    if (argc != 2)
        return 98;
    int ring = (int)syscall(SYS_io_uring_setup, ENTRIES, &parameters);
    if (ring < 0) {
        printf("setup %d\n", -errno);
        return 97;
    }
    char *submissions =
        map(ring, parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    char *completions =
        map(ring, parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe),
            IORING_OFF_CQ_RING);
    struct io_uring_sqe *entry =
        map(ring, parameters.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    if (submissions == MAP_FAILED || completions == MAP_FAILED || (void *)entry == MAP_FAILED)
        return 96;

    memset(entry, 0, sizeof(*entry));
    entry->opcode = IORING_OP_OPENAT;
    entry->flags = IOSQE_ASYNC;
    entry->fd = AT_FDCWD;
    entry->addr = (unsigned long)argv[1];
    entry->open_flags = O_RDONLY;
    ((unsigned *)(submissions + parameters.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(submissions + parameters.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1) {
        printf("enter %d\n", -errno);
        return 95;
    }
    const struct io_uring_cqe *done = (void *)(completions + parameters.cq_off.cqes);
    printf("%d\n", done->res < 0 ? done->res : 0);
    return 0;
}
