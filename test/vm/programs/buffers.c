// SPDX-License-Identifier: Apache-2.0
// Reads and writes as its standard input says, one call a line, fields parted by spaces, and prints what each
// returned: the result, or the negative errno. Bytes are written in hexadecimal; "-" is none.
//
//   write FD BYTES      pwrite FD BYTES     writev FD BYTES BYTES ...
//   read FD COUNT       readv FD COUNT COUNT ...
//   fill FD COUNT       writes so many letters x
//   count FD COUNT ...  writes so many bytes, each 1 to 251 and again from 1; several by writev
//   wild FD COUNT       writes from an address that is not there
//   truncate PATH COUNT

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FIELDS_MAX = 16, LINE_MAX_BYTES = 8192, BUFFER_BYTES = 1 << 20 };

static unsigned char memory[BUFFER_BYTES];

static size_t unhex(unsigned char *to, const char *text) {
    size_t length = 0;

    if (strcmp(text, "-") == 0)
        return 0;
    for (; text[0] && text[1]; text += 2) {
        char digits[3] = {text[0], text[1], 0};

        to[length++] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return length;
}

static long perform(char **field, int count) {
    const char *name = field[0];
    int fd = atoi(field[1]);
    struct iovec pieces[FIELDS_MAX];
    size_t at = 0;

    memset(memory, 0, sizeof(memory));
    if (strcmp(name, "write") == 0)
        return syscall(SYS_write, fd, memory, unhex(memory, field[2]));
    if (strcmp(name, "pwrite") == 0)
        return syscall(SYS_pwrite64, fd, memory, unhex(memory, field[2]), 0);
    if (strcmp(name, "read") == 0)
        return syscall(SYS_read, fd, memory, strtoul(field[2], NULL, 0));
    if (strcmp(name, "fill") == 0) {
        memset(memory, 'x', sizeof(memory));
        return syscall(SYS_write, fd, memory, strtoul(field[2], NULL, 0));
    }
    if (strcmp(name, "count") == 0) {
        for (size_t i = 0; i < sizeof(memory); i++)
            memory[i] = i % 251 + 1;
        if (count == 3)
            return syscall(SYS_write, fd, memory, strtoul(field[2], NULL, 0));
        for (int i = 2; i < count; i++) {
            pieces[i - 2].iov_base = memory + at;
            pieces[i - 2].iov_len = strtoul(field[i], NULL, 0);
            at += pieces[i - 2].iov_len;
        }
        return syscall(SYS_writev, fd, pieces, count - 2);
    }
    if (strcmp(name, "wild") == 0)
        return syscall(SYS_write, fd, (void *)0x1000, strtoul(field[2], NULL, 0));
    if (strcmp(name, "truncate") == 0)
        return syscall(SYS_truncate, field[1], strtoul(field[2], NULL, 0));
    for (int i = 2; i < count; i++) {
        size_t length =
            strcmp(name, "writev") == 0 ? unhex(memory + at, field[i]) : strtoul(field[i], NULL, 0);

        pieces[i - 2].iov_base = memory + at;
        pieces[i - 2].iov_len = length;
        at += length + 1;
    }
    if (strcmp(name, "writev") == 0)
        return syscall(SYS_writev, fd, pieces, count - 2);
    if (strcmp(name, "readv") == 0)
        return syscall(SYS_readv, fd, pieces, count - 2);
    fprintf(stderr, "unknown call %s\n", name);
    exit(99);
}

int main(void) {
    static char line[LINE_MAX_BYTES];

    while (fgets(line, sizeof(line), stdin)) {
        char *field[FIELDS_MAX];
        int count = 0;

        line[strcspn(line, "\n")] = 0;
        for (char *next = strtok(line, " "); next && count < FIELDS_MAX; next = strtok(NULL, " "))
            field[count++] = next;
        if (count < 3)
            return 98;
        long result = perform(field, count);

        printf("%ld\n", result < 0 ? -(long)errno : result);
        fflush(stdout);
    }
    return 0;
}
