// SPDX-License-Identifier: Apache-2.0
// The load of the bench `exec`: COUNT times vfork, exec of PATH and its end. Prints wall and processor time
// in ns, the latter of itself and its children.

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long processor_ns(void) {
    long long sum = 0;
    int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (int i = 0; i < 2; i++) {
        struct rusage usage;
        getrusage(whose[i], &usage);
        sum += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL;
        sum += (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
    }
    return sum;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: exec COUNT PATH [ARG...]\n");
        return 2;
    }
    long long wall = wall_ns(), processor = processor_ns();
    for (int i = atoi(arguments[1]); i > 0; i--) {
        pid_t child = vfork();
        if (child == 0) {
            execv(arguments[2], arguments + 2);
            _exit(127);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "exec: a child failed\n");
            return 1;
        }
    }
    printf("{\"wallNs\":%lld,\"processorNs\":%lld}\n", wall_ns() - wall, processor_ns() - processor);
    return 0;
}
