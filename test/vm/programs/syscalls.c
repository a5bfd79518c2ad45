// SPDX-License-Identifier: Apache-2.0
// Makes the system calls that it reads from its standard input, one a line, fields parted by tabs: the number
// of the call and its arguments. Prints what each returned, one a line. An argument is
//
//   12, -100, 0x2    a number
//   "text            a string
//   $3               what the call of line 3 returned, from 0
//   &2, &2:0a00%3    buffer 2 of 8, 4096 bytes each; filled from its start with these bytes, or with where
//                    buffer 3 lies
//   *a,b             an array of strings, closed by NULL
//   <path            the bytes of a file
//
// All arguments are made ready before the first call. What a call creates as a child writes a file, named by
// the first argument of the program, and ends; it is waited for.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINES_MAX = 32, ARGUMENTS_MAX = 6, BUFFERS = 8, BUFFER_BYTES = 4096, STRINGS_MAX = 8 };

struct line {
    long number;
    long argument[ARGUMENTS_MAX];
    int result_of[ARGUMENTS_MAX]; // -1: the argument is as it stands
};

static unsigned char buffers[BUFFERS][BUFFER_BYTES];
static struct line lines[LINES_MAX];
static long results[LINES_MAX];

// Inline, and not by the C library's function: a child of vfork must not return from one.
static inline __attribute__((always_inline)) long call(const struct line *line, const long a[ARGUMENTS_MAX]) {
    long result;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(line->number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void fill(int number, const char *text) {
    unsigned char *to = buffers[number];

    while (*text) {
        if (*text == '%') {
            unsigned char *where = buffers[text[1] - '0'];

            memcpy(to, &where, sizeof(where));
            to += sizeof(where);
            text += 2;
        } else {
            char byte[3] = {text[0], text[1], 0};

            *to++ = (unsigned char)strtoul(byte, NULL, 16);
            text += 2;
        }
    }
}

static long strings(const char *text) {
    char **array = calloc(STRINGS_MAX, sizeof(char *));
    char *rest = strdup(text);

    for (int i = 0; rest && i < STRINGS_MAX - 1; i++)
        array[i] = strsep(&rest, ",");
    return (long)array;
}

static long contents(const char *path) {
    int file = open(path, O_RDONLY);
    struct stat status;

    if (file < 0 || fstat(file, &status) < 0)
        exit(98);
    char *bytes = malloc((size_t)status.st_size);

    if (read(file, bytes, (size_t)status.st_size) != status.st_size)
        exit(98);
    close(file);
    return (long)bytes;
}

static long parse(const char *text, int *result_of) {
    *result_of = -1;
    switch (text[0]) {
    case '"':
        return (long)strdup(text + 1);
    case '$':
        *result_of = atoi(text + 1);
        return 0;
    case '&':
        if (text[2] == ':')
            fill(text[1] - '0', text + 3);
        return (long)buffers[text[1] - '0'];
    case '*':
        return strings(text + 1);
    case '<':
        return contents(text + 1);
    default:
        return (long)strtoull(text, NULL, 0);
    }
}

static int read_lines(void) {
    static char text[65536];
    int count = 0;

    while (count < LINES_MAX && fgets(text, sizeof(text), stdin)) {
        struct line *line = &lines[count++];
        char *rest = text;

        text[strcspn(text, "\n")] = 0;
        line->number = atol(strsep(&rest, "\t"));
        for (int i = 0; i < ARGUMENTS_MAX; i++) {
            char *field = strsep(&rest, "\t");

            line->argument[i] = parse(field ? field : "0", &line->result_of[i]);
        }
    }
    return count;
}

int main(int argc, char **argv) {
    const char *trace = argc > 1 ? argv[1] : "";
    int count = read_lines();

    for (int n = 0; n < count; n++) {
        const struct line *line = &lines[n];
        long a[ARGUMENTS_MAX];

        for (int i = 0; i < ARGUMENTS_MAX; i++)
            a[i] = line->result_of[i] < 0 ? line->argument[i] : results[line->result_of[i]];
        long result = call(line, a);
        int creates = line->number == SYS_fork || line->number == SYS_vfork || line->number == SYS_clone ||
                      line->number == SYS_clone3;

        if (creates && result == 0) {
            syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_CREAT, 0600);
            _exit(0);
        }
        if (creates && result > 0)
            waitpid((pid_t)result, NULL, __WALL);
        results[n] = result;
        char text[32];
        int length = snprintf(text, sizeof(text), "%ld\n", result);

        if (write(1, text, (size_t)length) != length)
            return 97;
    }
    return 0;
}
