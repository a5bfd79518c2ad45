// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// For tests alone: makes the text of open files in each kind of program, so that it can be compared with what
// /proc/PID/fd shows, and so that the walk is known to load in each. tp_btf runs where fentry does not.

#include "path.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// The call that asks for a descriptor's path: readahead(descriptor, PATHS_MAGIC, 0), which does nothing.
#define PATHS_SYSCALL 187
#define PATHS_MAGIC 0x57454952

#define PATHS_RESULTS 64

struct paths_result {
    __u32 length;
    __u32 flags;
    __u8 forward[WEIR_STATE_TEXT_BYTES];
    __u8 reverse[WEIR_STATE_TEXT_BYTES];
    __u8 text[WEIR_PATH_END];
};

// Texts in the order in which they were asked for. Key: number; written by the programs, read by the test.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, PATHS_RESULTS);
    __type(key, __u32);
    __type(value, struct paths_result);
} results SEC(".maps");

// Key 0: how many results there are. Key 1: the process whose opened files are of interest, written by the
// test.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} control SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
    unsigned long di;
    unsigned long si;
};

struct fdtable {
    struct file **fd;
};

struct files_struct {
    struct fdtable *fdt;
};

struct task_struct___files {
    struct files_struct *files;
};
#pragma clang attribute pop

static __always_inline void paths_store(const struct file *file) {
    __u32 zero = 0, slot;
    struct path_text text;
    struct scratch *scratch = scratch_claim(&slot);
    if (!scratch)
        return;
    path_read_file(scratch, slot, file, PATH_OPTION_NONE, &text);
    __u64 *count = bpf_map_lookup_elem(&control, &zero);
    __u32 index = count ? __sync_fetch_and_add(count, 1) : PATHS_RESULTS;
    struct paths_result *result = bpf_map_lookup_elem(&results, &index);
    if (result) {
        result->length = text.length;
        result->flags = text.flags;
        path_copy_forward(scratch, &text, result->forward);
        path_copy_reverse(scratch, result->reverse);
        bpf_probe_read_kernel(result->text, text.length & (WEIR_PATH_END - 1),
                              scratch->path + (text.at & (WEIR_PATH_END - 1)));
    }
    scratch_release(slot);
}

static __always_inline void paths_store_opened(const struct file *file) {
    __u32 one = 1;
    __u64 *wanted = bpf_map_lookup_elem(&control, &one);
    if (wanted && *wanted == bpf_get_current_pid_tgid() >> 32)
        paths_store(file);
}

// void sys_enter(struct pt_regs *registers, long number)
SEC("tp_btf/sys_enter")
int paths_descriptor(__u64 *context) {
    struct pt_regs *registers = (void *)context[0];
    if (context[1] != PATHS_SYSCALL || registers->si != PATHS_MAGIC)
        return 0;
    __u64 descriptor = registers->di;
    struct task_struct___files *task = (void *)bpf_get_current_task_btf();
    struct file **files = BPF_CORE_READ(task, files, fdt, fd);
    struct file *file = NULL;
    if (bpf_probe_read_kernel(&file, sizeof(file), files + descriptor) == 0)
        paths_store(file);
    return 0;
}

// int security_file_open(struct file *file)
SEC("?fentry/security_file_open")
int paths_fentry(__u64 *context) {
    paths_store_opened((const struct file *)context[0]);
    return 0;
}

SEC("?fexit/security_file_open")
int paths_fexit(__u64 *context) {
    paths_store_opened((const struct file *)context[0]);
    return 0;
}

SEC("?fmod_ret/security_file_open")
int paths_fmod_ret(__u64 *context) {
    paths_store_opened((const struct file *)context[0]);
    return 0;
}

SEC("?lsm/file_open")
int paths_lsm(__u64 *context) {
    paths_store_opened((const struct file *)context[0]);
    return 0;
}

SEC("?kprobe/security_file_open")
int paths_kprobe(struct pt_regs *registers) {
    paths_store_opened((const struct file *)registers->di);
    return 0;
}
