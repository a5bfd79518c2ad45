// SPDX-License-Identifier: Apache-2.0
// Owns what every part of the addon uses: errors with a code, an owned file descriptor, and the capture of
// what libbpf and the verifier say.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

namespace weir {

// A file descriptor that is closed once.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {
    }
    Fd(Fd &&other) noexcept : fd_(other.release()) {
    }
    Fd &operator=(Fd &&other) noexcept;
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    ~Fd() {
        reset();
    }
    int get() const {
        return fd_;
    }
    bool valid() const {
        return fd_ >= 0;
    }
    int release();
    void reset();

  private:
    int fd_ = -1;
};

// A duplicate of fd, closed on exec.
Fd duplicate(int fd);

// While it lives, what libbpf says on this thread is kept; the last LOG_BYTES_MAX bytes of it.
class LogCapture {
  public:
    LogCapture();
    ~LogCapture();
    LogCapture(const LogCapture &) = delete;
    LogCapture &operator=(const LogCapture &) = delete;
    const std::string &text() const {
        return text_;
    }
    void append(const char *data, size_t length);

  private:
    std::string text_;
    LogCapture *outer_;
};

// Adds a line to the capture of this thread, where there is one.
void say(const std::string &line);

// The last kilobytes of a log, from the start of a line.
std::string tail(const std::string &log);

// Sets a pending JavaScript exception; the caller returns at once.
void throwError(Napi::Env env, const char *code, const std::string &message, int error_number,
                const std::string &log = "");

// "what: strerror (errno)"
std::string describe(const std::string &what, int error_number);

// Bytes of a Uint8Array or Uint32Array or Float64Array, whatever backs it; false where it is none of the
// wanted type.
struct View {
    void *data = nullptr;
    size_t bytes = 0;
    size_t length = 0;
};
bool viewOf(Napi::Value value, napi_typedarray_type wanted, View &view);
// The same for a Uint8Array; throws BAD_ARGUMENT, which names the argument, and returns false where it is
// none.
bool bytesOf(Napi::Env env, Napi::Value value, const char *name, View &view);

// What lives as long as one environment (the main thread or a worker).
class RingState;
struct Instance {
    Napi::FunctionReference map;
    Napi::FunctionReference program;
    Napi::FunctionReference link;
    Napi::FunctionReference object;
    Napi::FunctionReference ring;
    Napi::FunctionReference table;
    Napi::FunctionReference join;
};
Instance &instanceOf(Napi::Env env);

// Runs `first` once in this process: libbpf's print callback and section handlers are global.
void initialiseLibbpf();

// A Uint32Array or a Float64Array of at least so many; false: an exception that names it is pending.
bool wordsOf(Napi::Value value, size_t length_min, Napi::Env env, const char *name, View &view);
bool doublesOf(Napi::Value value, size_t length_min, Napi::Env env, const char *name, View &view);

} // namespace weir
