/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the exec record: what a process is after it has replaced its program.
//
// It is made at the tracepoint sched_process_exec: the new program is mapped, its credentials are in force,
// other threads are gone (the process has the pid and the start time that it always had, whichever thread
// called), and not one instruction of it has run. So the arguments are as the kernel copied them, out of the
// process's reach.

#ifndef WEIR_EXEC_H
#define WEIR_EXEC_H

#include "lineage.h"
#include "process.h"
#include "task.h"
#include "withhold.h"

// argv[0] can have 128 KiB (MAX_ARG_STRLEN); it is passed over in pieces of one less than the buffer.
#define WEIR_PROGRAM_NAME_STEPS_MAX 34
_Static_assert(WEIR_PROGRAM_NAME_STEPS_MAX *(WEIR_PATH_END - 1) > 128 * 1024, "the longest argv[0]");

// Search for the end of argv[0] in user memory.
struct program_name_walk {
    __u64 at;
    __u32 slot;
    __u32 failed;
};

static long program_name_step(__u32 index, void *context) {
    struct program_name_walk *walk = context;
    (void)index;
    struct scratch *scratch = path_scratch(walk->slot);
    if (!scratch)
        return 1;
    long length = bpf_probe_read_user_str(scratch->path, WEIR_PATH_END, (const void *)walk->at);
    if (length < 0) {
        walk->failed = 1;
        return 1;
    }
    if (length < WEIR_PATH_END) {
        // 6.1 and 6.12 say 0 of an empty string, 6.18 says 1.
        walk->at += length ? length : 1;
        return 1;
    }
    // The buffer is full: its last byte is a NUL that was put there, or by chance the right one.
    walk->at += WEIR_PATH_END - 1;
    return 0;
}

// Appends argv[1] and on, as they lie in the process's memory: each followed by NUL, the last one's NUL left
// out.
static __always_inline __u64 record_append_arguments(struct scratch *scratch, __u32 slot, __u64 end,
                                                     struct mm_struct *mm, struct weir_exec_record *record) {
    record->arguments.offset = 0;
    record->arguments.length = 0;
    record->arguments_original = 0;

    __u64 arguments_end = mm->arg_end;
    struct program_name_walk walk = {.at = mm->arg_start, .slot = slot};
    if (walk.at >= arguments_end)
        return end;
    long steps = bpf_loop(WEIR_PROGRAM_NAME_STEPS_MAX, program_name_step, &walk, 0);
    if (steps < 0 || walk.failed) {
        count_failure(WEIR_FAILURE_PLACE_PROGRAM_NAME);
        record->exec_flags |= WEIR_EXEC_FLAG_UNREADABLE_ARGUMENTS;
        return end;
    }
    if (walk.at >= arguments_end)
        return end;

    __u64 original = arguments_end - walk.at;
    record->arguments_original = original > 0xffffffff ? 0xffffffff : original;
    __u64 length = original - 1;
    if (original > WEIR_LIMIT_ARGUMENTS_BYTES) {
        length = WEIR_LIMIT_ARGUMENTS_BYTES;
        record->exec_flags |= WEIR_EXEC_FLAG_TRUNCATED_ARGUMENTS;
        count(WEIR_KERNEL_COUNTER_TRUNCATED_ARGUMENT);
    }
    if (length == 0) // one argument, and that empty
        return end;
    if (!record_has_room(end, WEIR_LIMIT_ARGUMENTS_BYTES)) {
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
        return end;
    }
    barrier_var(length); // else clang proves the next line away and the verifier sees no bound
    if (length > WEIR_LIMIT_ARGUMENTS_BYTES)
        length = WEIR_LIMIT_ARGUMENTS_BYTES;
    if (bpf_probe_read_user(scratch->record + end, length, (const void *)walk.at) != 0) {
        count_failure(WEIR_FAILURE_PLACE_PROGRAM_ARGUMENTS);
        record->exec_flags |= WEIR_EXEC_FLAG_UNREADABLE_ARGUMENTS;
        return end;
    }
    record->arguments.offset = end;
    record->arguments.length = length;
    return end + length;
}

// The number that root of a user namespace has outside of it, or -1 where the namespace has none.
static __always_inline __u32 user_namespace_root(const struct user_namespace *namespace) {
    struct uid_gid_extent extent = {};
    if (BPF_CORE_READ(namespace, uid_map.nr_extents) > 5) {
        // Then sorted: the extent of user 0 is the first.
        const struct uid_gid_extent *forward = BPF_CORE_READ(namespace, uid_map.forward);
        if (bpf_core_read(&extent, sizeof(extent), forward) == 0 && extent.count && extent.first == 0)
            return extent.lower_first;
        return -1;
    }
    for (int i = 0; i < 5; i++) {
        if (bpf_core_read(&extent, sizeof(extent), &namespace->uid_map.extent[i]) != 0)
            break;
        if (extent.count && extent.first == 0)
            return extent.lower_first;
    }
    return -1;
}

// Fills in the credentials, and how the file changed them.
static __always_inline void exec_credentials(struct weir_exec_record *record, struct task_struct *task,
                                             struct linux_binprm *bprm, struct inode *inode) {
    const struct cred *cred = task->cred;
    record->uid = cred->uid.val;
    record->gid = cred->gid.val;
    record->euid = cred->euid.val;
    record->egid = cred->egid.val;
    record->suid = cred->suid.val;
    record->sgid = cred->sgid.val;
    record->fsuid = cred->fsuid.val;
    record->fsgid = cred->fsgid.val;
    record->securebits = cred->securebits;
    record->cap_permitted = capabilities_read(&cred->cap_permitted);
    record->cap_effective = capabilities_read(&cred->cap_effective);
    record->cap_inheritable = capabilities_read(&cred->cap_inheritable);
    record->auid = bpf_core_field_exists(struct task_struct, loginuid) ? task->loginuid.val : -1;

    // per_clear is set where the kernel honoured the file's bits (not on a nosuid mount, with no_new_privs,
    // or for an owner whom the user namespace does not know), or where capabilities were gained. The bits
    // took effect where the effective id is the file's owner and not the caller's own. A caller whose
    // effective id was that already (setuid root that executes setuid root) is taken for changed too: the old
    // credentials are gone by now.
    if (bprm->per_clear) {
        if ((record->mode & WEIR_S_ISUID) && record->euid == inode->i_uid.val && record->euid != record->uid)
            record->exec_flags |= WEIR_EXEC_FLAG_SETUID;
        if ((record->mode & WEIR_S_ISGID) && (record->mode & WEIR_S_IXGRP) &&
            record->egid == inode->i_gid.val && record->egid != record->gid)
            record->exec_flags |= WEIR_EXEC_FLAG_SETGID;
    }
    // Who is not root has after an exec no permitted capabilities but ambient ones and those of the file
    // (capabilities(7), "Transformation of capabilities during execve").
    if (record->cap_permitted & ~capabilities_read(&cred->cap_ambient)) {
        __u32 root = user_namespace_root(cred->user_ns);
        if (record->uid != root && record->euid != root)
            record->exec_flags |= WEIR_EXEC_FLAG_FILE_CAPABILITIES;
    }
}

// Makes and sends the exec record, and writes the process's state.
static __always_inline void exec_record_send(struct scratch *scratch, __u32 slot, struct task_struct *task,
                                             struct linux_binprm *bprm) {
    struct weir_exec_record *record = &scratch->exec;
    struct file *file = bprm->file;
    struct inode *inode = file->f_inode;
    struct path_text text;
    __u64 end = sizeof(*record);

    header_fill(&scratch->header, task, WEIR_EVENT_KIND_EXEC, 0);
    record->exec_ns = record->time_ns;
    task_parent(task, &record->parent_pid, &record->parent_start_ns);
    record->exec_flags = WEIR_EXEC_FLAG_EXECVE;
    record->inode = inode->i_ino;
    record->links = inode->i_nlink;
    record->mode = inode->i_mode;
    if (record->links == 0)
        record->exec_flags |= WEIR_EXEC_FLAG_UNLINKED;
    exec_credentials(record, task, bprm, inode);
    task_namespaces(task, record->namespaces);
    task_namespace_pid(task, &record->namespace_pid, record->namespaces);

    path_read_file(scratch, slot, file, PATH_OPTION_NONE, &text);
    if (text.flags & PATH_TRUNCATED)
        record->exec_flags |= WEIR_EXEC_FLAG_TRUNCATED_BINARY;
    if (text.flags & PATH_MEMFD)
        record->exec_flags |= WEIR_EXEC_FLAG_MEMFD;
    end = record_append_path(scratch, end, &text, &record->binary);
    struct process_state *state = process_state_make(task->group_leader);
    if (state) {
        // Worked out anew when the state is written (scope.bpf.c).
        state->scopes[0].generation_class = 0;
        state->scopes[1].generation_class = 0;
        process_state_write(state, scratch, &text, record->time_ns);
        __builtin_memcpy(state->exec_namespaces, record->namespaces, sizeof(state->exec_namespaces));
        state->exec_permitted = record->cap_permitted;
        state->exec_effective = record->cap_effective;
        state->exec_inheritable = record->cap_inheritable;
        state->flags |= PROCESS_STATE_BASELINE;
        lineage_exec(slot);
    }

    end = record_append_arguments(scratch, slot, end, task->mm, record);

    path_read_path(scratch, slot, &task->fs->pwd, PATH_OPTION_NONE, &text);
    if (text.flags & PATH_TRUNCATED)
        record->exec_flags |= WEIR_EXEC_FLAG_TRUNCATED_CWD;
    __u8 first = scratch->path[text.at & (WEIR_PATH_END - 1)];
    if (text.length == 1 && first == '/')
        record->exec_flags |= WEIR_EXEC_FLAG_ROOTCWD;
    end = record_append_path(scratch, end, &text, &record->cwd);

    end = record_append_cgroup_name(scratch, end, task, &record->cgroup_name);
    // Nobody asks for the environment yet.
    record->environment.offset = 0;
    record->environment.length = 0;

    if (record->exec_flags &
        (WEIR_EXEC_FLAG_TRUNCATED_BINARY | WEIR_EXEC_FLAG_TRUNCATED_ARGUMENTS | WEIR_EXEC_FLAG_TRUNCATED_CWD))
        record->flags |= WEIR_RECORD_FLAG_TRUNCATED;
    record->flags |= withhold_exec(slot, state);
    emit(scratch, end, WEIR_KERNEL_COUNTER_PRODUCED_EXEC);
}

#endif
