// SPDX-License-Identifier: Apache-2.0
// Makes, replaces and ends processes in exactly the ways that the process sensor's tests ask for. Static, so
// that it runs in an empty root. Every way says on failure what failed, and ends with 99.
//
//   process exit CODE                     ends with CODE
//   process signal NUMBER                 sends itself a signal
//   process deleted PATH [ARG...]         removes PATH and executes it by its descriptor
//   process memfd PATH [ARG...]           executes a copy of PATH from a memory file named "weir-test"
//   process chroot FOLDER PATH [ARG...]   executes PATH with FOLDER as its root directory
//   process pidns PATH [ARG...]           executes PATH as the first process of a new pid namespace, and
//   waits for it process thread-exec PATH [ARG...]     a second thread executes PATH while others run process
//   thread-exit CODE              one of eight threads calls exit_group process thread-race THREADS ROUNDS
//   ROUNDS processes, whose threads all end by themselves at once process leader-first CODE             the
//   leader ends first, then the last thread with CODE process long-name BYTES [ARG...]      executes itself
//   with an argv[0] of so many bytes, which ends with 0 process storm COUNT PATH              COUNT times
//   vfork and exec of PATH process uid UID GID PATH [ARG...]     executes PATH as another user process hold
//   says "ready" and waits for the end of its input

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "process: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static int number(const char *text) {
    return atoi(text);
}

// Waits for a child and ends as it did not fail; its own end is the sensor's to tell.
static void wait_for(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid");
}

static void execute(char **arguments) {
    execv(arguments[0], arguments);
    fail(arguments[0]);
}

static void run_deleted(char **arguments) {
    int file = open(arguments[0], O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail("open");
    if (unlink(arguments[0]) < 0)
        fail("unlink");
    fexecve(file, arguments, environ);
    fail("fexecve");
}

static void run_memfd(char **arguments) {
    int from = open(arguments[0], O_RDONLY | O_CLOEXEC);
    int file = memfd_create("weir-test", MFD_CLOEXEC);
    struct stat stat;
    if (from < 0 || file < 0 || fstat(from, &stat) < 0)
        fail("memfd");
    for (off_t done = 0; done < stat.st_size;) {
        ssize_t sent = sendfile(file, from, NULL, stat.st_size - done);
        if (sent <= 0)
            fail("sendfile");
        done += sent;
    }
    fexecve(file, arguments, environ);
    fail("fexecve");
}

static void run_pid_namespace(char **arguments) {
    if (unshare(CLONE_NEWPID) < 0)
        fail("unshare");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0)
        execute(arguments);
    wait_for(child);
    _exit(0);
}

static void *idle(void *unused) {
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

static void *execute_in_thread(void *arguments) {
    execute(arguments);
    return NULL;
}

static void *exit_in_thread(void *code) {
    syscall(SYS_exit_group, (int)(long)code);
    return NULL;
}

static void start(void *(*routine)(void *), void *argument) {
    pthread_t thread;
    errno = pthread_create(&thread, NULL, routine, argument);
    if (errno)
        fail("pthread_create");
}

static atomic_int at_the_line;
static int racers;

// Far enough apart that reading one does not bring in the next.
#define RACE_PAGE_DISTANCE (64 * 4096)

// Before 6.16 the kernel tells of a thread's end after it has cleared its id in memory. That memory is a page
// of a file which has to be read from disk, so that a thread waits there while the others end: all have ended
// when the first is told of.
static void *race_in_thread(void *page) {
    syscall(SYS_set_tid_address, page);
    // All leave at once.
    atomic_fetch_add(&at_the_line, 1);
    while (atomic_load(&at_the_line) < racers)
        sched_yield();
    syscall(SYS_exit, 0);
    return NULL;
}

static void run_thread_race(int threads, int rounds, const char *path) {
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t bytes = (size_t)threads * RACE_PAGE_DISTANCE;
    static char page[4096];
    for (int i = 0; i < threads; i++)
        if (pwrite(file, page, sizeof(page), (off_t)i * RACE_PAGE_DISTANCE) != sizeof(page))
            fail(path);
    if (fsync(file) < 0)
        fail("fsync");
    racers = threads;
    for (int round = 0; round < rounds; round++) {
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0) {
            char *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
            if (pages == MAP_FAILED || madvise(pages, bytes, MADV_RANDOM) < 0)
                fail("mmap");
            for (int i = 1; i < threads; i++)
                start(race_in_thread, pages + (size_t)i * RACE_PAGE_DISTANCE);
            race_in_thread(pages);
        }
        wait_for(child);
    }
}

static void ask(void) {
    syscall(SYS_readahead, -1, 0x57454953, 0);
}

// Says "ready", and asks at the end of its input.
static void ask_later(void) {
    char byte;
    if (write(1, "ready\n", 6) != 6)
        fail("write");
    while (read(0, &byte, 1) > 0)
        ;
    ask();
}

// Ends with a code, or where that is -1 asks first, where it is -2 later, and ends with 0.
static void *leave_after_leader(void *code) {
    char path[64], state = 0;
    // The leader is a zombie ("Z") once it has ended.
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
    do {
        char text[256] = "";
        int file = open(path, O_RDONLY);
        if (file < 0)
            fail(path);
        ssize_t length = read(file, text, sizeof(text) - 1);
        close(file);
        char *close_bracket = length > 0 ? strrchr(text, ')') : NULL;
        state = close_bracket ? close_bracket[2] : 0;
        sched_yield();
    } while (state != 'Z');
    if ((long)code == -1) {
        ask();
        code = NULL;
    } else if ((long)code == -2) {
        ask_later();
        code = NULL;
    }
    syscall(SYS_exit, (int)(long)code);
    return NULL;
}

static void run_long_name(int bytes, char **rest) {
    char *name = malloc(bytes + 1);
    if (!name)
        fail("malloc");
    memset(name, 'n', bytes);
    name[bytes] = 0;
    char *arguments[64] = {name, "exit", "0"};
    int count = 3;
    while (*rest && count < 63)
        arguments[count++] = *rest++;
    execv("/proc/self/exe", arguments);
    fail("execv");
}

static void give_capability(const char *path, int capability) {
    struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};
    data.data[capability / 32].permitted = 1u << capability % 32;
    if (setxattr(path, "security.capability", &data, sizeof(data), 0) < 0)
        fail("setxattr");
}

static void run_deep(int folders, char **arguments) {
    char name[251];
    memset(name, 'd', 250);
    name[250] = 0;
    for (int i = 0; i < folders; i++)
        if (mkdir(name, 0755) < 0 || chdir(name) < 0)
            fail("chdir");
    execute(arguments);
}

static void run_storm(int count, char **arguments) {
    for (volatile int i = 0; i < count; i++) {
        pid_t child = vfork();
        if (child < 0)
            fail("vfork");
        if (child == 0) {
            execv(arguments[0], arguments);
            _exit(98);
        }
        wait_for(child);
    }
}

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    char **rest = arguments + 2;
    int given = count - 2;
    if (!strcmp(way, "exit") && given >= 1) {
        _exit(number(rest[0]));
    } else if (!strcmp(way, "signal") && given == 1) {
        kill(getpid(), number(rest[0]));
        pause();
    } else if (!strcmp(way, "deleted") && given >= 1) {
        run_deleted(rest);
    } else if (!strcmp(way, "memfd") && given >= 1) {
        run_memfd(rest);
    } else if (!strcmp(way, "chroot") && given >= 2) {
        if (chroot(rest[0]) < 0 || chdir("/") < 0)
            fail("chroot");
        execute(rest + 1);
    } else if (!strcmp(way, "pidns") && given >= 1) {
        run_pid_namespace(rest);
    } else if (!strcmp(way, "thread-exec") && given >= 1) {
        for (int i = 0; i < 3; i++)
            start(idle, NULL);
        start(execute_in_thread, rest);
        idle(NULL);
    } else if (!strcmp(way, "thread-exit") && given == 1) {
        for (int i = 0; i < 6; i++)
            start(idle, NULL);
        start(exit_in_thread, (void *)(long)number(rest[0]));
        idle(NULL);
    } else if (!strcmp(way, "thread-race") && given == 3) {
        run_thread_race(number(rest[0]), number(rest[1]), rest[2]);
    } else if (!strcmp(way, "leader-first") && given == 1) {
        start(leave_after_leader, (void *)(long)number(rest[0]));
        syscall(SYS_exit, 7);
    } else if (!strcmp(way, "long-name") && given >= 1) {
        run_long_name(number(rest[0]), rest + 1);
    } else if (!strcmp(way, "storm") && given >= 2) {
        run_storm(number(rest[0]), rest + 1);
    } else if (!strcmp(way, "deep") && given >= 2) {
        run_deep(number(rest[0]), rest + 1);
    } else if (!strcmp(way, "uid") && given >= 3) {
        if (setgroups(0, NULL) < 0 || setresgid(number(rest[1]), number(rest[1]), number(rest[1])) < 0 ||
            setresuid(number(rest[0]), number(rest[0]), number(rest[0])) < 0)
            fail("setresuid");
        execute(rest + 2);
    } else if (!strcmp(way, "no-new-privileges") && given >= 1) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            fail("prctl");
        execute(rest);
    } else if (!strcmp(way, "capability") && given == 2) {
        give_capability(rest[0], number(rest[1]));
    } else if (!strcmp(way, "ask") && given == 0) {
        ask();
    } else if (!strcmp(way, "ask-thread") && given == 0) {
        start(leave_after_leader, (void *)-1L);
        syscall(SYS_exit, 0);
    } else if (!strcmp(way, "ask-child") && given == 1) {
        char moved[4096];
        snprintf(moved, sizeof(moved), "%s-moved", rest[0]);
        if (rename(rest[0], moved) < 0)
            fail("rename");
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0)
            ask();
        else
            wait_for(child);
    } else if (!strcmp(way, "ask-later") && given == 0) {
        ask_later();
    } else if (!strcmp(way, "ask-thread-later") && given == 0) {
        start(leave_after_leader, (void *)-2L);
        syscall(SYS_exit, 0);
    } else {
        fprintf(stderr, "process: no such way: %s\n", way);
        return 99;
    }
    return 0;
}
