// SPDX-License-Identifier: Apache-2.0
#include "process_table.h"

#include <algorithm>
#include <cstring>
#include <ctime>

namespace weir {

bool Strings::allocate(uint32_t numbers_max, char *arena, uint64_t arena_bytes) {
    arena_ = arena;
    blocks_ = static_cast<uint32_t>(arena_bytes / UNIT);
    numbers_max_ = numbers_max;
    std::fill(heads_, heads_ + ORDERS, NONE);
    if (!pieces_.allocate(static_cast<size_t>(numbers_max) + 1) ||
        !free_order_.allocate(static_cast<size_t>(blocks_) + 1) ||
        !links_.allocate(static_cast<size_t>(blocks_) + 1)) {
        return false;
    }
    // The largest pieces that begin on a multiple of their size and end within the arena. From the end, so
    // that the first is taken first: pages that were never used cost nothing.
    std::vector<std::pair<uint32_t, uint32_t>> whole;
    for (uint32_t block = 0; block < blocks_;) {
        uint32_t order = ORDERS - 1;
        while (block % (1U << order) != 0 || block + (1U << order) > blocks_) {
            order--;
        }
        whole.emplace_back(block, order);
        block += 1U << order;
    }
    for (auto piece = whole.rbegin(); piece != whole.rend(); ++piece) {
        push(piece->first, piece->second);
    }
    return true;
}

void Strings::push(uint32_t block, uint32_t order) {
    const uint32_t next = heads_[order];
    links_[block] = {next, NONE};
    if (next != NONE) {
        links_[next].previous = block;
    }
    heads_[order] = block;
    free_order_[block] = static_cast<uint8_t>(1 + order);
}

void Strings::remove(uint32_t block, uint32_t order) {
    const Free link = links_[block];
    if (link.previous == NONE) {
        heads_[order] = link.next;
    } else {
        links_[link.previous].next = link.next;
    }
    if (link.next != NONE) {
        links_[link.next].previous = link.previous;
    }
    free_order_[block] = 0;
}

uint32_t Strings::take(uint64_t bytes) {
    if (bytes == 0) {
        return 0;
    }
    uint32_t wanted = 0;
    while (wanted < ORDERS && bytes > uint64_t{UNIT} << wanted) {
        wanted++;
    }
    uint32_t order = wanted;
    while (order < ORDERS && heads_[order] == NONE) {
        order++;
    }
    if (order >= ORDERS || (free_numbers_.empty() && next_number_ > numbers_max_)) {
        refused++;
        return 0;
    }
    const uint32_t block = heads_[order];
    remove(block, order);
    // The second halves of what is larger than needed are free again.
    while (order > wanted) {
        order--;
        push(block + (1U << order), order);
    }
    uint32_t number = 0;
    if (free_numbers_.empty()) {
        number = next_number_++;
    } else {
        number = free_numbers_.back();
        free_numbers_.pop_back();
    }
    pieces_[number] = {block * UNIT, static_cast<uint32_t>((bytes + 3) & ~uint64_t{3}), 1, 0, 0, wanted};
    used_bytes += uint64_t{UNIT} << wanted;
    return number;
}

uint32_t Strings::share(uint32_t number) {
    if (number != 0) {
        pieces_[number].references++;
    }
    return number;
}

void Strings::release(uint32_t number) {
    if (number == 0) {
        return;
    }
    Piece &piece = pieces_[number];
    if (--piece.references > 0) {
        return;
    }
    uint32_t order = piece.order;
    uint32_t block = piece.start / UNIT;
    used_bytes -= uint64_t{UNIT} << order;
    while (order < ORDERS - 1) {
        const uint32_t other = block ^ (1U << order);
        if (other >= blocks_ || free_order_[other] != 1 + order) {
            break;
        }
        remove(other, order);
        block &= ~(1U << order);
        order++;
    }
    push(block, order);
    free_numbers_.push_back(number);
}

bool ProcessTable::allocate(uint32_t processes_max, uint32_t exited_max, weir_process_entry *images,
                            char *arena, uint64_t arena_bytes) {
    processes_max_ = processes_max;
    exited_max_ = std::min(exited_max, processes_max);
    images_ = images;
    uint32_t bits = 4;
    while ((uint64_t{1} << bits) < processes_max) {
        bits++;
    }
    hash_shift_ = 64 - bits;
    return slots_.allocate(static_cast<size_t>(processes_max) + 1) && heads_.allocate(size_t{1} << bits) &&
           exited_.allocate(processes_max) && strings.allocate(processes_max, arena, arena_bytes);
}

uint32_t ProcessTable::find(uint32_t pid, uint64_t start) {
    for (uint32_t number = heads_[hash(pid, start)]; number != 0; number = slots_[number].next) {
        const Slot &slot = slots_[number];
        if (slot.pid == pid && slot.start == start) {
            return number;
        }
    }
    return seeds_.empty() ? 0 : adopt(pid, start);
}

// A seed with this pid that began in the same clock tick is this process: it gets its exact start.
uint32_t ProcessTable::adopt(uint32_t pid, uint64_t start) {
    const auto found = seeds_.find(pid);
    if (found == seeds_.end()) {
        return 0;
    }
    const uint32_t number = found->second;
    Slot &slot = slots_[number];
    if (start / NS_PER_TICK != slot.start / NS_PER_TICK) {
        // Another process has the pid now: the one that was seeded has ended, and its exit was not seen.
        if (start > slot.start) {
            seeds_.erase(found);
            slot.state = REPLACED;
            if (slot.children == 0) {
                leave(number);
            }
        }
        return 0;
    }
    seeds_.erase(found);
    slot.start = start;
    images_[number].start_ns = start;
    setExec(number, start);
    slot.state = CURRENT;
    link(number);
    adopted++;
    return number;
}

void ProcessTable::link(uint32_t number) {
    Slot &slot = slots_[number];
    uint32_t &head = heads_[hash(slot.pid, slot.start)];
    slot.next = head;
    head = number;
}

void ProcessTable::unlink(uint32_t number) {
    const Slot &slot = slots_[number];
    uint32_t *link = &heads_[hash(slot.pid, slot.start)];
    while (*link != 0 && *link != number) {
        link = &slots_[*link].next;
    }
    if (*link == number) {
        *link = slot.next;
    }
}

// A slot with an empty image; 0 where there is none to be had.
uint32_t ProcessTable::take() {
    if (free_slots_.empty() && next_slot_ > processes_max_ && !evict()) {
        refused++;
        return 0;
    }
    uint32_t number = 0;
    if (free_slots_.empty()) {
        number = next_slot_++;
    } else {
        number = free_slots_.back();
        free_slots_.pop_back();
    }
    used_++;
    slots_[number] = {};
    images_[number] = {};
    return number;
}

// Frees the oldest that has ended and that neither a child nor this batch refers to.
bool ProcessTable::evictExited() {
    for (uint32_t tries = exited_count_; tries > 0; tries--) {
        const uint32_t number = dequeue();
        const Slot &slot = slots_[number];
        if (slot.state != EXITED || slot.children != 0) {
            continue;
        }
        if (slot.stamp == batch || number == pinned_) {
            enqueue(number);
            continue;
        }
        evicted_exited++;
        free(number);
        return true;
    }
    return false;
}

// A piece for strings. Those of processes that have ended make room: else a run of short-lived processes with
// long arguments would leave none for all that come after.
uint32_t ProcessTable::takeString(uint64_t bytes) {
    uint32_t number = strings.take(bytes);
    while (number == 0 && bytes != 0 && bytes <= Strings::BYTES_MAX && evictExited()) {
        strings.refused--; // it was not the last word
        number = strings.take(bytes);
    }
    return number;
}

// Makes a free slot: of the oldest that has ended, else of one that runs and has no children.
bool ProcessTable::evict() {
    if (evictExited()) {
        return true;
    }
    for (uint32_t tries = processes_max_; tries > 0; tries--) {
        const uint32_t number = hand_;
        hand_ = number == processes_max_ ? 1 : number + 1;
        const Slot &slot = slots_[number];
        if ((slot.state != CURRENT && slot.state != SEED) || slot.children != 0 || slot.stamp == batch ||
            number == pinned_) {
            continue;
        }
        evicted_running++;
        free(number);
        return true;
    }
    return false;
}

void ProcessTable::free(uint32_t number) {
    Slot &slot = slots_[number];
    if (slot.state == FREE) {
        return;
    }
    if (slot.state == CURRENT || slot.state == EXITED) {
        unlink(number);
    }
    if (slot.state == SEED) {
        seeds_.erase(slot.pid);
    }
    slot.state = FREE;
    strings.release(slot.string);
    slot.string = 0;
    const uint32_t parent = slot.parent;
    slot.parent = 0;
    free_slots_.push_back(number);
    used_--;
    if (parent != 0) {
        unrefer(parent);
    }
}

void ProcessTable::unrefer(uint32_t number) {
    Slot &slot = slots_[number];
    if (--slot.children > 0) {
        return;
    }
    if (slot.state == REPLACED || (slot.state == EXITED && slot.queued == 0)) {
        leave(number);
    }
}

// Frees a slot at the end of the batch: its entry may have been promised to a record already.
void ProcessTable::leave(uint32_t number) {
    if (slots_[number].queued == 2) {
        return;
    }
    slots_[number].queued = 2;
    leaving_.push_back(number);
}

void ProcessTable::enqueue(uint32_t number) {
    exited_[(exited_head_ + exited_count_) % processes_max_] = number;
    exited_count_++;
    slots_[number].queued = 1;
}

uint32_t ProcessTable::dequeue() {
    const uint32_t number = exited_[exited_head_];
    exited_head_ = (exited_head_ + 1) % processes_max_;
    exited_count_--;
    if (slots_[number].queued == 1) {
        slots_[number].queued = 0;
    }
    return number;
}

void ProcessTable::endBatch() {
    while (!leaving_.empty()) {
        const uint32_t number = leaving_.back();
        leaving_.pop_back();
        Slot &slot = slots_[number];
        // A late child may have come to refer to it.
        if (slot.queued != 2) {
            continue;
        }
        slot.queued = 0;
        if (slot.children == 0) {
            free(number);
        }
    }
    while (exited_count_ > exited_max_) {
        const uint32_t number = dequeue();
        if (slots_[number].state == EXITED && slots_[number].children == 0) {
            free(number);
        }
    }
    batch = batch == UINT32_MAX ? 1 : batch + 1;
}

void ProcessTable::adoptParent(uint32_t number, uint32_t parent) {
    slots_[number].parent = parent;
    slots_[parent].children++;
    weir_process_entry &image = images_[number];
    const weir_process_entry &from = images_[parent];
    image.parent_pid = from.pid;
    image.parent_start_ns = from.start_ns;
    image.parent_exec_ns = from.exec_ns;
}

uint32_t ProcessTable::add(uint32_t pid, uint64_t start) {
    const uint32_t number = take();
    if (number == 0) {
        return 0;
    }
    Slot &slot = slots_[number];
    slot.pid = pid;
    slot.start = start;
    slot.state = CURRENT;
    weir_process_entry &image = images_[number];
    image.pid = pid;
    image.start_ns = start;
    setExec(number, start);
    link(number);
    return number;
}

uint32_t ProcessTable::replace(uint32_t previous) {
    pinned_ = previous;
    const uint32_t number = take();
    pinned_ = 0;
    if (number == 0) {
        return 0;
    }
    Slot &slot = slots_[number];
    Slot &before = slots_[previous];
    slot.pid = before.pid;
    slot.start = before.start;
    weir_process_entry &image = images_[number];
    const weir_process_entry &from = images_[previous];
    image.pid = from.pid;
    image.start_ns = from.start_ns;
    image.parent_pid = from.parent_pid;
    image.parent_start_ns = from.parent_start_ns;
    image.parent_exec_ns = from.parent_exec_ns;
    slot.parent = before.parent;
    if (slot.parent != 0) {
        slots_[slot.parent].children++;
    }
    unlink(previous);
    before.state = REPLACED;
    if (before.children == 0) {
        leave(previous);
    }
    slot.state = CURRENT;
    link(number);
    return number;
}

uint32_t ProcessTable::replaceUnseen(uint32_t previous, uint64_t exec) {
    const uint32_t number = replace(previous);
    if (number == 0) {
        return 0;
    }
    // Who it is hardly changes with its program; which file that is, and what it was given, is not known.
    weir_process_entry &image = images_[number];
    const weir_process_entry &from = images_[previous];
    constexpr size_t first = offsetof(weir_process_entry, cgroup_id);
    memcpy(reinterpret_cast<char *>(&image) + first, reinterpret_cast<const char *>(&from) + first,
           offsetof(weir_process_entry, exec_flags) - first);
    image.exec_flags = WEIR_EXEC_FLAG_EXECVE;
    setExec(number, exec);
    return number;
}

bool ProcessTable::isSeedOf(uint32_t number, uint64_t exec) const {
    return (images_[number].exec_flags & WEIR_EXEC_FLAG_PROCFS) != 0 &&
           slots_[number].exec == slots_[number].start && exec < seeded_ns_;
}

void ProcessTable::setExec(uint32_t number, uint64_t exec) {
    slots_[number].exec = exec;
    images_[number].exec_ns = exec;
}

void ProcessTable::setParent(uint32_t number, uint32_t pid, uint64_t start) {
    const uint32_t parent = pid == 0 ? 0 : find(pid, start);
    if (parent != 0 && parent != number) {
        adoptParent(number, parent);
        return;
    }
    images_[number].parent_pid = pid;
    images_[number].parent_start_ns = start;
}

void ProcessTable::inherit(uint32_t number) {
    Slot &slot = slots_[number];
    if (slot.parent == 0) {
        return;
    }
    weir_process_entry &image = images_[number];
    const weir_process_entry &from = images_[slot.parent];
    // All that lies behind the identities: cgroup, credentials and the spans.
    constexpr size_t behind = offsetof(weir_process_entry, cgroup_id);
    memcpy(reinterpret_cast<char *>(&image) + behind, reinterpret_cast<const char *>(&from) + behind,
           sizeof(image) - behind);
    constexpr uint32_t kept = WEIR_EXEC_FLAG_ROOTCWD | WEIR_EXEC_FLAG_TRUNCATED_BINARY |
                              WEIR_EXEC_FLAG_TRUNCATED_ARGUMENTS | WEIR_EXEC_FLAG_TRUNCATED_CWD |
                              WEIR_EXEC_FLAG_UNLINKED | WEIR_EXEC_FLAG_MEMFD | WEIR_EXEC_FLAG_IN_INIT_TREE |
                              WEIR_EXEC_FLAG_UNREADABLE_ARGUMENTS;
    image.exec_flags = (from.exec_flags & kept) | WEIR_EXEC_FLAG_CLONE;
    slot.string = strings.share(slots_[slot.parent].string);
}

void ProcessTable::exit(uint32_t number) {
    Slot &slot = slots_[number];
    if (slot.state != CURRENT) {
        return;
    }
    slot.state = EXITED;
    images_[number].exec_flags |= WEIR_EXEC_FLAG_EXITED;
    if (exited_count_ == processes_max_) {
        const uint32_t oldest = dequeue();
        if (slots_[oldest].state == EXITED && slots_[oldest].children == 0) {
            leave(oldest);
        }
    }
    enqueue(number);
}

uint32_t ProcessTable::seed(uint32_t pid, uint64_t start_ticks) {
    if (seeds_.count(pid) != 0) {
        return 0;
    }
    if (seeded_ns_ == 0) {
        timespec now{};
        clock_gettime(CLOCK_BOOTTIME, &now);
        seeded_ns_ = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
    }
    const uint32_t number = take();
    if (number == 0) {
        return 0;
    }
    Slot &slot = slots_[number];
    slot.pid = pid;
    slot.start = start_ticks * NS_PER_TICK;
    slot.state = SEED;
    weir_process_entry &image = images_[number];
    image.pid = pid;
    image.start_ns = slot.start;
    setExec(number, slot.start);
    image.exec_flags = WEIR_EXEC_FLAG_PROCFS;
    seeds_[pid] = number;
    return number;
}

uint32_t ProcessTable::seedOf(uint32_t pid) const {
    const auto found = seeds_.find(pid);
    return found == seeds_.end() ? 0 : found->second;
}

void ProcessTable::linkSeeds(uint32_t child, uint32_t parent) {
    if (parent != 0 && child != 0 && child != parent && slots_[child].parent == 0 &&
        slots_[parent].start <= slots_[child].start) {
        adoptParent(child, parent);
    }
}

} // namespace weir
