// SPDX-License-Identifier: Apache-2.0
// Owns the process table: who runs, who ran, and who made whom.
//
// An entry is an execution: exec puts a new entry in the place of the old one, which stays for as long as
// children made before the exec refer to it. So a child keeps the parent that made it, as it was then. The
// identity of a process is (pid, start_ns); an entry is found by both, never by the pid alone, so a reused
// pid can never lend its name. /proc tells the start only to 10 ms: entries that were found there (seeds)
// wait beside the hash until an event with the same pid and the same 10 ms shows the exact start.
//
// An entry goes when nothing refers to it: after an exec at once, after an exit when `exited_max` later ones
// have ended, since events can come late. All memory is taken at the start; pages that were never used cost
// nothing. When the table is full, the oldest that has exited goes; else one that runs, and that is counted.
//
// Hot. What a look-up and a batch need of an entry lies in one cache line; its image and its strings are
// touched when they are written and when they are laid into a batch. Slots are numbers from 1 on; 0 is none.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "layout.h"

namespace weir {

// An array of zeros, page-aligned, whose pages are taken when they are first touched.
template <typename T> class ZeroArray {
  public:
    ZeroArray() = default;
    ZeroArray(const ZeroArray &) = delete;
    ZeroArray &operator=(const ZeroArray &) = delete;
    ~ZeroArray() {
        if (data_ != nullptr) {
            munmap(data_, bytes_);
        }
    }
    bool allocate(size_t count) {
        bytes_ = count * sizeof(T);
        void *data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data == MAP_FAILED) {
            return false;
        }
        data_ = static_cast<T *>(data);
        return true;
    }
    T &operator[](size_t index) const {
        return data_[index];
    }

  private:
    T *data_ = nullptr;
    size_t bytes_ = 0;
};

// The bytes that entries point to: binary, arguments, cwd, cgroup name. A process that forks shares them with
// its parent, so they are counted. One arena that never grows, cut by halves (a buddy allocator): a piece
// that comes back joins its other half when that is free too, so no run of short or of long strings can spoil
// it for others. Runs have numbers from 1 on; 0 is no bytes.
class Strings {
  public:
    struct Piece {
        uint32_t start;
        // A multiple of 4.
        uint32_t bytes;
        uint32_t references;
        // Batch in which it was last laid out, and where; `placed` is 0 until it has a place.
        uint32_t stamp;
        uint32_t placed;
        // Its size is UNIT << order.
        uint32_t order;
    };
    static constexpr uint32_t UNIT = 64;
    static constexpr uint32_t ORDERS = 9;
    // What an exec record can carry: 4 KiB each of three, and a name.
    static constexpr uint32_t BYTES_MAX = UNIT << (ORDERS - 1);

    bool allocate(uint32_t numbers_max, char *arena, uint64_t arena_bytes);
    // Room for some bytes, counted once; 0 where there is none.
    uint32_t take(uint64_t bytes);
    uint32_t share(uint32_t number);
    // Takes a reference back; the last one frees the room.
    void release(uint32_t number);
    char *at(uint32_t number) const {
        return arena_ + pieces_[number].start;
    }
    Piece &piece(uint32_t number) const {
        return pieces_[number];
    }

    uint64_t used_bytes = 0;
    uint64_t refused = 0;

  private:
    // A free block by its number (start / UNIT); NONE ends a list.
    struct Free {
        uint32_t next;
        uint32_t previous;
    };
    static constexpr uint32_t NONE = UINT32_MAX;

    void push(uint32_t block, uint32_t order);
    void remove(uint32_t block, uint32_t order);

    char *arena_ = nullptr;
    uint32_t blocks_ = 0;
    // Of each block: 1 + order where a free piece of that order begins, else 0.
    ZeroArray<uint8_t> free_order_;
    ZeroArray<Free> links_;
    uint32_t heads_[ORDERS];
    ZeroArray<Piece> pieces_;
    // Numbers that were given back, and the first that never was given.
    std::vector<uint32_t> free_numbers_;
    uint32_t next_number_ = 1;
    uint32_t numbers_max_ = 0;
};

class ProcessTable {
  public:
    enum State : uint8_t {
        FREE = 0,
        // Found by its identity.
        CURRENT = 1,
        // Replaced by an exec; only children refer to it.
        REPLACED = 2,
        // Ended; still found by its identity.
        EXITED = 3,
        // Found in /proc; its exact start is not known.
        SEED = 4,
    };
    struct alignas(64) Slot {
        uint64_t start;
        // When it got its program, as its image says too.
        uint64_t exec;
        uint32_t pid;
        // Next in the same bucket.
        uint32_t next;
        uint32_t parent;
        uint32_t string;
        // Batch in which the entry was last laid out, and its index there.
        uint32_t stamp;
        uint32_t index;
        // Children that refer to it.
        uint32_t children;
        uint8_t state;
        uint8_t queued;
    };
    static constexpr uint64_t NS_PER_TICK = 10'000'000;

    // The images are `processes_max + 1` entries, as a batch has them; spans count from the start of the
    // entry's strings. The caller keeps images and arena.
    bool allocate(uint32_t processes_max, uint32_t exited_max, weir_process_entry *images, char *arena,
                  uint64_t arena_bytes);

    // Finds a process by its identity; 0 where it is not known.
    uint32_t find(uint32_t pid, uint64_t start);
    void prefetchHead(uint32_t pid, uint64_t start) const {
        __builtin_prefetch(&heads_[hash(pid, start)]);
    }
    // First of the bucket of an identity: mostly the one.
    uint32_t first(uint32_t pid, uint64_t start) const {
        return heads_[hash(pid, start)];
    }
    // Makes the entry of an identity that is not in the table. Its strings, credentials and parent are the
    // caller's to fill in; `exec_ns` begins as the start. 0 where there is no room.
    uint32_t add(uint32_t pid, uint64_t start);
    // Puts an entry for a new execution in the place of another, with its parent; 0 where there is no room.
    uint32_t replace(uint32_t previous);
    // As `replace`, for a program whose record was lost: all that is known of it is when it began. 0 where
    // there is no room.
    uint32_t replaceUnseen(uint32_t previous, uint64_t exec);
    // Whether an entry that /proc gave, which does not say when a program began, is of the one that began
    // then.
    bool isSeedOf(uint32_t slot, uint64_t exec) const;
    void setExec(uint32_t slot, uint64_t exec);
    // Says who made a process, where the table knows the maker; else only its identity.
    void setParent(uint32_t slot, uint32_t pid, uint64_t start);
    // What a fork leaves as it was: image and strings of the parent.
    void inherit(uint32_t slot);
    // Marks a process as ended. It is kept for late events and for its children.
    void exit(uint32_t slot);
    // Adds what /proc says of a process. Where an event has told of it already, that is left as it is.
    // 0 where there is nothing to do.
    uint32_t seed(uint32_t pid, uint64_t start_ticks);
    uint32_t seedOf(uint32_t pid) const;
    // Links a seed with that of its parent, unless that began after it.
    void linkSeeds(uint32_t child, uint32_t parent);
    // Ends a batch: what has left is freed, and of the ended ones those beyond `exited_max`.
    void endBatch();

    Slot &slot(uint32_t number) const {
        return slots_[number];
    }
    weir_process_entry &image(uint32_t slot) const {
        return images_[slot];
    }
    uint32_t processesMax() const {
        return processes_max_;
    }
    uint32_t size() const {
        return used_;
    }
    size_t seeds() const {
        return seeds_.size();
    }

    // Room for strings, of which processes that have ended may have to make some; 0 where there is none.
    uint32_t takeString(uint64_t bytes);

    Strings strings;
    // Batch that is being joined: entries in it are not evicted.
    uint32_t batch = 1;
    uint64_t evicted_running = 0;
    uint64_t evicted_exited = 0;
    uint64_t refused = 0;
    uint64_t adopted = 0;

  private:
    uint32_t hash(uint32_t pid, uint64_t start) const {
        const uint64_t mixed = (start ^ (static_cast<uint64_t>(pid) << 32)) * 0x9e3779b97f4a7c15U;
        return static_cast<uint32_t>((mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9U >> hash_shift_);
    }
    uint32_t adopt(uint32_t pid, uint64_t start);
    void link(uint32_t slot);
    void unlink(uint32_t slot);
    uint32_t take();
    bool evict();
    bool evictExited();
    void free(uint32_t slot);
    void unrefer(uint32_t slot);
    void leave(uint32_t slot);
    void enqueue(uint32_t slot);
    uint32_t dequeue();
    void adoptParent(uint32_t slot, uint32_t parent);

    ZeroArray<Slot> slots_;
    ZeroArray<uint32_t> heads_;
    uint32_t hash_shift_ = 0;
    weir_process_entry *images_ = nullptr;
    uint32_t processes_max_ = 0;
    uint32_t exited_max_ = 0;
    uint32_t used_ = 0;
    std::vector<uint32_t> free_slots_;
    uint32_t next_slot_ = 1;
    ZeroArray<uint32_t> exited_;
    uint32_t exited_head_ = 0;
    uint32_t exited_count_ = 0;
    std::vector<uint32_t> leaving_;
    uint32_t hand_ = 1;
    // Slot that must not be evicted though it has no number in the batch yet.
    uint32_t pinned_ = 0;
    std::unordered_map<uint32_t, uint32_t> seeds_;
    // When the first seed was made, boot-time clock: what begins later is told by a record.
    uint64_t seeded_ns_ = 0;
};

} // namespace weir
