// SPDX-License-Identifier: Apache-2.0
// COUNT times: vfork, exec of PATH with ROUND and the number as arguments, and its end. Prints each number as
// its program has ended, so that whoever reads knows how far it is.

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    int count = atoi(argv[1]);
    for (int i = 0; i < count; i++) {
        char number[16];
        char *arguments[] = {argv[2], argv[3], number, NULL};
        char *environment[] = {NULL};
        int status = 0;

        snprintf(number, sizeof(number), "%d", i);
        pid_t child = vfork();
        if (child == 0) {
            execve(argv[2], arguments, environment);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 1;
        printf("%d\n", i);
        fflush(stdout);
    }
    return 0;
}
