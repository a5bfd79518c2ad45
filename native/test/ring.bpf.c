// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Programs for the tests of the addon: a producer that fills a ring on demand, and one that counts runs of
// itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 64 * 1024);
} ring SEC(".maps");

// 0: records written, 1: records that the ring had no room for, 2: records discarded, 3: runs of `counter`
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} per_cpu SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 128);
    __type(key, __u32);
    __type(value, __u64);
} marks SEC(".maps");

// What a run of `produce` does.
struct request {
    __u32 count;
    __u32 first;         // number of the first record
    __u32 discard_every; // 0 for never
    __u32 reserved;
};

struct record {
    __u32 number;
    __u32 length; // of the whole record
    __u8 bytes[248];
};

const volatile __u32 mark = 7;
const volatile __u32 rounds = 3;

static __always_inline void add(__u32 index) {
    __u64 *count = bpf_map_lookup_elem(&counts, &index);
    if (count)
        __sync_fetch_and_add(count, 1);
}

static long produceOne(__u32 index, struct request *request) {
    struct record record = {};
    __u32 number = request->first + index;
    if (request->discard_every && number % request->discard_every == 0) {
        void *room = bpf_ringbuf_reserve(&ring, 40, 0);
        if (room) {
            bpf_ringbuf_discard(room, BPF_RB_NO_WAKEUP);
            add(2);
        } else {
            add(1);
        }
    }
    // 9 to 249 bytes: lengths that are no multiple of 8 are among them
    record.number = number;
    __u32 length = 9 + number % 241;
    // The compiler knows that this changes nothing and would drop it; the verifier needs to see the bound.
    asm volatile("%0 &= 255" : "+r"(length));
    record.length = length;
    __builtin_memset(record.bytes, number, 8);
    if (bpf_ringbuf_output(&ring, &record, length, BPF_RB_NO_WAKEUP) == 0)
        add(0);
    else
        add(1);
    return 0;
}

SEC("syscall")
int produce(struct request *context) {
    struct request request = *context;
    bpf_loop(request.count, produceOne, &request, 0);
    return 0;
}

static long addMark(__u32 index, __u64 *sum) {
    *sum += mark + index;
    return 0;
}

SEC("tp_btf/sched_process_exec")
int counter(void *context) {
    __u32 key = mark;
    __u64 sum = 0;
    add(3);
    bpf_loop(rounds, addMark, &sum, 0);
    bpf_map_update_elem(&marks, &key, &sum, BPF_ANY);
    return 0;
}

SEC("raw_tp/sched_process_exec")
int raw_counter(void *context) {
    __u32 zero = 0;
    __u64 *count = bpf_map_lookup_elem(&per_cpu, &zero);
    if (count)
        *count += 1;
    return 0;
}

// Refused by the verifier: it reads through a pointer that may be null.
SEC("raw_tp/sched_process_exit")
int refused(void *context) {
    __u32 zero = 0;
    __u64 *count = bpf_map_lookup_elem(&marks, &zero);
    return *count;
}
