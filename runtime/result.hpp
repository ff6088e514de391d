#pragma once
// Result<T, E>: a value or an error, with std::expected's names. It is the one result type of all
// folders that may include runtime/; protocol/ may not and returns its own status enums.
// (std::expected needs -std=c++23, which Meson 1.0.1 does not accept; Boost.System's result throws
// from value() and is not [[nodiscard]].)
//
// An Error is small and trivially copyable: a code, and an errno or detail. Text is made where it
// is logged, by describe().

#include <cstdint>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "runtime/assert.hpp"

namespace corelane::runtime {

enum class ErrorCode : std::uint16_t {
  system,            // a system call or ring operation failed; detail is the errno
  cancelled,         // the operation was cancelled by request
  timed_out,         // its deadline passed
  closed,            // the other end, or we, closed the stream, channel or file before
  limit_exceeded,    // a configured limit would be passed; detail is the limit where it fits
  unsupported,       // the kernel lacks the ring operation `detail`; 0: a simulation has no such
  invalid_argument,  // the caller's argument cannot be used; detail is its position
  end_of_file,       // the peer, or the file, has no more bytes: the orderly end of reading
};

struct Error {
  ErrorCode code{};
  std::int32_t detail = 0;

  static constexpr Error from_errno(int positive_errno) noexcept {
    return {ErrorCode::system, positive_errno};
  }
  friend constexpr bool operator==(const Error&, const Error&) = default;
};
static_assert(std::is_trivially_copyable_v<Error> && sizeof(Error) == 8);

// One line for logs and command lines, for instance "Connection refused (errno 111)".
std::string describe(const Error& error);

template <class E>
struct Unexpected {
  E error;
};
template <class E>
Unexpected(E) -> Unexpected<E>;

namespace detail {

// What stands for a failure by itself, `co_return error;` and `return ErrorCode::closed;`, unless
// it could be a value too.
template <class F, class T, class E>
concept FailureOf =
    (std::is_same_v<F, E> || (std::is_same_v<F, ErrorCode> && std::is_same_v<E, Error>)) &&
    !std::is_convertible_v<F, T>;

}  // namespace detail

template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : has_value_(true) {
    ::new (static_cast<void*>(&value_)) T(std::move(value));
  }
  Result(Unexpected<E> failure) noexcept : error_(failure.error), has_value_(false) {}
  template <detail::FailureOf<T, E> F>
  Result(F failure) noexcept : error_{failure}, has_value_(false) {}
  Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : has_value_(other.has_value_) {
    if (has_value_) {
      ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    } else {
      error_ = other.error_;
    }
  }
  Result& operator=(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this != &other) {
      this->~Result();
      ::new (static_cast<void*>(this)) Result(std::move(other));
    }
    return *this;
  }
  ~Result() {
    if (has_value_) value_.~T();
  }

  bool has_value() const noexcept { return has_value_; }
  explicit operator bool() const noexcept { return has_value_; }
  T& value() & noexcept {
    RT_ASSERT(has_value_);
    return value_;
  }
  const T& value() const& noexcept {
    RT_ASSERT(has_value_);
    return value_;
  }
  T&& value() && noexcept {
    RT_ASSERT(has_value_);
    return std::move(value_);
  }
  T& operator*() & noexcept { return value(); }
  const T& operator*() const& noexcept { return value(); }
  T&& operator*() && noexcept { return std::move(*this).value(); }
  T* operator->() noexcept { return &value(); }
  const T* operator->() const noexcept { return &value(); }
  const E& error() const noexcept {
    RT_ASSERT(!has_value_);
    return error_;
  }
  T value_or(T fallback) && { return has_value_ ? std::move(value_) : std::move(fallback); }

 private:
  static_assert(std::is_trivially_copyable_v<E>, "an error carries no memory on its way up");
  union {
    T value_;
    E error_;
  };
  bool has_value_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() noexcept : has_value_(true) {}
  Result(Unexpected<E> failure) noexcept : error_(failure.error), has_value_(false) {}
  template <detail::FailureOf<void, E> F>
  Result(F failure) noexcept : error_{failure}, has_value_(false) {}
  bool has_value() const noexcept { return has_value_; }
  explicit operator bool() const noexcept { return has_value_; }
  void value() const noexcept { RT_ASSERT(has_value_); }
  const E& error() const noexcept {
    RT_ASSERT(!has_value_);
    return error_;
  }

 private:
  E error_{};
  bool has_value_;
};

inline Unexpected<Error> fail(ErrorCode code, std::int32_t detail = 0) noexcept {
  return {Error{code, detail}};
}

}  // namespace corelane::runtime
