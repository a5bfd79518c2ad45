// SPDX-License-Identifier: Apache-2.0
#include "ring.h"

#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "join.h"
#include "map.h"

namespace weir {

namespace {

constexpr uint32_t LENGTH_MASK = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

// Turns of the waiting thread without a record after which it looks less often, and how much less.
constexpr int QUIET_TURNS = 100;
constexpr int QUIET_FACTOR = 4;

// Records that are looked at together.
constexpr uint32_t BLOCK = 32;

uint64_t roundUp8(uint64_t value) {
    return (value + 7) & ~uint64_t{7};
}

// Mapped memory, unmapped once.
class Mapping {
  public:
    Mapping() = default;
    Mapping(const Mapping &) = delete;
    Mapping &operator=(const Mapping &) = delete;
    ~Mapping() {
        if (data_ != nullptr) {
            munmap(data_, bytes_);
        }
    }
    bool map(int fd, size_t bytes, int protection, off_t offset) {
        void *data = mmap(nullptr, bytes, protection, MAP_SHARED, fd, offset);
        if (data == MAP_FAILED) {
            return false;
        }
        data_ = data;
        bytes_ = bytes;
        return true;
    }
    char *data() const {
        return static_cast<char *>(data_);
    }

  private:
    void *data_ = nullptr;
    size_t bytes_ = 0;
};

} // namespace

// What the reading thread and the waiting thread share. The JavaScript thread alone drains, commits and
// closes.
class RingState {
  public:
    // 0 or an errno.
    int open(int map_fd, uint32_t capacity) {
        const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        fd_ = duplicate(map_fd);
        stop_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
        if (!fd_.valid() || !stop_.valid() || !epoll_.valid() ||
            !consumer_page_.map(fd_.get(), page, PROT_READ | PROT_WRITE, 0) ||
            !data_pages_.map(fd_.get(), page + 2 * static_cast<size_t>(capacity), PROT_READ,
                             static_cast<off_t>(page))) {
            return errno;
        }
        // Edge-triggered: the kernel calls the ring readable for as long as anything is not committed, which
        // would spin.
        struct epoll_event event = {};
        event.events = EPOLLIN | EPOLLET;
        event.data.fd = fd_.get();
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd_.get(), &event) != 0) {
            return errno;
        }
        event.events = EPOLLIN;
        event.data.fd = stop_.get();
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &event) != 0) {
            return errno;
        }
        consumer_ = reinterpret_cast<uint64_t *>(consumer_page_.data());
        producer_ = reinterpret_cast<uint64_t *>(data_pages_.data());
        records_ = data_pages_.data() + page;
        capacity_ = capacity;
        committed_ = __atomic_load_n(consumer_, __ATOMIC_ACQUIRE);
        read_.store(committed_, std::memory_order_release);
        return 0;
    }

    void start(napi_threadsafe_function notify, int poll_interval_ms) {
        notify_ = notify;
        thread_ = std::thread([this, poll_interval_ms] { wait(poll_interval_ms); });
    }

    // Ends the thread; afterwards nothing calls JavaScript. True the first time.
    bool stop() {
        if (!thread_.joinable()) {
            return false;
        }
        stopping_.store(true, std::memory_order_release);
        const uint64_t one = 1;
        // It can fail only where the counter is at its end, and then the thread wakes as well.
        (void)!write(stop_.get(), &one, sizeof(one));
        thread_.join();
        napi_release_threadsafe_function(notify_, napi_tsfn_abort);
        return true;
    }

    struct Drained {
        uint32_t records = 0;
        uint64_t bytes = 0;
        uint64_t discarded = 0;
        int64_t left =
            0; // 0: all taken; -1: no room for more; above 0: bytes of a record that fits no empty range
    };

    Drained drain(char *target, uint64_t start, uint64_t end, uint32_t *offsets, uint32_t records_max) {
        Drained result;
        uint64_t position = read_.load(std::memory_order_relaxed);
        const uint64_t producer = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);
        const uint64_t mask = capacity_ - 1;
        uint64_t out = start;
        while (position < producer) {
            const char *header = records_ + (position & mask);
            const uint32_t word =
                __atomic_load_n(reinterpret_cast<const uint32_t *>(header), __ATOMIC_ACQUIRE);
            if ((word & BPF_RINGBUF_BUSY_BIT) != 0) {
                break; // reserved, not submitted yet: what comes after it waits too, to keep the order
            }
            const uint64_t length = word & LENGTH_MASK;
            if ((word & BPF_RINGBUF_DISCARD_BIT) == 0) {
                const uint64_t padded = roundUp8(length);
                if (result.records == records_max || padded > end - out) {
                    result.left =
                        result.records == 0 && padded > end - start ? static_cast<int64_t>(padded) : -1;
                    break;
                }
                memcpy(target + out, header + BPF_RINGBUF_HDR_SZ, length);
                memset(target + out + length, 0, padded - length);
                offsets[result.records++] = static_cast<uint32_t>(out);
                out += padded;
            } else {
                result.discarded++;
            }
            position += roundUp8(length + BPF_RINGBUF_HDR_SZ);
        }
        read_.store(position, std::memory_order_release);
        // After the position, so that the waiting thread does not call for what was just read.
        notified_.store(false, std::memory_order_release);
        result.bytes = out - start;
        return result;
    }

    // Reads records straight into a batch, until that is full. `left`: 0 all taken, -1 no room for more, -2
    // an exception is pending.
    Drained drainTo(Join &join, uint32_t records_max) {
        Drained result;
        uint64_t position = read_.load(std::memory_order_relaxed);
        const uint64_t producer = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);
        const uint64_t mask = capacity_ - 1;
        // Memory is waited for longer than a record is worked on. So records are taken in blocks: what the
        // table has of each is fetched for the whole block first, step by step.
        uint64_t positions[BLOCK];
        uint32_t words[BLOCK];
        while (position < producer && result.left == 0) {
            uint32_t count = 0;
            for (uint64_t at = position; count < BLOCK && at < producer; count++) {
                const char *header = records_ + (at & mask);
                const uint32_t word =
                    __atomic_load_n(reinterpret_cast<const uint32_t *>(header), __ATOMIC_ACQUIRE);
                if ((word & BPF_RINGBUF_BUSY_BIT) != 0) {
                    break; // reserved, not submitted yet: what comes after it waits too, to keep the order
                }
                positions[count] = at;
                words[count] = word;
                if ((word & BPF_RINGBUF_DISCARD_BIT) == 0) {
                    join.prefetch(header + BPF_RINGBUF_HDR_SZ, 0);
                }
                at += roundUp8((word & LENGTH_MASK) + BPF_RINGBUF_HDR_SZ);
            }
            if (count == 0) {
                break;
            }
            for (uint32_t step = 1; step < Join::PREFETCH_STEPS; step++) {
                for (uint32_t index = 0; index < count; index++) {
                    if ((words[index] & BPF_RINGBUF_DISCARD_BIT) == 0) {
                        join.prefetch(records_ + (positions[index] & mask) + BPF_RINGBUF_HDR_SZ, step);
                    }
                }
            }
            for (uint32_t index = 0; index < count; index++) {
                const uint32_t length = words[index] & LENGTH_MASK;
                const uint64_t next = positions[index] + roundUp8(length + BPF_RINGBUF_HDR_SZ);
                if ((words[index] & BPF_RINGBUF_DISCARD_BIT) != 0) {
                    result.discarded++;
                    position = next;
                    continue;
                }
                if (result.records == records_max) {
                    result.left = -1;
                    break;
                }
                const Join::Taken taken =
                    join.take(records_ + (positions[index] & mask) + BPF_RINGBUF_HDR_SZ, length);
                if (taken == Join::Taken::FULL) {
                    result.left = -1;
                    break;
                }
                result.records += taken == Join::Taken::UNUSABLE ? 0 : 1;
                position = next;
                if (taken == Join::Taken::FAILED) {
                    result.left = -2;
                    break;
                }
            }
        }
        read_.store(position, std::memory_order_release);
        notified_.store(false, std::memory_order_release);
        return result;
    }

    bool commit(uint64_t position) {
        if (position < committed_ || position > read_.load(std::memory_order_relaxed)) {
            return false;
        }
        committed_ = position;
        __atomic_store_n(consumer_, position, __ATOMIC_RELEASE);
        return true;
    }

    uint64_t position() const {
        return read_.load(std::memory_order_relaxed);
    }
    uint64_t committed() const {
        return committed_;
    }
    uint64_t producer() const {
        return __atomic_load_n(producer_, __ATOMIC_ACQUIRE);
    }
    uint64_t capacity() const {
        return capacity_;
    }
    uint64_t wakeUps() const {
        return wake_ups_.load(std::memory_order_relaxed);
    }
    napi_threadsafe_function notify() const {
        return notify_;
    }

    ~RingState() {
        stop();
    }

  private:
    void wait(int poll_interval_ms) {
        pthread_setname_np(pthread_self(), "weir-ring");
        struct epoll_event events[2];
        int quiet_turns = 0;
        while (!stopping_.load(std::memory_order_acquire)) {
            // Where nothing has come for a second or so, looking less often costs nobody anything.
            const int interval_ms =
                quiet_turns < QUIET_TURNS ? poll_interval_ms : poll_interval_ms * QUIET_FACTOR;
            epoll_wait(epoll_.get(), events, 2, interval_ms);
            wake_ups_.fetch_add(1, std::memory_order_relaxed);
            if (stopping_.load(std::memory_order_acquire)) {
                return;
            }
            if (producer() <= read_.load(std::memory_order_acquire)) {
                quiet_turns += quiet_turns < QUIET_TURNS ? 1 : 0;
                continue;
            }
            quiet_turns = 0;
            if (notified_.exchange(true, std::memory_order_acq_rel)) {
                continue;
            }
            if (napi_call_threadsafe_function(notify_, nullptr, napi_tsfn_nonblocking) == napi_closing) {
                return;
            }
        }
    }

    Fd fd_;
    Fd stop_;
    Fd epoll_;
    Mapping consumer_page_;
    Mapping data_pages_;
    uint64_t *consumer_ = nullptr;
    uint64_t *producer_ = nullptr;
    const char *records_ = nullptr;
    uint64_t capacity_ = 0;
    uint64_t committed_ = 0;
    std::atomic<uint64_t> read_{0};
    std::atomic<bool> notified_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<uint64_t> wake_ups_{0};
    napi_threadsafe_function notify_ = nullptr;
    std::thread thread_;
};

namespace {

// Runs at the end of an environment, before that of the thread-safe function, which was registered earlier.
void endWithEnvironment(void *data) {
    static_cast<RingState *>(data)->stop();
}

void callReady(napi_env env, napi_value callback, void *, void *) {
    if (env == nullptr || callback == nullptr) {
        return;
    }
    napi_value receiver;
    if (napi_get_undefined(env, &receiver) == napi_ok) {
        // An exception stays pending, and Node reports it as uncaught.
        napi_call_function(env, receiver, callback, 0, nullptr, nullptr);
    }
}

} // namespace

void Ring::define(Napi::Env env, Instance &instance) {
    Napi::Function constructor = DefineClass(
        env, "Ring",
        {InstanceMethod<&Ring::drain>("drain"), InstanceMethod<&Ring::drainTo>("drainTo"),
         InstanceMethod<&Ring::commit>("commit"), InstanceMethod<&Ring::pendingBytes>("pendingBytes"),
         InstanceMethod<&Ring::unreadBytes>("unreadBytes"),
         InstanceMethod<&Ring::capacityBytes>("capacityBytes"), InstanceMethod<&Ring::wakeUps>("wakeUps"),
         InstanceMethod<&Ring::ref>("ref"), InstanceMethod<&Ring::unref>("unref"),
         InstanceMethod<&Ring::close>("close")});
    instance.ring = Napi::Persistent(constructor);
}

Ring::Ring(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Ring>(info) {
}

void Ring::Finalize(Napi::Env env) {
    if (state_ != nullptr && state_->stop()) {
        napi_remove_env_cleanup_hook(env, endWithEnvironment, state_.get());
    }
    state_.reset();
}

bool Ring::open(Napi::Env env) const {
    if (state_ != nullptr) {
        return true;
    }
    throwError(env, "BAD_STATE", "the ring reader is closed", 0);
    return false;
}

Napi::Value openRing(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Map *map = Map::from(env, info[0]);
    if (map == nullptr) {
        return env.Undefined();
    }
    if (map->type() != BPF_MAP_TYPE_RINGBUF || !info[1].IsFunction()) {
        throwError(env, "BAD_ARGUMENT", "a ring buffer map and a function are needed", 0);
        return env.Undefined();
    }
    auto state = std::make_shared<RingState>();
    if (int failed = state->open(map->fd(), map->maxEntries()); failed != 0) {
        throwError(env, "RING_FAILED", "the ring buffer cannot be mapped", failed);
        return env.Undefined();
    }
    napi_threadsafe_function notify = nullptr;
    // A queue of one: a second call while the first waits is refused, and says nothing that the first does
    // not.
    if (napi_create_threadsafe_function(env, info[1], nullptr, Napi::String::New(env, "weir-ring"), 1, 1,
                                        nullptr, nullptr, nullptr, callReady, &notify) != napi_ok) {
        throwError(env, "RING_FAILED", "the ring reader cannot be made", 0);
        return env.Undefined();
    }
    state->start(notify, info[2].ToNumber().Int32Value());
    napi_add_env_cleanup_hook(env, endWithEnvironment, state.get());
    Napi::Object object = instanceOf(env).ring.New({});
    Ring::Unwrap(object)->state_ = std::move(state);
    return object;
}

Napi::Value Ring::drain(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View target;
    View offsets;
    View result;
    if (!open(env) || !bytesOf(env, info[0], "target", target)) {
        return env.Undefined();
    }
    const int64_t start = info[1].ToNumber().Int64Value();
    const uint32_t records_max = info[3].ToNumber().Uint32Value();
    if (!viewOf(info[2], napi_uint32_array, offsets) || !viewOf(info[4], napi_float64_array, result) ||
        result.length < 4 || offsets.length < records_max || start < 0 || start % 8 != 0 ||
        static_cast<uint64_t>(start) > target.bytes || target.bytes > UINT32_MAX) {
        throwError(env, "BAD_ARGUMENT", "the arguments of drain do not fit one another", 0);
        return env.Undefined();
    }
    const RingState::Drained drained =
        state_->drain(static_cast<char *>(target.data), static_cast<uint64_t>(start), target.bytes,
                      static_cast<uint32_t *>(offsets.data), records_max);
    auto *numbers = static_cast<double *>(result.data);
    numbers[0] = static_cast<double>(drained.bytes);
    numbers[1] = static_cast<double>(state_->position());
    numbers[2] = static_cast<double>(drained.discarded);
    numbers[3] = static_cast<double>(drained.left);
    return Napi::Number::New(env, drained.records);
}

// drainTo(join, recordsMax, result): answers how many records went into the batch that the join has begun.
Napi::Value Ring::drainTo(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    View result;
    if (!open(env)) {
        return env.Undefined();
    }
    Join *join = Join::from(env, info[0]);
    if (join == nullptr) {
        return env.Undefined();
    }
    if (!join->begun() || !viewOf(info[2], napi_float64_array, result) || result.length < 4) {
        throwError(env, "BAD_ARGUMENT", "the join has begun no batch, or there is nowhere to answer", 0);
        return env.Undefined();
    }
    // The ring can be closed by what the join asks of JavaScript.
    const std::shared_ptr<RingState> state = state_;
    const RingState::Drained drained = state->drainTo(*join, info[1].ToNumber().Uint32Value());
    if (drained.left == -2) {
        return env.Undefined();
    }
    auto *numbers = static_cast<double *>(result.data);
    numbers[0] = 0;
    numbers[1] = static_cast<double>(state->position());
    numbers[2] = static_cast<double>(drained.discarded);
    numbers[3] = static_cast<double>(drained.left);
    return Napi::Number::New(env, drained.records);
}

void Ring::commit(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    if (!open(env)) {
        return;
    }
    const double position = info[0].ToNumber().DoubleValue();
    if (!(position >= 0) || !state_->commit(static_cast<uint64_t>(position))) {
        throwError(env, "BAD_ARGUMENT",
                   "position " + std::to_string(position) +
                       " is not between what was committed and what was drained",
                   0);
    }
}

Napi::Value Ring::pendingBytes(const Napi::CallbackInfo &info) {
    if (!open(info.Env())) {
        return info.Env().Undefined();
    }
    return Napi::Number::New(info.Env(), static_cast<double>(state_->producer() - state_->committed()));
}

Napi::Value Ring::unreadBytes(const Napi::CallbackInfo &info) {
    if (!open(info.Env())) {
        return info.Env().Undefined();
    }
    return Napi::Number::New(info.Env(), static_cast<double>(state_->producer() - state_->position()));
}

Napi::Value Ring::capacityBytes(const Napi::CallbackInfo &info) {
    return open(info.Env()) ? Napi::Number::New(info.Env(), static_cast<double>(state_->capacity()))
                            : info.Env().Undefined();
}

Napi::Value Ring::wakeUps(const Napi::CallbackInfo &info) {
    return open(info.Env()) ? Napi::Number::New(info.Env(), static_cast<double>(state_->wakeUps()))
                            : info.Env().Undefined();
}

void Ring::ref(const Napi::CallbackInfo &info) {
    if (open(info.Env())) {
        napi_ref_threadsafe_function(info.Env(), state_->notify());
    }
}

void Ring::unref(const Napi::CallbackInfo &info) {
    if (open(info.Env())) {
        napi_unref_threadsafe_function(info.Env(), state_->notify());
    }
}

void Ring::close(const Napi::CallbackInfo &info) {
    Finalize(info.Env());
}

} // namespace weir
