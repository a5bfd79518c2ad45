/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the hashes of files that events of LSM hooks have, as IMA has them or makes them. The kernel hashes
// for sleepable programs alone, and a program that matches is not one: its tries cannot be had there. So an
// event that is to have a hash is kept with the thread, and a sleepable program at the same hook, which the
// kernel runs after the other as it was attached before it, adds the hash and sends it. A third one sends
// what still waits then: up to 6.1 the kernel skips a sleepable program that sleeps in another task of the
// same CPU.

#ifndef WEIR_IMA_H
#define WEIR_IMA_H

#include "emit.h"

// Bytes of the records that a thread can have waiting, of one record, and a mask for either.
#define IMA_KEPT_BYTES 4096

struct ima_kept {
    __u32 end;
    // What the call is to return: it is denied only when the hash has been made, as nothing runs after a
    // denial.
    __s32 error;
    // Twice as much, for the verifier: it adds the most that an offset can be to the most that a length can.
    __u8 bytes[2 * IMA_KEPT_BYTES + sizeof(struct weir_ima_hash)];
};

// Key: the thread. Made by a hook's program, read and emptied by that or by the one that runs next in the
// same call, deleted when it has been sent.
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct ima_kept);
} ima_kept SEC(".maps");

/* What the callback of bpf_loop gets: where the next record is, and the hash, if there is one. */
struct ima_sending {
    __u32 at;
    __u32 has_hash;
    struct weir_ima_hash hash;
};

/* Keeps the record that lies in scratch, `end` bytes long. Returns 0 where it cannot be kept, and is to be
 * sent without a hash. Not static: see act_for_policy. */
__noinline int ima_keep(__u32 slot, __u32 end) {
    struct scratch *scratch = path_scratch(slot);
    struct ima_kept *kept =
        bpf_task_storage_get(&ima_kept, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
    __u64 size = (end + 7) & ~7U;

    if (!kept || !scratch) {
        count(WEIR_KERNEL_COUNTER_STORAGE_FAILED);
        return 0;
    }
    __u64 at = kept->end;

    if (size >= IMA_KEPT_BYTES || at + size + sizeof(struct weir_ima_hash) > IMA_KEPT_BYTES)
        return 0;
    scratch->header.size = size;
    size &= IMA_KEPT_BYTES - 1;
    barrier_var(size);
    size &= IMA_KEPT_BYTES - 1;
    at &= IMA_KEPT_BYTES - 1;
    barrier_var(at);
    at &= IMA_KEPT_BYTES - 1;
    if (bpf_probe_read_kernel(kept->bytes + at, size, scratch->record) != 0)
        return 0;
    // Room for the hash is left behind each.
    kept->end = at + size + sizeof(struct weir_ima_hash);
    return 1;
}

static long ima_send_next(__u32 index, void *context) {
    struct ima_sending *sending = context;
    struct ima_kept *kept = bpf_task_storage_get(&ima_kept, bpf_get_current_task_btf(), NULL, 0);
    __u32 key = WEIR_KERNEL_COUNTER_PRODUCED;
    __u64 *produced = bpf_map_lookup_elem(&counters, &key);

    (void)index;
    if (!kept || !produced || sending->at >= kept->end)
        return 1;
    __u64 at = sending->at & (IMA_KEPT_BYTES - 1);

    barrier_var(at);
    at &= IMA_KEPT_BYTES - 1;
    struct weir_record_header *header = (void *)(kept->bytes + at);
    __u64 size = header->size;

    size &= IMA_KEPT_BYTES - 1;
    barrier_var(size);
    size &= IMA_KEPT_BYTES - 1;
    sending->at = at + size + sizeof(struct weir_ima_hash);
    if (sending->has_hash) {
        __builtin_memcpy(kept->bytes + at + size, &sending->hash, sizeof(sending->hash));
        header->flags |= WEIR_RECORD_FLAG_IMA_HASH;
        size += sizeof(struct weir_ima_hash);
        header->size = size;
    }
    header->sequence = __sync_fetch_and_add(produced, 1);
    count(WEIR_KERNEL_COUNTER_PRODUCED_HOOK);
    if (bpf_ringbuf_output(&events, header, size, 0))
        count(WEIR_KERNEL_COUNTER_RING_FULL);
    return 0;
}

/* Sends what the thread has waiting. */
static __always_inline void ima_send(struct ima_sending *sending) {
    struct task_struct *task = bpf_get_current_task_btf();

    bpf_loop(IMA_KEPT_BYTES / sizeof(struct weir_hook_record), ima_send_next, sending, 0);
    bpf_task_storage_delete(&ima_kept, task);
}

static __always_inline struct ima_kept *ima_waiting(void) {
    return bpf_task_storage_get(&ima_kept, bpf_get_current_task_btf(), NULL, 0);
}

/* Has a call denied by the programs that run next at the hook, where something waits for them. Returns
 * whether it has. */
static __always_inline bool ima_defer(int error) {
    struct ima_kept *kept = ima_waiting();

    if (!kept)
        return false;
    kept->error = error;
    return true;
}

/* Sends what the thread has waiting as it is, and returns what its call is to return. Not static: see
 * act_for_policy. */
__noinline int ima_send_unhashed(void) {
    struct ima_sending sending = {};
    struct ima_kept *kept = ima_waiting();

    if (!kept)
        return 0;
    int error = kept->error;

    ima_send(&sending);
    return error;
}

/* Adds the hash of a file to what the thread has waiting, sends it, and returns what the call is to return.
 */
static __always_inline int ima_send_hashed(struct file *file) {
    struct ima_sending sending = {};
    struct ima_kept *kept = ima_waiting();

    if (!kept)
        return 0;
    int error = kept->error;
    long algorithm = file ? bpf_ima_file_hash(file, sending.hash.digest, sizeof(sending.hash.digest)) : -1;

    sending.has_hash = algorithm >= 0;
    sending.hash.algorithm = algorithm;
    ima_send(&sending);
    return error;
}

#endif
