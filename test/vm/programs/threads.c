// SPDX-License-Identifier: Apache-2.0
// Two threads of one process remove files at the same time, by the same system call: one again and again the
// file VICTIM, the other files of its own in FOLDER, which it makes before. Prints how many of the first
// thread's calls did not return the negative ERRNO, and how many of the second's did not return 0.
//
//   threads VICTIM ERRNO FOLDER ROUNDS

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *victim, *folder;
static int expected, rounds;

static int removed(const char *path) {
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0) < 0 ? -errno : 0;
}

static void *remove_victim(void *unused) {
    long wrong = 0;

    (void)unused;
    for (int i = 0; i < rounds; i++)
        wrong += removed(victim) != expected;
    return (void *)wrong;
}

int main(int argc, char **argv) {
    pthread_t thread;
    long wrong_own = 0;
    void *wrong_victim = NULL;

    if (argc != 5)
        return 2;
    victim = argv[1];
    expected = atoi(argv[2]);
    folder = argv[3];
    rounds = atoi(argv[4]);
    if (pthread_create(&thread, NULL, remove_victim, NULL) != 0)
        return 3;
    for (int i = 0; i < rounds; i++) {
        char path[512];

        snprintf(path, sizeof(path), "%s/own-%d", folder, i);
        int file = open(path, O_WRONLY | O_CREAT, 0600);

        if (file < 0)
            return 4;
        close(file);
        wrong_own += removed(path) != 0;
    }
    pthread_join(thread, &wrong_victim);
    printf("%ld %ld\n", (long)wrong_victim, wrong_own);
    return 0;
}
