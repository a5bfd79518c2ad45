/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the reading of a hook's arguments: each once a run, numbers into a struct argument, texts into a slot
// of their own. What cannot be read, or only in part, is said in the argument's flags and counted.

#ifndef WEIR_ARGUMENTS_H
#define WEIR_ARGUMENTS_H

#include "buffer.h"
#include "hook_kernel.h"
#include "hook_maps.h"
#include "counters.h"
#include "credentials.h"
#include "field.h"
#include "objects.h"
#include "path.h"
#include "socket.h"

#define HOOK_READS_PATHS                                                                                     \
    (HOOK_READS(WEIR_ARGUMENT_TYPE_FD) || HOOK_READS(WEIR_ARGUMENT_TYPE_FILE) ||                             \
     HOOK_READS(WEIR_ARGUMENT_TYPE_KIOCB) || HOOK_READS(WEIR_ARGUMENT_TYPE_LINUX_BINPRM) ||                  \
     HOOK_READS(WEIR_ARGUMENT_TYPE_PATH) || HOOK_READS(WEIR_ARGUMENT_TYPE_DENTRY))

/* Whether an argument is a path that is put together by a walk: from its end to its front. */
static __always_inline bool is_walked(__u8 type) {
    return (type >= WEIR_ARGUMENT_TYPE_FD && type <= WEIR_ARGUMENT_TYPE_KIOCB) ||
           type == WEIR_ARGUMENT_TYPE_LINUX_BINPRM;
}

/* What of a text is known, for look-ups from either end: a path that is too long has lost its front, any
 * other text its end. */
static __always_inline bool front_known(const struct weir_argument *argument) {
    if (argument->flags & WEIR_ARGUMENT_FLAG_UNREADABLE)
        return false;
    return !is_walked(argument->type) || !(argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED);
}

/* Of a text whose front is not known: whether it is longer than any value. What did not fit is one name at
 * most. */
static __always_inline bool is_longer_than_values(const struct weir_argument *argument) {
    return !(argument->flags & WEIR_ARGUMENT_FLAG_UNREADABLE) &&
           argument->payload.length >= WEIR_LIMIT_PATH_BYTES - 1 - WEIR_NAME_BYTES_MAX;
}

static __always_inline bool end_known(const struct weir_argument *argument) {
    if (argument->flags & WEIR_ARGUMENT_FLAG_UNREADABLE)
        return false;
    return is_walked(argument->type) || !(argument->flags & WEIR_ARGUMENT_FLAG_TRUNCATED);
}

static __always_inline void set_unreadable(struct weir_argument *argument) {
    argument->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
    count_failure(WEIR_FAILURE_PLACE_HOOK_ARGUMENT);
}

/*
 * A system call's strings are in user memory, whatever it claims; those of other functions lie where their
 * address says (the upper half of all addresses is the kernel's). Returns the bytes with the NUL. Of an empty
 * text in user memory kernels before 6.13 say 0.
 */
static __always_inline long read_text(void *to, __u32 size, __u64 address, bool is_user) {
    long length = is_user || !(address >> 63) ? bpf_probe_read_user_str(to, size, (void *)address)
                                              : bpf_probe_read_kernel_str(to, size, (void *)address);

    return length == 0 ? 1 : length;
}

/* Reads a string into an argument and its text. Not static: see read_path. */
__noinline int read_string(__u32 slot, __u32 number, __u64 address, __u32 is_user) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, number);

    if (!work || !text || number >= HOOK_ARGUMENTS_MAX)
        return 0;
    struct weir_argument *argument = &work->arguments[number];
    long length = read_text(text->bytes, WEIR_LIMIT_PATH_BYTES, address, is_user);

    if (length <= 0 || length > WEIR_LIMIT_PATH_BYTES) {
        argument->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
        count_failure(WEIR_FAILURE_PLACE_HOOK_STRING);
        return 0;
    }
    argument->payload.length = length - 1;
    argument->original_length = length - 1;
    if (length == WEIR_LIMIT_PATH_BYTES) {
        // It fills the slot: cut, unless it ends just there.
        char next[2] = {};

        if (read_text(next, sizeof(next), address + WEIR_LIMIT_PATH_BYTES - 1, is_user) != 1) {
            argument->flags |= WEIR_ARGUMENT_FLAG_TRUNCATED;
            count(WEIR_KERNEL_COUNTER_TRUNCATED_ARGUMENT);
        }
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_FIELDS))
        cut_text(slot, number);
    return 0;
}

/*
 * Reads a path into an argument and its text, with no " (deleted)" behind it: a value that names the file
 * shall still match it. Of a dentry alone it is the path within its file system. Not static, so that the
 * verifier looks at it once, whatever the hook.
 */
__noinline int read_path(__u32 slot, __u32 number, __u64 address, __u32 is_dentry) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    struct text_slot *text = text_of(slot, number);
    struct path_text found;

    if (!work || !scratch || !text || number >= HOOK_ARGUMENTS_MAX)
        return 0;
    struct weir_argument *argument = &work->arguments[number];

    work->place.mount = 0;
    work->place.dentry = address;
    if (!is_dentry) {
        const struct path *path = (const struct path *)address;

        if (bpf_core_read(&work->place.mount, sizeof(__u64), &path->mnt) ||
            bpf_core_read(&work->place.dentry, sizeof(__u64), &path->dentry)) {
            set_unreadable(argument);
            return 0;
        }
    }
    const struct dentry *dentry = (const struct dentry *)work->place.dentry;
    const struct inode *inode = BPF_CORE_READ(dentry, d_inode);

    path_read(scratch, slot, (const struct vfsmount *)work->place.mount, dentry, PATH_OPTION_NO_SUFFIX,
              &found);
    argument->value = BPF_CORE_READ(inode, i_mode);
    if (found.flags & PATH_UNREADABLE) {
        argument->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE; // counted by the walk
        return 0;
    }
    if (found.flags & PATH_TRUNCATED)
        argument->flags |= WEIR_ARGUMENT_FLAG_TRUNCATED;
    // A name that is not taken yet has no inode.
    if (inode && ((found.flags & PATH_DELETED) || BPF_CORE_READ(inode, i_nlink) == 0))
        argument->flags |= WEIR_ARGUMENT_FLAG_UNLINKED;

    __u32 length = found.length & (WEIR_LIMIT_PATH_BYTES - 1);
    // clang 14 would drop the mask, as it knows the walk's bound; the verifier does not know it.
    barrier_var(length);
    length &= WEIR_LIMIT_PATH_BYTES - 1;
    // The NUL behind the text is copied too.
    if (bpf_probe_read_kernel(text->bytes, length + 1,
                              scratch->path + (found.at & (2 * WEIR_PATH_END - 1)))) {
        set_unreadable(argument);
        return 0;
    }
    argument->payload.length = length;
    argument->original_length = length;
    return 0;
}

/* The open file of a descriptor, NULL where it is none: that is known, not undecided. */
static __always_inline struct file *file_of_descriptor(__u32 number) {
    struct task_struct___files *task = (void *)bpf_get_current_task();
    struct fdtable *table = BPF_CORE_READ(task, files, fdt);
    struct file **files = BPF_CORE_READ(table, fd);
    struct file *file = NULL;

    if (number < BPF_CORE_READ(table, max_fds))
        bpf_probe_read_kernel(&file, sizeof(file), files + number);
    return file;
}

/* The file that an argument of one of the types with a file stands for. */
static __always_inline struct file *file_of(__u8 type, __u64 raw) {
    switch (type) {
    case WEIR_ARGUMENT_TYPE_FD:
        return file_of_descriptor(raw);
    case WEIR_ARGUMENT_TYPE_KIOCB:
        return BPF_CORE_READ((struct kiocb *)raw, ki_filp);
    case WEIR_ARGUMENT_TYPE_LINUX_BINPRM:
        return BPF_CORE_READ((struct linux_binprm *)raw, file);
    default:
        return (struct file *)raw;
    }
}

/* Whether the current system call came by the 32-bit entry (thread_info.status, TS_COMPAT). */
static __always_inline bool is_compat_call(void) {
    struct task_struct___thread_info *task = (void *)bpf_get_current_task_btf();

    return task->thread_info.status & WEIR_TS_COMPAT;
}

/* Reads one argument. `raw` is what the register of the parameter held, `size` that of the next one
 * with ARGUMENT_SIZED. */
static __always_inline void read_argument(struct weir_argument *argument, __u32 slot, __u32 number, __u8 type,
                                          __u8 flags, bool is_user, __u64 raw, __u64 size) {
    switch (type) {
    case WEIR_ARGUMENT_TYPE_INT8:
        argument->value = (__s64)(__s8)raw;
        break;
    case WEIR_ARGUMENT_TYPE_UINT8:
        argument->value = (__u8)raw;
        break;
    case WEIR_ARGUMENT_TYPE_INT16:
        argument->value = (__s64)(__s16)raw;
        break;
    case WEIR_ARGUMENT_TYPE_UINT16:
        argument->value = (__u16)raw;
        break;
    case WEIR_ARGUMENT_TYPE_INT32:
    case WEIR_ARGUMENT_TYPE_CAPABILITY:
    case WEIR_ARGUMENT_TYPE_BPF_CMD:
        argument->value = (__s64)(__s32)raw;
        break;
    case WEIR_ARGUMENT_TYPE_UINT32:
        argument->value = (__u32)raw;
        break;
    case WEIR_ARGUMENT_TYPE_INT64:
    case WEIR_ARGUMENT_TYPE_UINT64:
        argument->value = raw;
        break;
    case WEIR_ARGUMENT_TYPE_SYSCALL64:
        argument->value = (__u32)raw | (__u64)is_compat_call() << 32;
        break;
    case WEIR_ARGUMENT_TYPE_STRING:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_STRING))
            read_string(slot, number, raw, is_user);
        break;
    case WEIR_ARGUMENT_TYPE_FD:
    case WEIR_ARGUMENT_TYPE_FILE:
    case WEIR_ARGUMENT_TYPE_KIOCB:
    case WEIR_ARGUMENT_TYPE_LINUX_BINPRM:
    case WEIR_ARGUMENT_TYPE_PATH:
    case WEIR_ARGUMENT_TYPE_DENTRY: {
        if (!HOOK_READS_PATHS)
            break;
        // One call for all types: the walk is inlined, and long.
        __u64 place = raw;

        if (type != WEIR_ARGUMENT_TYPE_PATH && type != WEIR_ARGUMENT_TYPE_DENTRY) {
            struct file *file = file_of(type, raw);

            place = file ? (__u64)&file->f_path : 0;
        }
        if (place)
            read_path(slot, number, place, type == WEIR_ARGUMENT_TYPE_DENTRY);
        else if (type != WEIR_ARGUMENT_TYPE_FD)
            set_unreadable(argument);
        if (type == WEIR_ARGUMENT_TYPE_FD)
            argument->value = argument->value << 32 | (__u32)raw;
        break;
    }
    case WEIR_ARGUMENT_TYPE_FILENAME:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_FILENAME))
            read_string(slot, number, (__u64)BPF_CORE_READ((struct filename *)raw, name), false);
        break;
    case WEIR_ARGUMENT_TYPE_NET_DEVICE:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_NET_DEVICE))
            read_string(slot, number, raw + bpf_core_field_offset(struct net_device, name), false);
        break;
    case WEIR_ARGUMENT_TYPE_SOCKADDR_UN:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_SOCKADDR_UN))
            read_unix_address(slot, number, raw, is_user, (__u32)size);
        break;
    case WEIR_ARGUMENT_TYPE_SKB:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_SKB))
            read_packet(slot, number, raw);
        break;
    case WEIR_ARGUMENT_TYPE_BPF_ATTR:
    case WEIR_ARGUMENT_TYPE_BPF_MAP:
    case WEIR_ARGUMENT_TYPE_BPF_PROG:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_BPF_ATTR) || HOOK_READS(WEIR_ARGUMENT_TYPE_BPF_MAP) ||
            HOOK_READS(WEIR_ARGUMENT_TYPE_BPF_PROG))
            read_bpf_object(slot, number, raw, type, is_user);
        break;
    case WEIR_ARGUMENT_TYPE_PERF_EVENT:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_PERF_EVENT))
            read_perf_event(slot, number, raw);
        break;
    case WEIR_ARGUMENT_TYPE_LOAD_INFO:
    case WEIR_ARGUMENT_TYPE_MODULE:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_LOAD_INFO) || HOOK_READS(WEIR_ARGUMENT_TYPE_MODULE))
            read_module(slot, number, raw, type);
        break;
    case WEIR_ARGUMENT_TYPE_KERNEL_CAP_T:
    case WEIR_ARGUMENT_TYPE_CAP_INHERITABLE:
    case WEIR_ARGUMENT_TYPE_CAP_PERMITTED:
    case WEIR_ARGUMENT_TYPE_CAP_EFFECTIVE:
        // The parameter is a pointer to the 64 bits.
        if (bpf_probe_read_kernel(&argument->value, sizeof(argument->value), (void *)raw))
            set_unreadable(argument);
        break;
    case WEIR_ARGUMENT_TYPE_CRED:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_CRED))
            read_credentials(slot, number, raw);
        break;
    case WEIR_ARGUMENT_TYPE_USER_NAMESPACE:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_USER_NAMESPACE))
            read_user_namespace(slot, number, raw);
        break;
    case WEIR_ARGUMENT_TYPE_SOCK:
    case WEIR_ARGUMENT_TYPE_SOCKET:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_SOCK) || HOOK_READS(WEIR_ARGUMENT_TYPE_SOCKET))
            read_socket(slot, number, raw, type);
        break;
    case WEIR_ARGUMENT_TYPE_SOCKADDR:
        if (HOOK_READS(WEIR_ARGUMENT_TYPE_SOCKADDR))
            read_address(slot, number, raw, is_user, flags & ARGUMENT_OWN_ADDRESS);
        break;
    case WEIR_ARGUMENT_TYPE_NOP:
        break;
    default:
        set_unreadable(argument);
    }
}

/* Of takes_registers in hook.bpf.c. */
enum { BY_32_BIT_ENTRY = 2 };

/* What the n-th argument of a system call by the 32-bit entry was: 32 bits, whatever is above them. */
static __always_inline __u32 syscall_argument_32(const struct pt_regs___x86 *registers, __u8 index) {
    switch (index) {
    case 0:
        return registers->bx;
    case 1:
        return registers->cx;
    case 2:
        return registers->dx;
    case 3:
        return registers->si;
    case 4:
        return registers->di;
    default:
        return registers->bp;
    }
}

/* What the n-th argument of the system call was. */
static __always_inline __u64 syscall_argument(const struct pt_regs___x86 *registers, __u8 index) {
    switch (index) {
    case 0:
        return registers->di;
    case 1:
        return registers->si;
    case 2:
        return registers->dx;
    case 3:
        return registers->r10;
    case 4:
        return registers->r8;
    default:
        return registers->r9;
    }
}

#endif
