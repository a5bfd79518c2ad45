/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the text of a path: a walk from a dentry up to the task's root, in any kind of program.
//
// The text is that of d_path() (fs/d_path.c), which /proc/PID/fd and bpf_d_path() show for that task: it ends
// at the task's root directory; an unlinked file has " (deleted)" at its end; a memory file is "/memfd:NAME
// (deleted)"; a pipe "pipe:[N]", a socket "socket:[N]", an anonymous inode "anon_inode:[x]", a namespace
// "net:[N]". Why not bpf_d_path(): it is refused in most of the functions that policies hook, and in tp_btf.
//
// The text is written backwards into scratch->path, so that it ends at WEIR_PATH_END, followed by NUL. What
// is longer than 4095 bytes has lost its front. The kernel's locks are not taken: a path that is renamed
// during the walk can come out mixed of old and new names, each of which was there. Memory is read by
// bpf_probe_read_kernel(), so any address may be given, and one that is stale makes the path unreadable, no
// more.

#ifndef WEIR_PATH_H
#define WEIR_PATH_H

#include "counters.h"
#include "emit.h"
#include "scratch.h"

enum path_flag {
    // The front is missing: more than 4095 bytes.
    PATH_TRUNCATED = 1,
    // Something could not be read: there is no text, and nothing can be decided on it. Counted.
    PATH_UNREADABLE = 2,
    // The kernel's own text has " (deleted)" at its end: the name was removed (the file may have others).
    PATH_DELETED = 4,
    // It is a memory file (memfd_create).
    PATH_MEMFD = 8,
    // It has no place in a tree: pipe, socket, anonymous inode, memory file, namespace.
    PATH_PSEUDO = 16,
    // It lies in a mount that hangs in no tree (open_tree(2) with OPEN_TREE_CLONE; runtimes execute
    // themselves so): the
    // text begins at that mount's root, and says nothing of where the file is.
    PATH_DETACHED = 32,
};

enum path_option {
    PATH_OPTION_NONE = 0,
    // Leave " (deleted)" out (PATH_DELETED is set all the same).
    PATH_OPTION_NO_SUFFIX = 1,
};

// A component has at least two bytes, so 2048 steps reach the front of any path that fits; the rest is for
// mounts upon mounts. Reaching the bound counts as truncated.
#define WEIR_PATH_STEPS_MAX 2304
#define WEIR_NAME_BYTES_MAX 255
_Static_assert(WEIR_PATH_BUFFER_BYTES >= WEIR_PATH_END + WEIR_NAME_BYTES_MAX,
               "a name read at a masked offset");

// The parent and the name of a dentry lie side by side in all kernels known: one read instead of three.
struct dentry_head {
    __u64 parent;
    __u32 hash;
    __u32 length;
    __u64 name;
};

static __always_inline long dentry_head_read(struct dentry_head *head, const struct dentry *dentry) {
    // Constants once the object is loaded: the verifier removes the branch that does not hold.
    if (bpf_core_field_offset(struct dentry, d_name) == bpf_core_field_offset(struct dentry, d_parent) + 8 &&
        bpf_core_field_offset(struct qstr, len) == offsetof(struct dentry_head, length) - 8 &&
        bpf_core_field_offset(struct qstr, name) == offsetof(struct dentry_head, name) - 8)
        return bpf_probe_read_kernel(head, sizeof(*head), &dentry->d_parent);
    long error = bpf_probe_read_kernel(&head->parent, sizeof(head->parent), &dentry->d_parent);
    error |= bpf_probe_read_kernel(&head->length, sizeof(head->length), &dentry->d_name.len);
    error |= bpf_probe_read_kernel(&head->name, sizeof(head->name), &dentry->d_name.name);
    return error;
}

// Puts `length` (up to 255) bytes of kernel memory before the text, and `separator` before them. Returns the
// new start, or 0 where there is no room or no reading: then a flag is set.
static __always_inline __u32 path_prepend(struct scratch *scratch, __u32 at, __u64 name, __u32 length,
                                          bool separator, __u32 *flags) {
    // Offset 0 stays unused, so that 0 can say "failed" and a text has at most 4095 bytes.
    if (length > WEIR_NAME_BYTES_MAX || at < length + 2) {
        *flags |= PATH_TRUNCATED;
        return 0;
    }
    at -= length;
    if (bpf_probe_read_kernel(&scratch->path[at & (WEIR_PATH_END - 1)], length & WEIR_NAME_BYTES_MAX,
                              (const void *)name) != 0) {
        count_failure(WEIR_FAILURE_PLACE_PATH_NAME);
        *flags |= PATH_UNREADABLE;
        return 0;
    }
    if (separator) {
        at -= 1;
        scratch->path[at & (WEIR_PATH_END - 1)] = '/';
    }
    return at;
}

static __always_inline struct scratch *path_scratch(__u32 slot) {
    return bpf_map_lookup_elem(&scratch_slots, &slot);
}

// Whether a mount that has no parent is outside of every mount namespace, or in an anonymous one.
static __always_inline bool mount_is_detached(const struct mount *mount) {
    __u64 namespace_at = 0;
    __u32 inum = 0;
    if (bpf_core_read(&namespace_at, sizeof(namespace_at), &mount->mnt_ns) != 0 || !namespace_at)
        return true;
    const struct mnt_namespace *namespace = (const void *)namespace_at;
    // The kernel's own mounts have an error number there (MNT_NS_INTERNAL): unreadable, and in no tree
    // either.
    if (bpf_core_read(&inum, sizeof(inum), &namespace->ns.inum) != 0)
        return true;
    return inum == 0 || inum == WEIR_MNT_NS_ANON_INO;
}

// One step of the walk, as in __prepend_path(): over a mount, or up one name. Returns 1 at the end. Its
// context is the slot and no more: of a walk on the stack the verifier would look at each step again that
// leaves something else there.
static long path_step(__u32 index, void *context) {
    struct scratch *scratch = path_scratch(*(__u32 *)context);

    (void)index;
    if (!scratch)
        return 1;
    struct path_walk *walk = &scratch->walk;
    const struct mount *mount = (const void *)walk->mount;
    const struct dentry *dentry = (const void *)walk->dentry;

    if (walk->dentry == walk->root_dentry &&
        walk->mount + bpf_core_field_offset(struct mount, mnt) == walk->root_vfsmount) {
        walk->done = 1;
        return 1;
    }
    if (walk->mount && walk->dentry == walk->mount_root) {
        __u64 parent = 0, mountpoint = 0, root = 0;
        long error = bpf_probe_read_kernel(&parent, sizeof(parent), &mount->mnt_parent);
        if (!error && parent == walk->mount) { // the root of the namespace, or a detached mount
            if (mount_is_detached(mount))
                walk->flags |= PATH_DETACHED;
            walk->done = 1;
            return 1;
        }
        error |= bpf_probe_read_kernel(&mountpoint, sizeof(mountpoint), &mount->mnt_mountpoint);
        const struct mount *parent_mount = (const void *)parent;
        error |= bpf_probe_read_kernel(&root, sizeof(root), &parent_mount->mnt.mnt_root);
        if (error) {
            count_failure(WEIR_FAILURE_PLACE_PATH_MOUNT);
            walk->flags |= PATH_UNREADABLE;
            return 1;
        }
        walk->mount = parent;
        walk->dentry = mountpoint;
        walk->mount_root = root;
        return 0;
    }

    struct dentry_head head = {};
    if (dentry_head_read(&head, dentry) != 0) {
        count_failure(WEIR_FAILURE_PLACE_PATH_DENTRY);
        walk->flags |= PATH_UNREADABLE;
        return 1;
    }
    if (head.parent == walk->dentry) { // the root of the file system: of a walk without mounts, or escaped
        walk->done = 1;
        return 1;
    }
    __u32 at = path_prepend(scratch, walk->at, head.name, head.length, true, &walk->flags);
    if (at == 0)
        return 1;
    walk->at = at;
    walk->dentry = head.parent;
    return 0;
}

static __always_inline bool dentry_is_unhashed(const struct dentry *dentry) {
    return BPF_CORE_READ(dentry, d_hash.pprev) == NULL;
}

// The last eight bytes, or as many as there are, of the first `length` of a word of ours: as they lie in
// memory where that ends. A constant.
static __always_inline __u64 path_word(const char *word, __u32 length) {
    __u64 bytes = 0;

#pragma unroll
    for (__u32 i = 1; i <= 8; i++)
        bytes = bytes << 8 | (i <= length ? (__u8)word[length - i] : 0);
    return bytes;
}

// Puts one of our own words before the text: eight bytes at once, of which those that are too many are
// overwritten by what comes before. There is room.
static __always_inline __u32 path_prepend_word(struct scratch *scratch, __u32 at, const char *word,
                                               __u32 length) {
#pragma unroll
    for (__u32 end = length; end > 0; end = end > 8 ? end - 8 : 0) {
        __u64 *to = (void *)&scratch->path[(at - length + end - 8) & (WEIR_PATH_END - 1)];

        // Else clang, which sees that it is not aligned, stores byte by byte.
        barrier_var(to);
        *to = path_word(word, end);
    }
    return at - length;
}

// Puts a number before the text, in decimal.
static __always_inline __u32 path_prepend_number(struct scratch *scratch, __u32 at, __u64 number) {
    volatile __u32 *start = (void *)scratch->key;

    // 20 digits at most (2^64).
#pragma clang loop unroll(disable)
    for (int i = 0; i < 20; i++) {
        at -= 1;
        scratch->path[at & (WEIR_PATH_END - 1)] = '0' + number % 10;
        number /= 10;
        if (number == 0)
            break;
    }
    // Through memory, so that the verifier looks at what comes after it once, and not for each of its ends.
    *start = at;
    return *start;
}

static __always_inline bool path_is_memfd(const struct scratch *scratch, __u32 at) {
    // Seven bytes; the first is the lowest of a word.
    __u64 bytes = *(const __u64 *)&scratch->path[at & (WEIR_PATH_END - 1)] << 8;

    return bytes == path_word("/memfd:", 7);
}

// The text of what has no place in a tree, as its d_dname() makes it. Told apart by the magic number of the
// file system: the functions themselves are static, and their addresses would have to come from
// /proc/kallsyms.
static __always_inline void path_read_pseudo(struct scratch *scratch, const struct dentry *dentry,
                                             __u32 options, struct path_text *text) {
    const struct inode *inode = BPF_CORE_READ(dentry, d_inode);
    unsigned long magic = BPF_CORE_READ(dentry, d_sb, s_magic);
    __u32 at = WEIR_PATH_END;
    text->flags |= PATH_PSEUDO;

    if (magic == WEIR_PIPEFS_MAGIC || magic == WEIR_SOCKFS_MAGIC || magic == WEIR_NSFS_MAGIC) {
        at = path_prepend_word(scratch, at, "]", 1);
        at = path_prepend_number(scratch, at, BPF_CORE_READ(inode, i_ino));
        at = path_prepend_word(scratch, at, ":[", 2);
        if (magic == WEIR_PIPEFS_MAGIC) {
            at = path_prepend_word(scratch, at, "pipe", 4);
        } else if (magic == WEIR_SOCKFS_MAGIC) {
            at = path_prepend_word(scratch, at, "socket", 6);
        } else {
            const struct ns_common *ns = BPF_CORE_READ(inode, i_private);
            const char *name = BPF_CORE_READ(ns, ops, name);
            // The longest is "cgroup"; a terminated string can only be read forwards.
            long length = bpf_probe_read_kernel_str(scratch->key, 32, name);
            if (length <= 1) {
                count_failure(WEIR_FAILURE_PLACE_PATH_NAME);
                text->flags |= PATH_UNREADABLE;
            } else {
                __u32 start = path_prepend(scratch, at, (__u64)scratch->key, length - 1, false, &text->flags);
                at = start ? start : at;
            }
        }
    } else if (magic == WEIR_PIDFS_MAGIC) {
        at = path_prepend_word(scratch, at, "anon_inode:[pidfd]", 18);
    } else {
        // anon_inodefs: "anon_inode:" and the name. All else is simple_dname(): "/NAME (deleted)".
        bool anonymous = magic == WEIR_ANON_INODE_FS_MAGIC;
        struct dentry_head head = {};
        if (!anonymous) {
            text->flags |= PATH_DELETED;
            if (!(options & PATH_OPTION_NO_SUFFIX))
                at = path_prepend_word(scratch, at, " (deleted)", 10);
        }
        if (dentry_head_read(&head, dentry) != 0) {
            count_failure(WEIR_FAILURE_PLACE_PATH_DENTRY);
            text->flags |= PATH_UNREADABLE;
        } else {
            __u32 start = path_prepend(scratch, at, head.name, head.length, !anonymous, &text->flags);
            at = start ? start : at;
        }
        if (anonymous)
            at = path_prepend_word(scratch, at, "anon_inode:", 11);
        else if (path_is_memfd(scratch, at))
            text->flags |= PATH_MEMFD;
    }
    text->at = at;
}

/**
 * The work of path_read(), for the verifier a function of its own: it is looked at once and not once for each
 * path that a program reads. Inlined, two calls made the exec program take 1.2 s to load (6.18). Hence
 * addresses as numbers, and the slot instead of its memory. Returns 0.
 */
__noinline int path_read_at(__u32 slot, __u64 vfsmount_at, __u64 dentry_at, __u32 options,
                            struct path_text *text) {
    if (!text) // the verifier wants it asked
        return 0;
    const struct vfsmount *vfsmount = (const void *)vfsmount_at;
    const struct dentry *dentry = (const void *)dentry_at;
    struct scratch *scratch = path_scratch(slot);
    text->at = WEIR_PATH_END;
    text->length = 0;
    text->flags = 0;
    if (!scratch) // no such slot
        return 0;
    *(__u64 *)&scratch->path[WEIR_PATH_END] = 0;

    struct path_walk *walk = &scratch->walk;
    __builtin_memset(walk, 0, sizeof(*walk));
    walk->dentry = dentry_at;
    walk->at = WEIR_PATH_END;
    __u64 parent = 0;
    if (bpf_core_read(&parent, sizeof(parent), &dentry->d_parent) != 0 || !parent) { // no dentry has none
        count_failure(WEIR_FAILURE_PLACE_PATH_DENTRY);
        text->flags = PATH_UNREADABLE;
        return 0;
    }
    if (vfsmount) {
        // A kernel thread has a root too. A task that is past exit_fs() has none: the walk then ends at the
        // root of its mount namespace.
#ifdef WEIR_PATHS_OF_OTHERS
        const struct task_struct *task = (const void *)scratch->viewer;
        walk->root_dentry = (__u64)BPF_CORE_READ(task, fs, root.dentry);
        walk->root_vfsmount = (__u64)BPF_CORE_READ(task, fs, root.mnt);
#else
        struct task_struct *task = bpf_get_current_task_btf();
        struct fs_struct *fs = task->fs;
        if (fs) {
            walk->root_dentry = (__u64)fs->root.dentry;
            walk->root_vfsmount = (__u64)fs->root.mnt;
        }
#endif
        walk->mount = vfsmount_at - bpf_core_field_offset(struct mount, mnt);
        walk->mount_root = (__u64)BPF_CORE_READ(vfsmount, mnt_root);

        // d_path() asks for d_dname() alone; all dentries that have one are roots that are not their mount's,
        // which is known already, while the operations of an ordinary file would cost a read.
        const struct dentry_operations *operations = NULL;
        if (parent == dentry_at && dentry_at != walk->mount_root)
            operations = BPF_CORE_READ(dentry, d_op);
        if (operations && BPF_CORE_READ(operations, d_dname)) {
            path_read_pseudo(scratch, dentry, options, text);
            if (text->flags & PATH_UNREADABLE)
                text->at = WEIR_PATH_END;
            text->length = WEIR_PATH_END - text->at;
            if (text->flags & PATH_TRUNCATED)
                count(WEIR_KERNEL_COUNTER_TRUNCATED_PATH);
            return 0;
        }
    }

    if (parent != dentry_at && dentry_is_unhashed(dentry)) {
        text->flags |= PATH_DELETED;
        if (!(options & PATH_OPTION_NO_SUFFIX))
            walk->at = path_prepend_word(scratch, walk->at, " (deleted)", 10);
    }
    __u32 without_names = walk->at;
    // A bounded loop of this many steps is refused ("the sequence of 8193 jumps is too complex", 6.1
    // and 6.12).
    long steps = bpf_loop(WEIR_PATH_STEPS_MAX, path_step, &slot, 0);
    text->flags |= walk->flags;
    if (steps < 0) {
        count_failure(WEIR_FAILURE_PLACE_PATH_DENTRY);
        text->flags |= PATH_UNREADABLE;
    }
    if (text->flags & PATH_UNREADABLE)
        return 0;
    if (!walk->done) {
        text->flags |= PATH_TRUNCATED;
        count(WEIR_KERNEL_COUNTER_TRUNCATED_PATH);
    }
    __u32 at = walk->at;
    if (at == without_names)
        at = path_prepend_word(scratch, at, "/", 1);
    text->at = at;
    text->length = WEIR_PATH_END - at;
    return 0;
}

/**
 * Makes the text of the place (vfsmount, dentry) as the current task sees it, in the path buffer of the slot.
 * Without a vfsmount, the text is that within the file system (as dentry_path_raw()).
 *
 * Always sets *text; an unreadable path has length 0. Truncated paths are counted here, unreadable ones too.
 * The buffer holds the text until the next path is read into the same slot.
 */
static __always_inline void path_read(struct scratch *scratch, __u32 slot, const struct vfsmount *vfsmount,
                                      const struct dentry *dentry, __u32 options, struct path_text *text) {
    (void)scratch;
    // Memory that is handed to a function of its own must have been written before.
    text->at = WEIR_PATH_END;
    text->length = 0;
    text->flags = 0;
    path_read_at(slot, (__u64)vfsmount, (__u64)dentry, options, text);
}

// Makes the text of a struct path; see path_read().
static __always_inline void path_read_path(struct scratch *scratch, __u32 slot, const struct path *path,
                                           __u32 options, struct path_text *text) {
    path_read(scratch, slot, BPF_CORE_READ(path, mnt), BPF_CORE_READ(path, dentry), options, text);
}

// Makes the text of an open file; see path_read().
static __always_inline void path_read_file(struct scratch *scratch, __u32 slot, const struct file *file,
                                           __u32 options, struct path_text *text) {
    path_read(scratch, slot, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), options,
              text);
}

// Appends the text to the record (see record_append()), without its NUL.
static __always_inline __u64 record_append_path(struct scratch *scratch, __u64 end,
                                                const struct path_text *text, struct weir_span *span) {
    bool failed = false;
    __u64 new_end = record_append(scratch, end, scratch->path + (text->at & (2 * WEIR_PATH_END - 1)),
                                  text->length, span, &failed);
    if (failed)
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
    return new_end;
}

/**
 * Copies the first 256 bytes of the text, its NUL included where it is shorter, for a forward look-up. What
 * is behind the NUL is garbage: the key's length must say where it ends. Of a truncated text it says nothing
 * of worth.
 */
static __always_inline void path_copy_forward(const struct scratch *scratch, const struct path_text *text,
                                              __u8 to[WEIR_STATE_TEXT_BYTES]) {
    // At most WEIR_PATH_END: the buffer has 256 bytes behind it.
    __u32 at = text->at;
    if (at > WEIR_PATH_END)
        at = WEIR_PATH_END;
    bpf_probe_read_kernel(to, WEIR_STATE_TEXT_BYTES, scratch->path + at);
}

/**
 * Copies the last 256 bytes of the text, the last one first, for a reverse look-up. Behind the text's length
 * is garbage.
 *
 * The text ends on a multiple of eight: eight bytes at once are turned round by one instruction.
 */
static __always_inline void path_copy_reverse(const struct scratch *scratch, __u8 to[WEIR_STATE_TEXT_BYTES]) {
    const __u64 *words = (const __u64 *)(scratch->path + WEIR_PATH_END);
    __u64 *out = (__u64 *)to;
#pragma clang loop unroll(disable)
    for (int i = 0; i < WEIR_STATE_TEXT_BYTES / 8; i++)
        out[i] = __builtin_bswap64(words[-1 - i]);
}
_Static_assert(WEIR_PATH_END % 8 == 0 && offsetof(struct scratch, path) % 8 == 0,
               "path_copy_reverse reads words");

#endif
