// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The producer of the bench `ring`: writes prepared records into the agent's ring, numbered as the agent's
// own programs number theirs. It shares the maps `events` and `counters` with them.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define RECORD_BYTES 504

struct prepared {
    __u32 size;
    // 1: the start time is as it stands; 0: the number of the lap is added to it.
    __u32 fixed;
    __u64 record[RECORD_BYTES / 8];
};

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 8 * 1024 * 1024);
} events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 64);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct prepared);
} prepared SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct prepared);
} scratch SEC(".maps");

// 0: records written, 1: records that the ring had no room for
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} results SEC(".maps");

struct request {
    __u32 count;
    __u32 first;
    // Of the prepared records, from `base` on, `cycle` are repeated.
    __u32 base;
    __u32 cycle;
    // Lap of the first record.
    __u32 lap;
    // 1: it ends at the first record that finds no room.
    __u32 until_full;
};

static void add(__u32 key) {
    __u64 *value = bpf_map_lookup_elem(&results, &key);
    if (value)
        __sync_fetch_and_add(value, 1);
}

static long produceOne(__u32 index, struct request *request) {
    __u32 zero = 0;
    __u32 at = request->first + index;
    __u32 lap = request->lap + at / request->cycle;
    __u32 key = request->base + at % request->cycle;
    struct prepared *from = bpf_map_lookup_elem(&prepared, &key);
    struct prepared *to = bpf_map_lookup_elem(&scratch, &zero);
    __u64 *produced = bpf_map_lookup_elem(&counters, &zero);
    if (!from || !to || !produced)
        return 1;
    __u32 size = from->size;
    if (size > RECORD_BYTES)
        return 1;
    if (bpf_probe_read_kernel(to->record, size, from->record) != 0)
        return 1;
    to->record[1] = bpf_ktime_get_boot_ns();
    to->record[2] = __sync_fetch_and_add(produced, 1);
    *(__u32 *)&to->record[3] = bpf_get_smp_processor_id();
    if (!from->fixed)
        to->record[5] += lap;
    if (bpf_ringbuf_output(&events, to->record, size, BPF_RB_NO_WAKEUP) == 0) {
        add(0);
        return 0;
    }
    add(1);
    if (request->until_full)
        return 1;
    return 0;
}

SEC("syscall")
int produce(struct request *context) {
    struct request request = *context;
    if (request.cycle == 0)
        return 1;
    bpf_loop(request.count, produceOne, &request, 0);
    return 0;
}
