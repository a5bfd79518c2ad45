// SPDX-License-Identifier: Apache-2.0
// Opens files of every kind. For each it prints what it is and what /proc/self/fd says of it, in hexadecimal,
// and then makes the call by which bpf/test/paths.bpf.c is asked for its own text. Works in a mount namespace
// of its own.
//
//   paths FOLDER        FOLDER is an empty folder for its files

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MAGIC 0x57454952
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

static int descriptors;

static void fail(const char *what) {
    fprintf(stderr, "paths: %s: %s\n", what, strerror(errno));
    exit(99);
}

static int must(int result, const char *what) {
    if (result < 0)
        fail(what);
    return result;
}

static void tell(const char *what, int descriptor) {
    static char text[8192];
    char number[16];
    if (descriptor < 0)
        fail(what);
    snprintf(number, sizeof(number), "%d", descriptor);
    ssize_t length = readlinkat(descriptors, number, text, sizeof(text));
    printf("%s\t", what);
    if (length < 0)
        printf("errno %d", errno);
    for (ssize_t i = 0; i < length; i++)
        printf("%02x", (unsigned char)text[i]);
    printf("\n");
    syscall(SYS_readahead, descriptor, MAGIC, 0);
}

static int make(const char *name) {
    return open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
}

// Descends `count` folders of 200 bytes each; the working directory is then the last.
static void descend(int count) {
    char name[201];
    memset(name, 'd', 200);
    name[200] = 0;
    for (int i = 0; i < count; i++)
        if (mkdir(name, 0700) < 0 || chdir(name) < 0)
            fail("chdir");
}

static void tell_trees(void) {
    tell("a file", make("file"));
    tell("a folder", open(".", O_RDONLY));
    tell("the root", open("/", O_RDONLY));
    tell("bytes", make("\xff\n\x1b[31m\xc3\xa4"));
    tell("a name of 255 bytes",
         make("n23456789n123456789n123456789n123456789n123456789n123456789n123456789n123456789"
              "n123456789n123456789n123456789n123456789n123456789n123456789n123456789n12345678"
              "9n123456789n123456789n123456789n123456789n123456789n123456789n123456789n1234567"
              "89n1234567890123"));
    int gone = make("gone");
    must(unlink("gone"), "unlink");
    tell("a deleted file", gone);
    must(make("first"), "make");
    must(link("first", "second"), "link");
    int first = open("first", O_RDONLY);
    must(unlink("first"), "unlink");
    tell("a deleted name of a file with another", first);
    must(mkdir("folder", 0700), "mkdir");
    int folder = open("folder", O_RDONLY);
    must(rmdir("folder"), "rmdir");
    tell("a deleted folder", folder);
    tell("a file without a name", open(".", O_TMPFILE | O_RDWR, 0600));
    must(symlink("file", "link"), "symlink");
    tell("a link itself", open("link", O_PATH | O_NOFOLLOW));
    tell("a device", open("/dev/null", O_RDONLY));
    tell("proc", open("/proc/self/status", O_RDONLY));
    tell("below proc", open("/proc/sys/kernel/ostype", O_RDONLY));
}

static void tell_pseudo(void) {
    int pair[2];
    if (pipe(pair) < 0)
        fail("pipe");
    tell("a pipe", pair[0]);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        fail("socketpair");
    tell("a unix socket", pair[1]);
    tell("a tcp socket", socket(AF_INET, SOCK_STREAM, 0));
    tell("a memory file", memfd_create("some name", 0));
    tell("a memory file without a name", memfd_create("", 0));
    int huge = memfd_create("huge", MFD_HUGETLB);
    if (huge >= 0)
        tell("a huge memory file", huge);
    tell("eventfd", eventfd(0, 0));
    tell("epoll", epoll_create1(0));
    tell("inotify", inotify_init());
    tell("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
    sigset_t none;
    sigemptyset(&none);
    tell("signalfd", signalfd(-1, &none, 0));
    tell("a pidfd", syscall(SYS_pidfd_open, getpid(), 0));
    tell("a net namespace", open("/proc/self/ns/net", O_RDONLY));
    tell("a pid namespace", open("/proc/self/ns/pid_for_children", O_RDONLY));
    tell("a cgroup namespace", open("/proc/self/ns/cgroup", O_RDONLY));
}

static void tell_mounts(const char *folder) {
    char inner[4096];
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        fail("unshare");
    must(mkdir("outer", 0700), "mkdir");
    if (mount("none", "outer", "tmpfs", 0, NULL) < 0)
        fail("mount");
    must(mkdir("outer/inner", 0700), "mkdir");
    must(mkdir("outer/source", 0700), "mkdir");
    must(mkdir("outer/source/below", 0700), "mkdir");
    if (mount("outer/source", "outer/inner", NULL, MS_BIND, NULL) < 0 ||
        mount("none", "outer/inner/below", "tmpfs", 0, NULL) < 0)
        fail("bind");
    tell("a mount's root", open("outer", O_RDONLY));
    tell("a bind mount's root", open("outer/inner", O_RDONLY));
    tell("in mounts upon mounts", make("outer/inner/below/file"));
    tell("the source of a bind mount", make("outer/source/file"));
    int detached = syscall(SYS_open_tree, AT_FDCWD, "outer/source", OPEN_TREE_CLONE | O_CLOEXEC);
    tell("a detached mount", detached);
    tell("in a detached mount", openat(detached, "file", O_RDONLY));
    int lazy = open("outer/inner/below/file", O_RDONLY);
    must(umount2("outer/inner/below", MNT_DETACH), "umount2");
    tell("in a mount that was taken away", lazy);

    int outside = open("file", O_RDONLY);
    int inside = make("outer/inner/seen");
    int deep = open(".", O_RDONLY);
    snprintf(inner, sizeof(inner), "%s/outer/inner", folder);
    if (chroot(inner) < 0 || chdir("/") < 0)
        fail("chroot");
    tell("in a changed root", inside);
    tell("a changed root itself", open("/", O_RDONLY));
    tell("outside of a changed root", outside);
    tell("above a changed root", deep);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: paths FOLDER\n");
        return 99;
    }
    descriptors = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    if (descriptors < 0 || chdir(arguments[1]) < 0)
        fail(arguments[1]);
    tell_trees();
    tell_pseudo();
    descend(15);
    tell("a deep file", make("file"));
    descend(4);
    tell("a name within what can be read", make("n"));
    descend(2);
    tell("too deep", make("file"));
    if (chdir(arguments[1]) < 0)
        fail(arguments[1]);
    tell_mounts(arguments[1]);
    return 0;
}
