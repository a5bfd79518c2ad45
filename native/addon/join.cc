// SPDX-License-Identifier: Apache-2.0
#include "join.h"

#include <algorithm>
#include <cstring>

namespace weir {

namespace {

constexpr uint32_t HEADER_BYTES = sizeof(weir_batch_header);
constexpr uint32_t ENTRY_BYTES = sizeof(weir_process_entry);
constexpr uint32_t BINDING_BYTES = sizeof(weir_binding_entry);
// Numbers its records itself.
constexpr uint32_t AGENT_CPU = UINT32_MAX;
constexpr uint32_t CONTAINER_ID_BYTES = 64;
// Users whose names are laid into one batch, and the room of a name.
constexpr size_t USERS_MAX = 256;
constexpr uint32_t USER_NAME_BYTES_MAX = 64;
constexpr uint32_t ANCESTORS_MAX = 16;
// Entries whose bytes are fetched before they are laid.
constexpr size_t AHEAD = 8;
// How far ahead of the records the batch's memory is asked for.
constexpr size_t WRITE_AHEAD = 1024;

uint64_t roundUp8(uint64_t value) {
    return (value + 7) & ~uint64_t{7};
}

bool isHook(uint32_t kind) {
    switch (kind) {
    case WEIR_EVENT_KIND_KPROBE:
    case WEIR_EVENT_KIND_TRACEPOINT:
    case WEIR_EVENT_KIND_LOADER:
    case WEIR_EVENT_KIND_UPROBE:
    case WEIR_EVENT_KIND_LSM:
    case WEIR_EVENT_KIND_USDT:
        return true;
    default:
        return false;
    }
}

// Where a container's id begins in a cgroup name: `<64 hex>`, or `<runtime>-<64 hex>.scope` for the runtimes
// known; -1 where the name is none of a container.
int64_t containerIdAt(const char *name, uint32_t length) {
    static constexpr const char *PREFIXES[] = {"docker-", "cri-containerd-", "crio-",
                                               "libpod-", "containerd-",     "nerdctl-"};
    static constexpr char SCOPE[] = ".scope";
    constexpr uint32_t scope_length = sizeof(SCOPE) - 1;
    int64_t at = -1;
    if (length == CONTAINER_ID_BYTES) {
        at = 0;
    } else if (length > CONTAINER_ID_BYTES + scope_length &&
               memcmp(name + length - scope_length, SCOPE, scope_length) == 0) {
        const uint32_t before = length - scope_length - CONTAINER_ID_BYTES;
        for (const char *prefix : PREFIXES) {
            if (strlen(prefix) == before && memcmp(name, prefix, before) == 0) {
                at = before;
            }
        }
    }
    if (at < 0) {
        return -1;
    }
    const auto isHex = [](char byte) { return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f'); };
    return std::all_of(name + at, name + at + CONTAINER_ID_BYTES, isHex) ? at : -1;
}

const napi_type_tag JOIN_TAG = {0x776569726a6f696e, 0x1};

} // namespace

void Join::define(Napi::Env env, Instance &instance) {
    instance.join = Napi::Persistent(
        DefineClass(env, "Join",
                    {InstanceMethod<&Join::begin>("begin"), InstanceMethod<&Join::add>("add"),
                     InstanceMethod<&Join::measure>("measure"), InstanceMethod<&Join::lay>("lay")}));
}

Join::Join(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Join>(info) {
    info.This().As<Napi::Object>().TypeTag(&JOIN_TAG);
}

Join *Join::from(Napi::Env env, Napi::Value value) {
    if (value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&JOIN_TAG)) {
        return Join::Unwrap(value.As<Napi::Object>());
    }
    throwError(env, "BAD_ARGUMENT", "a join is needed", 0);
    return nullptr;
}

// openJoin(table, { ancestors, recordsMax, batchBytesMax, trailerBytes, direct, bindingBytes, bound,
// numberOf, next, handled, handledInBatch, userIds, userEnds, userNames })
Napi::Value openJoin(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Table *table = Table::from(env, info[0]);
    if (table == nullptr) {
        return env.Undefined();
    }
    if (!info[1].IsObject()) {
        throwError(env, "BAD_ARGUMENT", "options are needed", 0);
        return env.Undefined();
    }
    const Napi::Object options = info[1].As<Napi::Object>();
    const auto number = [&](const char *name) {
        return static_cast<uint64_t>(std::max<int64_t>(0, options.Get(name).ToNumber().Int64Value()));
    };
    Napi::Object object = instanceOf(env).join.New({});
    Join &join = *Join::Unwrap(object);
    View direct;
    View binding_bytes;
    View bound;
    View next;
    View handled;
    View in_batch;
    View user_ids;
    View user_ends;
    View user_names;
    join.records_max_ = static_cast<uint32_t>(number("recordsMax"));
    join.bytes_max_ = number("batchBytesMax") & ~uint64_t{7};
    join.ancestors_ = std::min(static_cast<uint32_t>(number("ancestors")), ANCESTORS_MAX);
    if (join.bytes_max_ > UINT32_MAX || join.records_max_ == 0 || join.records_max_ > (1U << 24)) {
        throwError(env, "BAD_ARGUMENT", "the bounds of a batch are out of range", 0);
        return env.Undefined();
    }
    if (!wordsOf(options.Get("direct"), 1, env, "direct", direct) ||
        !wordsOf(options.Get("bindingBytes"), 1, env, "bindingBytes", binding_bytes) ||
        !wordsOf(options.Get("bound"), binding_bytes.length, env, "bound", bound) ||
        !doublesOf(options.Get("next"), 1, env, "next", next) ||
        !doublesOf(options.Get("handled"), next.length, env, "handled", handled) ||
        !doublesOf(options.Get("handledInBatch"), next.length, env, "handledInBatch", in_batch) ||
        !wordsOf(options.Get("userIds"), 0, env, "userIds", user_ids) ||
        !wordsOf(options.Get("userEnds"), user_ids.length, env, "userEnds", user_ends) ||
        !bytesOf(env, options.Get("userNames"), "userNames", user_names)) {
        return env.Undefined();
    }
    if (!options.Get("numberOf").IsFunction()) {
        throwError(env, "BAD_ARGUMENT", "numberOf is not a function", 0);
        return env.Undefined();
    }
    const auto *ends = static_cast<const uint32_t *>(user_ends.data);
    for (size_t index = 0, from = 0; index < user_ids.length; from = ends[index++]) {
        if (ends[index] < from || ends[index] > user_names.bytes) {
            throwError(env, "BAD_ARGUMENT", "userEnds leave userNames", 0);
            return env.Undefined();
        }
        const size_t length = std::min<size_t>(ends[index] - from, USER_NAME_BYTES_MAX - 4);
        join.names_.emplace(static_cast<const uint32_t *>(user_ids.data)[index],
                            std::string(static_cast<const char *>(user_names.data) + from, length));
    }
    for (const char *name : {"direct", "bindingBytes", "bound", "next", "handled", "handledInBatch"}) {
        join.kept_.push_back(Napi::Reference<Napi::Value>::New(options.Get(name), 1));
    }
    join.table_ = &table->table();
    join.table_object_ = Napi::Persistent(info[0].As<Napi::Object>());
    join.number_of_ = Napi::Persistent(options.Get("numberOf").As<Napi::Function>());
    join.direct_ = static_cast<const uint32_t *>(direct.data);
    join.direct_count_ = static_cast<uint32_t>(direct.length);
    join.binding_bytes_ = static_cast<const uint32_t *>(binding_bytes.data);
    join.binding_numbers_ = static_cast<uint32_t>(binding_bytes.length);
    join.bound_ = static_cast<uint32_t *>(bound.data);
    join.next_ = static_cast<double *>(next.data);
    join.handled_ = static_cast<double *>(handled.data);
    join.handled_in_batch_ = static_cast<double *>(in_batch.data);
    join.cpus_ = static_cast<uint32_t>(next.length);
    join.binding_stamp_.resize(join.binding_numbers_);
    join.binding_index_.resize(join.binding_numbers_);
    join.offsets_ = std::unique_ptr<uint32_t[]>(new uint32_t[join.records_max_]);
    // What one more record may add at the most, and what every batch ends with.
    join.reserve_bytes_ = (2 + uint64_t{join.ancestors_}) * (ENTRY_BYTES + Strings::BYTES_MAX) +
                          USERS_MAX * USER_NAME_BYTES_MAX + number("trailerBytes") + BINDING_BYTES + 64;
    return object;
}

// begin(slot): the batch is made in these bytes.
void Join::begin(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View slot;
    if (asking_) {
        throwError(env, "BAD_STATE", "a record is being taken", 0);
        return;
    }
    if (!bytesOf(env, info[0], "slot", slot)) {
        return;
    }
    if (slot.bytes < bytes_max_ || reinterpret_cast<uintptr_t>(slot.data) % 8 != 0) {
        throwError(env, "BAD_ARGUMENT",
                   "slot has " + std::to_string(slot.bytes) + " bytes; " + std::to_string(bytes_max_) +
                       " are needed, from a multiple of 8 on",
                   0);
        return;
    }
    slot_ = Napi::Reference<Napi::Value>::New(info[0], 1);
    data_ = static_cast<char *>(slot.data);
    end_ = HEADER_BYTES;
    taken_ = 0;
    withheld_ = 0;
    listed_.clear();
    string_bytes_ = 0;
    bound_count_ = 0;
    bound_bytes_ = 0;
    users_.clear();
    std::fill(handled_in_batch_, handled_in_batch_ + cpus_, 0.0);
}

Join::Taken Join::take(const char *record, uint32_t bytes) {
    const uint64_t padded = roundUp8(bytes);
    const uint64_t used = end_ + uint64_t{taken_} * 4 + listed_.size() * ENTRY_BYTES + string_bytes_ +
                          uint64_t{bound_count_} * BINDING_BYTES + bound_bytes_;
    if (bytes < sizeof(weir_record_header)) {
        malformed_++;
        return Taken::UNUSABLE;
    }
    if (taken_ == records_max_ || used + padded + 4 + reserve_bytes_ > bytes_max_) {
        return HEADER_BYTES + padded + 4 + reserve_bytes_ > bytes_max_ ? Taken::UNUSABLE : Taken::FULL;
    }
    char *to = data_ + end_;
    // The batch's memory was another thread's last: it is asked for before it is written to.
    for (uint64_t ahead = 0; ahead < padded; ahead += 64) {
        __builtin_prefetch(to + WRITE_AHEAD + ahead, 1);
    }
    memcpy(to, record, bytes);
    memset(to + bytes, 0, padded - bytes);
    // What is read is read from the source: the copy has to wait for its memory.
    const auto &from = *reinterpret_cast<const weir_record_header *>(record);
    auto &header = *reinterpret_cast<weir_record_header *>(to);
    // What is withheld has no place in the batch: the next record is laid over it.
    const bool withheld = (from.flags & WEIR_RECORD_FLAG_WITHHELD) != 0;
    if (withheld) {
        withheld_++;
    } else {
        offsets_[taken_++] = static_cast<uint32_t>(end_);
        end_ += padded;
    }
    const uint32_t cpu = from.cpu;
    if (cpu < cpus_) {
        const double sequence = static_cast<double>(from.sequence);
        if (sequence >= next_[cpu]) {
            next_[cpu] = sequence + 1;
        }
        handled_[cpu]++;
        handled_in_batch_[cpu]++;
    } else if (cpu != AGENT_CPU) {
        strange_++;
    }
    if (from.size != padded) {
        malformed_++;
        header.size = static_cast<uint32_t>(padded);
    }
    const uint32_t pid = from.pid;
    if (pid == 0) {
        return Taken::TAKEN;
    }
    const uint32_t kind = from.kind;
    const bool hook = isHook(kind);
    const uint64_t least = kind == WEIR_EVENT_KIND_EXEC    ? sizeof(weir_exec_record)
                           : kind == WEIR_EVENT_KIND_CLONE ? sizeof(weir_clone_record)
                           : hook                          ? sizeof(weir_hook_record)
                                                           : sizeof(weir_record_header);
    if (bytes < least) {
        malformed_++;
        return Taken::TAKEN;
    }
    uint32_t slot = table_->find(pid, from.start_ns);
    if (kind == WEIR_EVENT_KIND_EXEC) {
        slot = exec(*reinterpret_cast<const weir_exec_record *>(record), bytes, slot);
    } else if (kind == WEIR_EVENT_KIND_CLONE) {
        slot = clone(*reinterpret_cast<const weir_clone_record *>(record), bytes, slot);
    } else if (slot == 0) {
        orphans_++;
        header.flags = from.flags | WEIR_RECORD_FLAG_ORPHAN;
        slot = table_->add(pid, from.start_ns);
        if (slot != 0 && from.exec_ns != 0) {
            table_->setExec(slot, from.exec_ns);
        }
    } else if (from.exec_ns > table_->slot(slot).exec) {
        if (table_->isSeedOf(slot, from.exec_ns)) {
            table_->setExec(slot, from.exec_ns);
        } else {
            // The record of its exec was lost: the program that the table has is not the one that did this.
            orphans_++;
            header.flags = from.flags | WEIR_RECORD_FLAG_ORPHAN;
            slot = table_->replaceUnseen(slot, from.exec_ns);
        }
    }
    if (withheld) {
        if (slot != 0 && kind == WEIR_EVENT_KIND_EXIT) {
            table_->exit(slot);
        }
        return Taken::TAKEN;
    }
    if (slot != 0) {
        header.process_index = 1 + list(slot);
        const uint32_t parent = table_->slot(slot).parent;
        // A parent that is not listed (no ancestors were asked for) has the number of an earlier batch, if
        // any.
        const bool listed = parent != 0 && table_->slot(parent).stamp == table_->batch;
        header.parent_index = listed ? 1 + table_->slot(parent).index : 0;
        if (kind == WEIR_EVENT_KIND_EXIT) {
            table_->exit(slot);
        }
    }
    if (hook && !bind(reinterpret_cast<const weir_hook_record *>(record)->binding_id,
                      *reinterpret_cast<weir_hook_record *>(to))) {
        return Taken::FAILED;
    }
    return Taken::TAKEN;
}

// Gives a process its number in the batch, and its ancestors theirs.
uint32_t Join::list(uint32_t slot) {
    const uint32_t batch = table_->batch;
    uint32_t current = slot;
    for (uint32_t generation = 0; current != 0 && generation <= ancestors_; generation++) {
        ProcessTable::Slot &one = table_->slot(current);
        // A process that is there as another's ancestor may lack its own.
        if (one.stamp != batch) {
            one.stamp = batch;
            one.index = static_cast<uint32_t>(listed_.size());
            listed_.push_back(current);
            if (one.string != 0) {
                Strings::Piece &piece = table_->strings.piece(one.string);
                if (piece.stamp != batch) {
                    piece.stamp = batch;
                    piece.placed = 0;
                    string_bytes_ += piece.bytes + 4;
                }
            }
        }
        current = one.parent;
    }
    return table_->slot(slot).index;
}

// Gives a hook record the number of its binding. False: an exception is pending.
bool Join::bind(uint32_t id, weir_hook_record &record) {
    record.binding_index = 0;
    uint32_t number = id < direct_count_ ? direct_[id] : 0;
    if (number == 0 && unknown_id_ == id && unknown_stamp_ == table_->batch) {
        unbound_++;
        return true;
    }
    if (number == 0) {
        Napi::Env env = Env();
        Napi::HandleScope scope(env);
        asking_ = true;
        const Napi::Value answer = number_of_.Call({Napi::Number::New(env, id)});
        asking_ = false;
        if (env.IsExceptionPending()) {
            return false;
        }
        number = answer.ToNumber().Uint32Value();
        if (number == 0) {
            unknown_id_ = id;
            unknown_stamp_ = table_->batch;
        }
    }
    if (number == 0 || number >= binding_numbers_) {
        unbound_++;
        return true;
    }
    if (binding_stamp_[number] != table_->batch) {
        binding_stamp_[number] = table_->batch;
        binding_index_[number] = bound_count_;
        bound_[bound_count_++] = number;
        bound_bytes_ += binding_bytes_[number];
    }
    record.binding_index = 1 + binding_index_[number];
    return true;
}

// A span of an exec record as the span of an image; one that leaves the record is left empty.
weir_span Join::spanOf(const weir_span &span, uint32_t size) {
    if (span.length == 0) {
        return {};
    }
    if (span.offset < sizeof(weir_exec_record) || uint64_t{span.offset} + span.length > size) {
        malformed_++;
        return {};
    }
    return {span.offset - static_cast<uint32_t>(sizeof(weir_exec_record)), span.length};
}

uint32_t Join::exec(const weir_exec_record &record, uint32_t size, uint32_t found) {
    const uint32_t number = found != 0 ? table_->replace(found) : table_->add(record.pid, record.start_ns);
    if (number == 0) {
        return 0;
    }
    ProcessTable::Slot &slot = table_->slot(number);
    if (slot.parent == 0) {
        table_->setParent(number, record.parent_pid, record.parent_start_ns);
    }
    weir_process_entry &image = table_->image(number);
    // The first program of a process that a fork made: its flags say both.
    const bool first = found != 0 && (table_->image(found).exec_flags &
                                      (WEIR_EXEC_FLAG_CLONE | WEIR_EXEC_FLAG_EXECVE)) == WEIR_EXEC_FLAG_CLONE;
    table_->setExec(number, record.time_ns);
    image.cgroup_id = record.cgroup_id;
    // The identity is laid out alike in both.
    constexpr size_t identity =
        offsetof(weir_process_entry, reference_count) - offsetof(weir_process_entry, uid);
    static_assert(offsetof(weir_exec_record, binary) - offsetof(weir_exec_record, uid) == identity,
                  "an exec record and a process entry have the same identity");
    memcpy(&image.uid, &record.uid, identity);
    if (first) {
        image.exec_flags |= WEIR_EXEC_FLAG_CLONE;
    }
    if (size == sizeof(record)) {
        return number;
    }
    const uint32_t string = table_->takeString(size - sizeof(record));
    if (string == 0) {
        image.exec_flags |= WEIR_EXEC_FLAG_TRUNCATED_BINARY | WEIR_EXEC_FLAG_TRUNCATED_ARGUMENTS |
                            WEIR_EXEC_FLAG_TRUNCATED_CWD;
        return number;
    }
    slot.string = string;
    memcpy(table_->strings.at(string), &record + 1, size - sizeof(record));
    image.binary = spanOf(record.binary, size);
    image.arguments = spanOf(record.arguments, size);
    image.cwd = spanOf(record.cwd, size);
    image.environment = spanOf(record.environment, size);
    const weir_span name = record.cgroup_name;
    if (name.length >= CONTAINER_ID_BYTES && name.offset >= sizeof(record) &&
        uint64_t{name.offset} + name.length <= size) {
        const int64_t at = containerIdAt(reinterpret_cast<const char *>(&record) + name.offset, name.length);
        if (at >= 0) {
            image.container_id = {name.offset + static_cast<uint32_t>(at - sizeof(record)),
                                  CONTAINER_ID_BYTES};
        }
    }
    return number;
}

uint32_t Join::clone(const weir_clone_record &record, uint32_t size, uint32_t found) {
    // It can be there already: /proc showed it before its event came.
    if (found != 0 && table_->slot(found).parent != 0) {
        return found;
    }
    const uint32_t number = found != 0 ? found : table_->add(record.pid, record.start_ns);
    if (number == 0) {
        return 0;
    }
    table_->setParent(number, record.parent_pid, record.parent_start_ns);
    if (found != 0) {
        return number;
    }
    table_->inherit(number);
    weir_process_entry &image = table_->image(number);
    const bool moved = image.cgroup_id != record.cgroup_id;
    image.cgroup_id = record.cgroup_id;
    memcpy(image.namespaces, record.namespaces, sizeof(image.namespaces));
    image.namespace_pid = record.namespace_pid;
    if (moved) {
        moveToContainer(record, size, number);
    }
    return number;
}

// A child that was made into another cgroup than its parent's: strings of its own, with its own container.
void Join::moveToContainer(const weir_clone_record &record, uint32_t size, uint32_t number) {
    ProcessTable::Slot &slot = table_->slot(number);
    weir_process_entry &image = table_->image(number);
    image.container_id = {};
    const weir_span name = record.cgroup_name;
    if (name.length < CONTAINER_ID_BYTES || uint64_t{name.offset} + name.length > size) {
        return;
    }
    const char *text = reinterpret_cast<const char *>(&record) + name.offset;
    const int64_t at = containerIdAt(text, name.length);
    if (at < 0) {
        return;
    }
    Strings &strings = table_->strings;
    const uint32_t shared = slot.string;
    const uint32_t shared_bytes = shared == 0 ? 0 : strings.piece(shared).bytes;
    const uint32_t own = table_->takeString(uint64_t{shared_bytes} + CONTAINER_ID_BYTES);
    if (own == 0) {
        return;
    }
    if (shared_bytes > 0) {
        memcpy(strings.at(own), strings.at(shared), shared_bytes);
    }
    memcpy(strings.at(own) + shared_bytes, text + at, CONTAINER_ID_BYTES);
    strings.release(shared);
    slot.string = own;
    image.container_id = {shared_bytes, CONTAINER_ID_BYTES};
}

// add(record): 0 where it is in the batch, 1 where that is full, 2 where no batch has room for it.
Napi::Value Join::add(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View record;
    if (!bytesOf(env, info[0], "record", record)) {
        return env.Undefined();
    }
    if (reinterpret_cast<uintptr_t>(record.data) % 8 != 0) {
        throwError(env, "BAD_ARGUMENT", "record does not begin on a multiple of 8", 0);
        return env.Undefined();
    }
    if (!begun() || record.bytes > UINT32_MAX / 2) {
        throwError(env, "BAD_STATE", "no batch has been begun", 0);
        return env.Undefined();
    }
    const Taken taken = take(static_cast<const char *>(record.data), static_cast<uint32_t>(record.bytes));
    return Napi::Number::New(env, static_cast<int>(taken));
}

// measure(Float64Array of 10): records, where they end, process entries, bindings, their bytes; then
// counters.
void Join::measure(const Napi::CallbackInfo &info) {
    View view;
    if (!doublesOf(info[0], 10, info.Env(), "numbers", view)) {
        return;
    }
    auto *numbers = static_cast<double *>(view.data);
    numbers[0] = taken_;
    numbers[1] = static_cast<double>(end_);
    numbers[2] = static_cast<double>(listed_.size());
    numbers[3] = bound_count_;
    numbers[4] = static_cast<double>(bound_bytes_);
    numbers[5] = static_cast<double>(orphans_);
    numbers[6] = static_cast<double>(malformed_);
    numbers[7] = static_cast<double>(unbound_);
    numbers[8] = static_cast<double>(strange_);
    numbers[9] = withheld_;
}

// lay(stringsAt): lays offsets behind the records, the process entries behind these, and their strings from
// `stringsAt` on, which lies behind the entries of the bindings and their strings. Answers where all ends.
Napi::Value Join::lay(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const int64_t strings_at = info[0].ToNumber().Int64Value();
    const uint64_t offsets_bytes = uint64_t{taken_} * 4;
    const uint64_t processes_at = roundUp8(end_ + offsets_bytes);
    const uint64_t behind = processes_at + listed_.size() * ENTRY_BYTES;
    if (!begun() || strings_at < static_cast<int64_t>(behind) ||
        static_cast<uint64_t>(strings_at) + string_bytes_ + USERS_MAX * USER_NAME_BYTES_MAX + 4 >
            bytes_max_) {
        throwError(env, "BAD_ARGUMENT", "the strings of the entries do not fit there", 0);
        return env.Undefined();
    }
    memcpy(data_ + end_, offsets_.get(), offsets_bytes);
    memset(data_ + end_ + offsets_bytes, 0, processes_at - end_ - offsets_bytes);
    const uint64_t end = layProcesses(processes_at, static_cast<uint64_t>(strings_at));
    data_ = nullptr;
    table_->endBatch();
    return Napi::Number::New(env, static_cast<double>(end));
}

uint64_t Join::layProcesses(uint64_t processes_at, uint64_t strings_at) {
    Strings &strings = table_->strings;
    const uint32_t batch = table_->batch;
    uint64_t end = (strings_at + 3) & ~uint64_t{3};
    memset(data_ + strings_at, 0, end - strings_at);
    auto *entries = reinterpret_cast<weir_process_entry *>(data_ + processes_at);
    const size_t count = listed_.size();
    for (size_t index = 0; index < count; index++) {
        if (index + 2 * AHEAD < count) {
            __builtin_prefetch(&strings.piece(table_->slot(listed_[index + 2 * AHEAD]).string));
        }
        if (index + AHEAD < count) {
            const uint32_t ahead = listed_[index + AHEAD];
            const char *image = reinterpret_cast<const char *>(&table_->image(ahead));
            for (size_t at = 0; at < ENTRY_BYTES; at += 64) {
                __builtin_prefetch(image + at);
            }
            const Strings::Piece &piece = strings.piece(table_->slot(ahead).string);
            const char *text = strings.at(table_->slot(ahead).string);
            for (size_t at = 0; at < std::min<size_t>(piece.bytes, 512); at += 64) {
                __builtin_prefetch(text + at);
            }
        }
        const ProcessTable::Slot &slot = table_->slot(listed_[index]);
        weir_process_entry &entry = entries[index];
        entry = table_->image(listed_[index]);
        entry.reference_count = 1 + slot.children;
        entry.parent_index = 0;
        if (slot.parent != 0) {
            const ProcessTable::Slot &parent = table_->slot(slot.parent);
            // An entry from /proc may have got its exact start since.
            if (parent.start != entry.parent_start_ns) {
                const weir_process_entry &image = table_->image(slot.parent);
                entry.parent_pid = image.pid;
                entry.parent_start_ns = image.start_ns;
                entry.parent_exec_ns = image.exec_ns;
            }
            entry.parent_index = parent.stamp == batch ? 1 + parent.index : 0;
        }
        if (slot.string != 0) {
            Strings::Piece &piece = strings.piece(slot.string);
            if (piece.placed == 0) {
                memcpy(data_ + end, strings.at(slot.string), piece.bytes);
                piece.placed = static_cast<uint32_t>(end);
                end += piece.bytes;
            }
            for (weir_span *span :
                 {&entry.binary, &entry.arguments, &entry.cwd, &entry.container_id, &entry.environment}) {
                if (span->length != 0) {
                    span->offset += piece.placed;
                }
            }
        }
        // A user id in a container is another user than on the node.
        if (entry.container_id.length == 0) {
            end = layUser(entry, end);
        }
    }
    return end;
}

uint64_t Join::layUser(weir_process_entry &entry, uint64_t end) {
    for (const PlacedUser &user : users_) {
        if (user.uid == entry.uid) {
            if (user.length != 0) {
                entry.user_name = {user.at, user.length};
            }
            return end;
        }
    }
    if (users_.size() == USERS_MAX) {
        return end;
    }
    const auto found = names_.find(entry.uid);
    const uint32_t length = found == names_.end() ? 0 : static_cast<uint32_t>(found->second.size());
    users_.push_back({entry.uid, static_cast<uint32_t>(end), length});
    if (length == 0) {
        return end;
    }
    const uint64_t after = (end + length + 3) & ~uint64_t{3};
    memcpy(data_ + end, found->second.data(), length);
    memset(data_ + end + length, 0, after - end - length);
    entry.user_name = {static_cast<uint32_t>(end), length};
    return after;
}

} // namespace weir
