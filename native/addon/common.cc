// SPDX-License-Identifier: Apache-2.0
#include "common.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "object.h"

namespace weir {

namespace {

constexpr size_t LOG_BYTES_MAX = 64 * 1024;
constexpr size_t TAIL_BYTES_MAX = 8 * 1024;

thread_local LogCapture *current_capture = nullptr;

int printToCapture(enum libbpf_print_level level, const char *format, va_list arguments) {
    if (level > LIBBPF_WARN || current_capture == nullptr) {
        return 0;
    }
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(nullptr, 0, format, arguments);
    if (length > 0) {
        std::vector<char> text(static_cast<size_t>(length) + 1);
        vsnprintf(text.data(), text.size(), format, again);
        current_capture->append(text.data(), static_cast<size_t>(length));
    }
    va_end(again);
    return 0;
}

} // namespace

Fd &Fd::operator=(Fd &&other) noexcept {
    if (this != &other) {
        reset();
        fd_ = other.release();
    }
    return *this;
}

int Fd::release() {
    return std::exchange(fd_, -1);
}

void Fd::reset() {
    if (fd_ >= 0) {
        ::close(fd_);
        fd_ = -1;
    }
}

Fd duplicate(int fd) {
    return Fd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

LogCapture::LogCapture() : outer_(std::exchange(current_capture, this)) {
}

LogCapture::~LogCapture() {
    current_capture = outer_;
}

void LogCapture::append(const char *data, size_t length) {
    text_.append(data, length);
    if (text_.size() > LOG_BYTES_MAX) {
        text_.erase(0, text_.size() - LOG_BYTES_MAX);
    }
}

void say(const std::string &line) {
    if (current_capture != nullptr) {
        current_capture->append(line.data(), line.size());
    }
}

std::string tail(const std::string &log) {
    if (log.size() <= TAIL_BYTES_MAX) {
        return log;
    }
    size_t start = log.find('\n', log.size() - TAIL_BYTES_MAX);
    return log.substr(start == std::string::npos ? log.size() - TAIL_BYTES_MAX : start + 1);
}

std::string describe(const std::string &what, int error_number) {
    if (error_number == 0) {
        return what;
    }
    return what + ": " +
           (error_number == 524 ? "operation is not supported by this kernel" : strerror(error_number));
}

void throwError(Napi::Env env, const char *code, const std::string &message, int error_number,
                const std::string &log) {
    Napi::Error error = Napi::Error::New(env, describe(message, error_number));
    Napi::Object value = error.Value();
    value.Set("weirCode", Napi::String::New(env, code));
    value.Set("errno", Napi::Number::New(env, error_number));
    value.Set("log", Napi::String::New(env, tail(log)));
    error.ThrowAsJavaScriptException();
}

bool viewOf(Napi::Value value, napi_typedarray_type wanted, View &view) {
    bool is_typed_array = false;
    if (napi_is_typedarray(value.Env(), value, &is_typed_array) != napi_ok || !is_typed_array) {
        return false;
    }
    napi_typedarray_type type;
    size_t length = 0;
    void *data = nullptr;
    // The N-API call answers for a SharedArrayBuffer too, where node-addon-api's wrapper would refuse it.
    if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
        type != wanted) {
        return false;
    }
    size_t width = wanted == napi_float64_array ? 8 : wanted == napi_uint32_array ? 4 : 1;
    view.data = data;
    view.length = length;
    view.bytes = length * width;
    return true;
}

bool bytesOf(Napi::Env env, Napi::Value value, const char *name, View &view) {
    if (viewOf(value, napi_uint8_array, view)) {
        return true;
    }
    throwError(env, "BAD_ARGUMENT", std::string(name) + " is not a Uint8Array", 0);
    return false;
}

Instance &instanceOf(Napi::Env env) {
    return *env.GetInstanceData<Instance>();
}

void initialiseLibbpf() {
    static std::once_flag once;
    std::call_once(once, [] {
        libbpf_set_print(printToCapture);
        registerSections();
    });
}

bool wordsOf(Napi::Value value, size_t length_min, Napi::Env env, const char *name, View &view) {
    if (viewOf(value, napi_uint32_array, view) && view.length >= length_min) {
        return true;
    }
    throwError(env, "BAD_ARGUMENT",
               std::string(name) + " is not a Uint32Array of at least " + std::to_string(length_min), 0);
    return false;
}

bool doublesOf(Napi::Value value, size_t length_min, Napi::Env env, const char *name, View &view) {
    if (viewOf(value, napi_float64_array, view) && view.length >= length_min) {
        return true;
    }
    throwError(env, "BAD_ARGUMENT",
               std::string(name) + " is not a Float64Array of at least " + std::to_string(length_min), 0);
    return false;
}

} // namespace weir
