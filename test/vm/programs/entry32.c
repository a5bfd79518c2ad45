// SPDX-License-Identifier: Apache-2.0
// Makes one system call by the 32-bit entry, which 64-bit programs have as well (int 0x80), and prints what
// it returned: the number that the call has there, then its arguments, each a number, or a text after a
// double quote.

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ARGUMENTS_MAX = 4, TEXT_BYTES_MAX = 4096 };

int main(int argc, char **argv) {
    unsigned int argument[ARGUMENTS_MAX] = {0};
    // Where 32 bits can say it.
    char *texts = mmap(NULL, ARGUMENTS_MAX * TEXT_BYTES_MAX, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    int result;

    if (argc < 2 || argc > 2 + ARGUMENTS_MAX || texts == MAP_FAILED)
        return 98;
    for (int i = 0; i + 2 < argc; i++) {
        const char *text = argv[i + 2];

        if (*text == '"') {
            char *to = texts + i * TEXT_BYTES_MAX;

            strncpy(to, text + 1, TEXT_BYTES_MAX - 1);
            argument[i] = (unsigned int)(unsigned long)to;
        } else {
            argument[i] = (unsigned int)strtoll(text, NULL, 0);
        }
    }
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(atoi(argv[1])), "b"(argument[0]), "c"(argument[1]), "d"(argument[2]),
                       "S"(argument[3])
                     : "r8", "r9", "r10", "r11", "memory");
    printf("%d\n", result);
    return 0;
}
