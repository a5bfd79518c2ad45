/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the working out of the scopes of a process, whichever it is: at its fork, at its exec, and by a walk
// over all tasks before a generation of scopes comes into force. Hooks only look at what is found here
// (scope.h).
//
// So that nobody is missed, and nobody's scopes are those of a program that it runs no more:
//   - A generation's configuration is written first, then the walk begins. Whoever forks or executes after
//   that finds the configuration; whoever did so before is found by the walk as it is now.
//   - The walk passes over tasks that have not begun to run: their fork is to come.
//   - An exec writes what the process is now, then works the scopes out. A walk that meets it looks again
//   where the process has executed something meanwhile; both then come to the same.

#ifndef WEIR_SCOPE_SUBJECT_H
#define WEIR_SCOPE_SUBJECT_H

// The paths that are read here are those that another task sees.
#define WEIR_PATHS_OF_OTHERS

#include "lineage.h"
#include "process.h"
#include "scope_look_up.h"

enum subject_known {
    SUBJECT_NAMESPACE_PID = 1,
    SUBJECT_PID_NAMESPACE = 2,
    SUBJECT_LINEAGE = 4,
    // How often it is looked again.
    SUBJECT_TRIES = 3,
};

static __always_inline __u64 memory_of(const struct task_struct *task) {
    __u64 mm = 0;

    bpf_core_read(&mm, sizeof(mm), &task->mm);
    return mm;
}

/* The text of the program in a memory, into scratch->text. */
static __always_inline void read_program(struct scratch *scratch, __u32 slot, __u64 mm) {
    struct path_text *text = &scratch->text;

    *text = (struct path_text){.at = WEIR_PATH_END};
    if (!mm) // a kernel thread, or one that has ended
        return;
    struct file *file = BPF_CORE_READ((struct mm_struct *)mm, exe_file);

    if (file) {
        path_read_file(scratch, slot, file, PATH_OPTION_NO_SUFFIX, text);
    } else {
        count_failure(WEIR_FAILURE_PLACE_BINARY);
        text->flags = PATH_UNREADABLE;
    }
}

/* The process_state_flag bits of a text. */
static __always_inline __u32 text_flags(const struct path_text *text) {
    __u32 flags = PROCESS_STATE_READY;

    if (text->flags & (PATH_TRUNCATED | PATH_DETACHED))
        flags |= PROCESS_STATE_TRUNCATED;
    if (text->flags & PATH_UNREADABLE)
        flags |= PROCESS_STATE_UNREADABLE;
    return flags;
}

/*
 * Fills in the state of a process that was there before the programs, from one of its tasks. Returns whether
 * it is filled in: a leader that has ended before its process has nothing to tell, the other threads have.
 * What the process executes meanwhile is written by its exec: the time of that is left alone, and the text is
 * read again.
 */
static __always_inline bool fill_subject(struct scratch *scratch, __u32 slot, struct task_struct *task,
                                         struct task_struct *leader, struct process_state *state) {
    struct path_text *text = &scratch->text;
    bool is_kernel = task->flags & WEIR_PF_KTHREAD;

    if (state->flags & PROCESS_STATE_READY)
        return true;
#pragma clang loop unroll(disable)
    for (__u32 turn = 0; turn < SUBJECT_TRIES; turn++) {
        __u64 mm = is_kernel ? 0 : memory_of(task);

        if (!is_kernel && !mm && BPF_CORE_READ(task, signal, live.counter) > 0)
            return false;
        read_program(scratch, slot, mm);
        if (!is_kernel && memory_of(task) != mm)
            continue;
        path_copy_forward(scratch, text, state->forward);
        path_copy_reverse(scratch, state->reverse);
        state->binary_length = text->length;
        __sync_val_compare_and_swap(&state->exec_ns, 0, leader->start_boottime);
        __sync_fetch_and_and(&state->flags, ~(PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE));
        __sync_fetch_and_or(&state->flags, text_flags(text));
        if (is_kernel || memory_of(task) == mm)
            return true;
    }
    return false;
}

/* Fills in the program of the parent, as it is now. */
static __always_inline void fill_parent(struct scratch *scratch, __u32 slot, struct task_struct *task,
                                        struct process_state *state) {
    struct path_text *text = &scratch->text;

    if (state->flags & PROCESS_STATE_PARENT_READY)
        return;
    struct task_struct *parent = task->real_parent->group_leader;
    struct process_state *known = process_state_find(parent);
    __u32 flags;

    if (known && (known->flags & PROCESS_STATE_READY)) {
        bpf_probe_read_kernel(state->parent_forward, WEIR_STATE_TEXT_BYTES, known->forward);
        bpf_probe_read_kernel(state->parent_reverse, WEIR_STATE_TEXT_BYTES, known->reverse);
        state->parent_length = known->binary_length;
        flags = known->flags & (PROCESS_STATE_READY | PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE);
    } else {
        read_program(scratch, slot, memory_of(parent));
        path_copy_forward(scratch, text, state->parent_forward);
        path_copy_reverse(scratch, state->parent_reverse);
        state->parent_length = text->length;
        flags = text_flags(text);
    }
    barrier();
    __sync_fetch_and_or(&state->flags, flags << 4);
}

/* Notes what scopes look at of a process. Its state is left as it is: the lineages in it are the process's to
 * bring up to date, which may be at that. */
static __always_inline void describe_subject(struct hook_work *work, struct task_struct *leader,
                                             struct process_state *state) {
    struct scope_subject *subject = &work->subject;
    const struct weir_lineage_config *config = lineage_config();
    __u32 since = *(volatile __u32 *)&state->lineage_revision;
    bool is_known = true;
    __u32 known = state->flags & PROCESS_STATE_LINEAGE_UNKNOWN ? 0 : SUBJECT_LINEAGE;

    work->process_state = (__u64)state;
    subject->pid = leader->tgid;
    subject->namespace_pid = own_namespace_pid(leader, &is_known);
    if (is_known)
        known |= SUBJECT_NAMESPACE_PID;
    subject->pid_namespace = pid_namespace_of(leader);
    if (subject->pid_namespace)
        known |= SUBJECT_PID_NAMESPACE;
    subject->known = known;
    mask_copy(&subject->lineage, &state->lineage, WEIR_LIMIT_MASK_WORDS);
    mask_copy(&subject->parent_lineage, &state->parent_lineage, WEIR_LIMIT_MASK_WORDS);
    if (!config || since == config->revision)
        return;
    struct weir_lineage_seed_key key = lineage_seed_key(leader);
    const struct weir_lineage_seed *seed = bpf_map_lookup_elem(&lineage_seeds, &key);

    if (since < config->recycled) {
#pragma clang loop unroll(disable)
        for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
            __u64 stale = lineage_stale_word(word, since);

            subject->lineage.words[word] &= ~stale;
            subject->parent_lineage.words[word] &= ~stale;
        }
    }
    if (seed) {
        mask_or(&subject->lineage, &seed->lineage, WEIR_LIMIT_MASK_WORDS);
        mask_or(&subject->parent_lineage, &seed->parent_lineage, WEIR_LIMIT_MASK_WORDS);
    }
}

static __always_inline __u32 subject_number(struct hook_work *work, __u32 attribute, bool *known) {
    const struct scope_subject *subject = &work->subject;

    switch (attribute) {
    case WEIR_SCOPE_ATTRIBUTE_PID:
        return subject->pid;
    case WEIR_SCOPE_ATTRIBUTE_NAMESPACE_PID:
        *known = subject->known & SUBJECT_NAMESPACE_PID;
        return subject->namespace_pid;
    case WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS + WEIR_NAMESPACE_KIND_PID:
        *known = subject->known & SUBJECT_PID_NAMESPACE;
        return subject->pid_namespace;
    default: // changes: none of ours
        *known = false;
        return 0;
    }
}

static __always_inline bool subject_set(struct hook_work *work, __u32 attribute) {
    const struct scope_subject *subject = &work->subject;

    mask_copy(&work->set,
              attribute == WEIR_SCOPE_ATTRIBUTE_LINEAGE ? &subject->lineage : &subject->parent_lineage,
              WEIR_LIMIT_MASK_WORDS);
    return subject->known & SUBJECT_LINEAGE;
}

/* One dimension of the scopes of the subject. Not static, so that the verifier looks at it once. */
__noinline int evaluate_subject_dimension(__u32 slot, __u32 generation, __u32 d) {
    and_scope_dimension(slot, generation, d, false, subject_number, subject_set);
    return 0;
}

/* The number of the set of scopes in `key`; 0 where it got none, because the map is full. */
static __always_inline __u32 intern_class(const struct class_key *key) {
    __u32 *known = bpf_map_lookup_elem(&classes, key);

    if (known)
        return *known;
    __u32 zero = 0;
    __u32 *counter = bpf_map_lookup_elem(&class_counter, &zero);

    if (!counter)
        return 0;
    __u32 id = __sync_fetch_and_add(counter, 1) + 1;

    if (bpf_map_update_elem(&classes, key, &id, BPF_NOEXIST) == 0)
        return id;
    known = bpf_map_lookup_elem(&classes, key); // another CPU was first
    if (known)
        return *known;
    count(WEIR_KERNEL_COUNTER_MAP_FULL);
    return 0;
}

/*
 * Works out the scopes of the subject, of one generation, into work->class_key; its class is 0 where it has
 * none. Returns the generation, 0 where none is in use. Not static, so that the verifier looks at it once.
 */
__noinline int evaluate_subject(__u32 slot, __u32 scope_slot) {
    struct hook_work *work = hook_work_of(slot);
    struct weir_scope_config *config = bpf_map_lookup_elem(&scope_configs, &scope_slot);

    if (!work || !config)
        return 0;
    __u32 generation = config->generation;

    work->undecided_count = 0;
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        work->class_key.scopes.words[word] = ~0ULL;
#pragma clang loop unroll(disable)
    for (__u32 d = 0; d < WEIR_LIMIT_DIMENSIONS_PER_HOOK; d++) {
        if (d >= config->dimension_count)
            break;
        evaluate_subject_dimension(slot, generation, d);
    }
    work->class_key.generation = generation;
    work->class_key.reserved = 0;
    // What could not be decided is counted at each hit.
    work->class_id = work->undecided_count ? 0 : intern_class(&work->class_key);
    return generation;
}

/* Whether something of a process is still to be worked out. */
static __always_inline bool is_worked_out(const struct process_state *state) {
#pragma unroll
    for (__u32 scope_slot = 0; scope_slot < WEIR_SCOPE_SLOTS; scope_slot++) {
        __u32 key = scope_slot;
        const struct weir_scope_config *config = bpf_map_lookup_elem(&scope_configs, &key);

        if (config && config->generation &&
            (__u32)state->scopes[scope_slot].generation_class != config->generation)
            return false;
    }
    return true;
}

/* Works out the scopes of the subject, of all generations in use. */
static __always_inline void work_out_subject(__u32 slot, struct hook_work *work,
                                             struct process_state *state) {
#pragma unroll
    for (__u32 scope_slot = 0; scope_slot < WEIR_SCOPE_SLOTS; scope_slot++) {
        struct process_scopes *scopes = &state->scopes[scope_slot];
        __u32 generation = evaluate_subject(slot, scope_slot);

        if (!generation)
            continue;
        scopes->undecided = work->undecided_count;
        mask_copy(&scopes->in, &work->class_key.scopes, WEIR_LIMIT_MASK_WORDS);
        barrier();
        *(volatile __u64 *)&scopes->generation_class = (__u64)work->class_id << 32 | generation;
    }
}

/* Works out the scopes of a process, from one of its tasks. */
static __always_inline void work_out_process(struct task_struct *task, struct task_struct *leader,
                                             struct process_state *state) {
    __u32 slot;
    struct scratch *scratch = scratch_claim(&slot);

    if (!scratch)
        return;
    struct hook_work *work = hook_work_of(slot);

    scratch->viewer = (__u64)task;
    if (work && fill_subject(scratch, slot, task, leader, state)) {
        fill_parent(scratch, slot, task, state);
#pragma clang loop unroll(disable)
        for (__u32 turn = 0; turn < SUBJECT_TRIES; turn++) {
            __u64 executed = *(volatile __u64 *)&state->exec_ns;

            describe_subject(work, leader, state);
            work_out_subject(slot, work, state);
            // A full barrier: what was stored is there before this is read.
            if (__sync_fetch_and_add(&state->exec_ns, 0) == executed)
                break;
        }
    }
    scratch_release(slot);
}

#endif
