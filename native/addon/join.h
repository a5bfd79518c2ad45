// SPDX-License-Identifier: Apache-2.0
// Owns the join: records become a batch. Each record gets the numbers of its process, its parent and its
// binding, and each of these is laid into the batch once.
//
// Two passes. The first takes the records in order, from the ring straight into the batch, brings the process
// table up to date, and gives out the numbers; the sizes are known after it. The second lays the entries and
// their strings down behind the records, without a gap. A record that does not fit stays in the ring.
//
// Hot: budget 150 ns a record, for 70 % hook records, 20 % execs, 10 % exits over 5,000 processes. What
// counts there is how often memory is waited for: a record is worked on while it is in the cache from its
// copy, and what the next two need of the table is fetched meanwhile.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common.h"
#include "process_table.h"

namespace weir {

// The process table as JavaScript holds it.
class Table : public Napi::ObjectWrap<Table> {
  public:
    static void define(Napi::Env env, Instance &instance);
    explicit Table(const Napi::CallbackInfo &info);
    static Table *from(Napi::Env env, Napi::Value value);
    ProcessTable &table() {
        return table_;
    }

  private:
    friend Napi::Value openTable(const Napi::CallbackInfo &info);
    Napi::Value seed(const Napi::CallbackInfo &info);
    Napi::Value seedOf(const Napi::CallbackInfo &info);
    void linkSeeds(const Napi::CallbackInfo &info);
    Napi::Value setStrings(const Napi::CallbackInfo &info);
    Napi::Value stringsAt(const Napi::CallbackInfo &info);
    Napi::Value state(const Napi::CallbackInfo &info);
    void numbers(const Napi::CallbackInfo &info);
    uint32_t slotOf(const Napi::CallbackInfo &info) const;

    ProcessTable table_;
    // Keep the memory that the table works on.
    Napi::Reference<Napi::Value> images_;
    Napi::Reference<Napi::Value> arena_;
};

class Join : public Napi::ObjectWrap<Join> {
  public:
    static void define(Napi::Env env, Instance &instance);
    explicit Join(const Napi::CallbackInfo &info);
    static Join *from(Napi::Env env, Napi::Value value);

    // UNUSABLE: no batch takes it, for it is no record or has no room in any. FAILED: an exception is
    // pending.
    enum class Taken { TAKEN, FULL, UNUSABLE, FAILED };
    // Puts a record behind those that the batch has.
    Taken take(const char *record, uint32_t bytes);
    // A batch is begun, and JavaScript is not being asked in the middle of a record.
    bool begun() const {
        return data_ != nullptr && !asking_;
    }
    // Fetches what `take` will need of the table for a record, each step what the one before led to.
    static constexpr uint32_t PREFETCH_STEPS = 4;
    void prefetch(const char *record, uint32_t step) const {
        const auto *header = reinterpret_cast<const weir_record_header *>(record);
        if (step == 0) {
            table_->prefetchHead(header->pid, header->start_ns);
            return;
        }
        const uint32_t first = table_->first(header->pid, header->start_ns);
        const ProcessTable::Slot &slot = table_->slot(first);
        if (step == 1) {
            __builtin_prefetch(&slot);
        } else if (step == 2) {
            __builtin_prefetch(&table_->slot(slot.parent));
            __builtin_prefetch(&table_->strings.piece(slot.string));
            if (header->kind == WEIR_EVENT_KIND_EXEC || header->kind == WEIR_EVENT_KIND_EXIT) {
                // The identity, and the flags.
                __builtin_prefetch(&table_->image(first));
                __builtin_prefetch(&table_->image(first).exec_flags);
            }
        } else {
            __builtin_prefetch(&table_->strings.piece(table_->slot(slot.parent).string));
        }
    }

  private:
    friend Napi::Value openJoin(const Napi::CallbackInfo &info);
    void begin(const Napi::CallbackInfo &info);
    Napi::Value add(const Napi::CallbackInfo &info);
    void measure(const Napi::CallbackInfo &info);
    Napi::Value lay(const Napi::CallbackInfo &info);

    uint32_t list(uint32_t slot);
    bool bind(uint32_t id, weir_hook_record &record);
    uint32_t exec(const weir_exec_record &record, uint32_t size, uint32_t found);
    uint32_t clone(const weir_clone_record &record, uint32_t size, uint32_t found);
    void moveToContainer(const weir_clone_record &record, uint32_t size, uint32_t slot);
    weir_span spanOf(const weir_span &span, uint32_t size);
    uint64_t layProcesses(uint64_t processes_at, uint64_t strings_at);
    uint64_t layUser(weir_process_entry &entry, uint64_t end);

    ProcessTable *table_ = nullptr;
    Napi::ObjectReference table_object_;
    uint32_t ancestors_ = 0;
    uint64_t bytes_max_ = 0;
    uint64_t reserve_bytes_ = 0;
    uint32_t records_max_ = 0;
    uint32_t binding_numbers_ = 0;
    uint32_t cpus_ = 0;
    // Arrays that JavaScript shares, and what keeps them.
    const uint32_t *direct_ = nullptr;
    uint32_t direct_count_ = 0;
    const uint32_t *binding_bytes_ = nullptr;
    uint32_t *bound_ = nullptr;
    double *next_ = nullptr;
    double *handled_ = nullptr;
    double *handled_in_batch_ = nullptr;
    std::vector<Napi::Reference<Napi::Value>> kept_;
    Napi::FunctionReference number_of_;

    bool asking_ = false;

    // The batch that is made.
    char *data_ = nullptr;
    Napi::Reference<Napi::Value> slot_;
    uint64_t end_ = 0;
    std::unique_ptr<uint32_t[]> offsets_;
    uint32_t taken_ = 0;
    // Records that only brought the table up to date.
    uint32_t withheld_ = 0;
    std::vector<uint32_t> listed_;
    uint64_t string_bytes_ = 0;
    uint32_t bound_count_ = 0;
    uint64_t bound_bytes_ = 0;
    std::vector<uint32_t> binding_stamp_;
    std::vector<uint32_t> binding_index_;
    // The last binding that was not known, so that it is asked for once a batch.
    uint32_t unknown_id_ = 0;
    uint32_t unknown_stamp_ = 0;
    struct PlacedUser {
        uint32_t uid;
        uint32_t at;
        uint32_t length;
    };
    std::vector<PlacedUser> users_;
    std::unordered_map<uint32_t, std::string> names_;

    uint64_t orphans_ = 0;
    uint64_t malformed_ = 0;
    uint64_t unbound_ = 0;
    uint64_t strange_ = 0;
};

Napi::Value openTable(const Napi::CallbackInfo &info);
Napi::Value openJoin(const Napi::CallbackInfo &info);

} // namespace weir
