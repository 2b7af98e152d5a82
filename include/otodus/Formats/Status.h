//===- Status.h - Errors as values -----------------------------------------===//
//
// Every function outside the compiler that can fail returns Status or Result<T>.
// The code says which exit code the driver ends with; the message is one line,
// starts in lower case, and names what was expected, what was found and, where
// there is one, the way out.
//
//===----------------------------------------------------------------------===//

#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace otodus {

/// Values are the driver's exit codes.
enum class Code : int {
  Ok = 0,
  Input = 1,       ///< errors in the user's input: bad config, token out of range, NaN loss
  Usage = 2,       ///< wrong flags
  File = 3,        ///< missing, truncated, corrupt, wrong version, of another model, locked
  Target = 4,      ///< target, CPU feature, chip or tool not available
  Device = 5,      ///< device fault, out of memory, disk full
  Check = 6,       ///< a check or threshold failed
  Internal = 70,   ///< our own bug
  Interrupted = 130,
};

class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  static Status ok() { return {}; }

  bool isOk() const { return code_ == Code::Ok; }
  Code code() const { return code_; }
  const std::string &message() const { return message_; }

  /// The same error, with where it happened put in front: "where: message".
  Status in(const std::string &where) const {
    return isOk() ? *this : Status(code_, where + ": " + message_);
  }

private:
  Code code_ = Code::Ok;
  std::string message_;
};

/// A value, or the Status that says why there is none.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) { assert(!status_.isOk()); }

  bool isOk() const { return value_.has_value(); }
  const Status &status() const { return status_; }
  T &operator*() { return *value_; }
  const T &operator*() const { return *value_; }
  T *operator->() { return &*value_; }
  const T *operator->() const { return &*value_; }

private:
  std::optional<T> value_;
  Status status_;
};

} // namespace otodus

/// Returns the Status of `expression` from the enclosing function if it is an error.
#define OTODUS_RETURN_IF_ERROR(expression)                                               \
  do {                                                                                   \
    if (::otodus::Status otodusStatus = (expression); !otodusStatus.isOk())              \
      return otodusStatus;                                                               \
  } while (false)
