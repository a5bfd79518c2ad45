// SPDX-License-Identifier: Apache-2.0
// Functions and markers to be hooked from outside. Each argument is one act:
//     add:A:B          prints the sum
//     six:N            calls a function of six arguments, from N on
//     say:TEXT         prints a text that lies on the heap; `mute` prints none
//     open:PATH        opens a file and gives its number to a function
//     twice:N          calls a function that calls itself N times
//     fill:N           has a function fill N bytes of its memory
//     tail:N           calls a function that returns a text, from its letter N on
//     jump:N           calls one that calls itself N times and then jumps out of all of them at once
//     bytes:TEXT       gives a text, its length and both as one struct iovec to a function
//     mark:A:B:TEXT    passes each kind of marker but `gated`
//     kept:N           keeps N in memory, passes a marker with that, and prints what is kept then
//     gated            passes a marker if anybody looks at its counter, and prints whether

#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define KEPT __attribute__((noinline, noclone, used))

KEPT long user_add(int a, long b) {
    __asm__ volatile("");
    return a + b;
}

KEPT long user_six(signed char a, unsigned short b, int c, long d, unsigned e, unsigned long f) {
    __asm__ volatile("");
    return a + b + c + d + (long)e + (long)f;
}

KEPT int user_say(const char *text) {
    __asm__ volatile("" ::: "memory");
    return text ? puts(text) : 0;
}

KEPT int user_file(int number) {
    __asm__ volatile("" ::: "memory");
    return number < 0 ? -1 : close(number);
}

KEPT int user_again(int left) {
    __asm__ volatile("" ::: "memory");
    int below = left > 1 ? user_again(left - 1) : 0;

    __asm__ volatile("" ::: "memory");
    return below + 1;
}

static jmp_buf way_out;

/* As user_again, but for its end. */
KEPT int user_jump(int left) {
    __asm__ volatile("" ::: "memory");
    if (left <= 0)
        longjmp(way_out, 1);
    // The bound is for the compiler, which knows no jump out of here.
    int below = left < 100 ? user_jump(left - 1) : 0;

    __asm__ volatile("" ::: "memory");
    return below + 1;
}

KEPT int user_fill(char *to, int bytes) {
    memcpy(to, "filled up", bytes);
    __asm__ volatile("" ::: "memory");
    return bytes;
}

KEPT const char *user_tail(int from) {
    __asm__ volatile("" ::: "memory");
    return "the tail tail tail" + from;
}

KEPT long user_bytes(const char *bytes, size_t size, const struct iovec *both) {
    __asm__ volatile("" ::: "memory");
    return bytes == both->iov_base ? (long)size : -1;
}

/* Where data lies, which is no function. */
int user_data = 1;

/* A marker as sys/sdt.h makes them: one instruction that does nothing, and a note that says where. */
#define MARK(name, counter, arguments, ...)                                                                  \
    __asm__ volatile("990: nop\n"                                                                            \
                     ".pushsection .note.stapsdt,\"?\",\"note\"\n"                                           \
                     ".balign 4\n"                                                                           \
                     ".4byte 992f-991f, 994f-993f, 3\n"                                                      \
                     "991: .asciz \"stapsdt\"\n"                                                             \
                     "992: .balign 4\n"                                                                      \
                     "993: .8byte 990b, _.stapsdt.base, " counter "\n"                                       \
                     ".asciz \"weir\", \"" name "\", \"" arguments "\"\n"                                    \
                     "994: .balign 4\n"                                                                      \
                     ".popsection\n"                                                                         \
                     ".ifndef _.stapsdt.base\n"                                                              \
                     ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                 \
                     ".weak _.stapsdt.base\n"                                                                \
                     ".hidden _.stapsdt.base\n"                                                              \
                     "_.stapsdt.base: .space 1\n"                                                            \
                     ".size _.stapsdt.base, 1\n"                                                             \
                     ".popsection\n"                                                                         \
                     ".endif\n" ::__VA_ARGS__)

/* Raised from outside while anybody looks. */
__attribute__((section(".probes"), used)) volatile unsigned short weir_gated_counter;

static KEPT void mark(int a, long b, const char *text) {
    volatile int narrow = a;
    volatile long wide = b;
    long table[4] = {100, 101, b, 103};
    long place = 2;

    MARK("registers", "0", "-4@%k[a] 8@%[b] 8@%[text]", [a] "r"(a), [b] "r"(b), [text] "r"(text));
    MARK("memory", "0", "-4@%[narrow] -8@%[wide] 1@%[narrow]", [narrow] "m"(narrow), [wide] "m"(wide));
    MARK("constant", "0", "-4@%[low] 4@%[high]", [low] "n"(-17), [high] "n"(42));
    MARK("table", "0", "8@(%[base],%[place],8) 8@8(%[base])", [base] "r"(table), [place] "r"(place),
         "m"(table));
    // One marker in two places, whose arguments lie in different ones.
    MARK("both", "0", "-4@%k[a]", [a] "r"(a));
    MARK("both", "0", "-4@%[narrow]", [narrow] "m"(narrow));
    MARK("odd", "0", "8f@%%xmm0 -4@%k[a]", [a] "r"(a));
}

static KEPT int keep(int n) {
    volatile int kept = n;

    MARK("kept", "0", "-4@%[kept] -4@%k[n] -4@%[fixed]", [kept] "m"(kept), [n] "r"(n), [fixed] "n"(3)
         : "memory");
    return kept;
}

static KEPT int gated(void) {
    if (!weir_gated_counter)
        return 0;
    MARK("gated", "weir_gated_counter", "4@$7", "r"(0));
    return 1;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 1; i < argc; i++) {
        char *act = strtok(argv[i], ":");
        char *first = strtok(NULL, ":");
        char *second = first ? strtok(NULL, ":") : NULL;
        char *third = second ? strtok(NULL, ":") : NULL;

        if (!act)
            return 2;
        if (strcmp(act, "add") == 0 && second) {
            printf("%ld\n", user_add(atoi(first), atol(second)));
        } else if (strcmp(act, "six") == 0 && first) {
            long n = atol(first);

            printf("%ld\n", user_six(n, n + 1, n + 2, n + 3, n + 4, n + 5));
        } else if (strcmp(act, "say") == 0 && first) {
            char *text = strdup(first);

            user_say(text);
            free(text);
        } else if (strcmp(act, "mute") == 0) {
            user_say(NULL);
        } else if (strcmp(act, "open") == 0 && first) {
            printf("%d\n", user_file(open(first, O_RDONLY)));
        } else if (strcmp(act, "twice") == 0 && first) {
            printf("%d\n", user_again(atoi(first)));
        } else if (strcmp(act, "fill") == 0 && first) {
            char filled[16] = {0};

            printf("%d\n", user_fill(filled, atoi(first)));
        } else if (strcmp(act, "tail") == 0 && first) {
            puts(user_tail(atoi(first)));
        } else if (strcmp(act, "jump") == 0 && first) {
            if (setjmp(way_out) == 0)
                user_jump(atoi(first));
        } else if (strcmp(act, "bytes") == 0 && first) {
            struct iovec both = {.iov_base = first, .iov_len = strlen(first)};

            printf("%ld\n", user_bytes(first, strlen(first), &both));
        } else if (strcmp(act, "mark") == 0 && third) {
            mark(atoi(first), atol(second), third);
        } else if (strcmp(act, "kept") == 0 && first) {
            printf("%d\n", keep(atoi(first)));
        } else if (strcmp(act, "gated") == 0) {
            puts(gated() ? "watched" : "alone");
        } else {
            return 2;
        }
    }
    return 0;
}
