#include "runtime/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "runtime/await.hpp"
#include "runtime/file_operation.hpp"

namespace corelane::runtime {
namespace {

using detail::kTransferMax;

FileStatus to_status(const struct statx& raw) noexcept {
  return {.bytes = raw.stx_size,
          .mode = raw.stx_mode,
          .modified_wall = raw.stx_mtime.tv_sec * kSecond + raw.stx_mtime.tv_nsec};
}

Result<void> without_value(const Result<std::uint32_t>& result) noexcept {
  if (!result) return Unexpected{result.error()};
  return {};
}

}  // namespace

File::File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, {})) {}

File& File::operator=(File&& other) noexcept {
  if (this == &other) return *this;
  close_in_background();
  descriptor_ = std::exchange(other.descriptor_, {});
  return *this;
}

File::~File() {
  close_in_background();
}

void File::close_in_background() noexcept {
  if (!descriptor_.valid()) return;
  Core* const core = Core::current_or_null();
  if (core == nullptr) {
    // An errand that was given up holds its File until ~Core: no ring takes operations then.
    Ring::close_outside(std::exchange(descriptor_, {}));
    return;
  }
  core->ring().close(std::exchange(descriptor_, {}), Token::make(Sink::ignore, 0, 0));
}

Task<Result<File>> File::open(std::string path, int flags, std::uint32_t mode) {
  if (detail::has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  OperationAwaiter operation("open", {}, [&](Ring& ring, Token token) {
    ring.open(path.c_str(), flags, static_cast<mode_t>(mode), token);
  });
  const auto result = co_await operation;
  if (!result) co_return Unexpected{result.error()};
  co_return File{Descriptor{.number = static_cast<std::int32_t>(*result), .direct = false}};
}

Task<Result<FileStatus>> File::status(std::string path) {
  if (detail::has_nul(path)) co_return fail(ErrorCode::invalid_argument);
  struct statx raw{};
  OperationAwaiter operation(
      "stat", {}, [&](Ring& ring, Token token) { ring.stat(path.c_str(), &raw, token); });
  const auto result = co_await operation;
  if (!result) co_return Unexpected{result.error()};
  co_return to_status(raw);
}

Task<Result<FileStatus>> File::status() {
  struct statx raw{};
  OperationAwaiter operation("stat", descriptor_,
                             [&](Ring& ring, Token token) { ring.stat(descriptor_, &raw, token); });
  const auto result = co_await operation;
  if (!result) co_return Unexpected{result.error()};
  co_return to_status(raw);
}

Task<Result<std::uint32_t>> File::read_at(std::span<std::byte> into, std::uint64_t offset) {
  const auto piece = into.first(std::min(into.size(), kTransferMax));
  OperationAwaiter operation("read", descriptor_, [&](Ring& ring, Token token) {
    ring.read(descriptor_, piece, offset, token);
  });
  co_return co_await operation;
}

Task<Result<std::uint32_t>> File::write_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  const auto piece = bytes.first(std::min(bytes.size(), kTransferMax));
  OperationAwaiter operation("write", descriptor_, [&](Ring& ring, Token token) {
    ring.write(descriptor_, piece, offset, token);
  });
  co_return co_await operation;
}

Task<Result<std::size_t>> File::read_all_at(std::span<std::byte> into, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto result = co_await read_at(into.subspan(done), offset + done);
    if (!result) co_return Unexpected{result.error()};
    if (*result == 0) break;
    done += *result;
  }
  co_return done;
}

Task<Result<void>> File::write_all_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto result = co_await write_at(bytes.subspan(done), offset + done);
    if (!result) co_return Unexpected{result.error()};
    done += *result;
  }
  co_return Result<void>{};
}

Task<Result<void>> File::sync(bool data_only) {
  OperationAwaiter operation("fsync", descriptor_, [&](Ring& ring, Token token) {
    ring.fsync(descriptor_, data_only, token);
  });
  co_return without_value(co_await operation);
}

Task<Result<void>> File::close() {
  // Not cancellable: a close that was asked for must happen, or the descriptor leaks. The ring
  // takes it over at once, so the descriptor is no longer ours whatever the result.
  const Descriptor descriptor = std::exchange(descriptor_, {});
  if (!descriptor.valid()) co_return fail(ErrorCode::closed);
  class Close final : private Operations::Waiter {
   public:
    explicit Close(Descriptor closing) noexcept : closing_(closing) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      handle_ = handle;
      Core& core = Core::current();
      core.ring().close(closing_, core.operations().acquire(*this));
    }
    std::int32_t await_resume() const noexcept { return result_; }

   private:
    void complete(const Completion& completion) noexcept override {
      result_ = completion.result;
      Core::current().schedule(handle_, "close");
    }
    Descriptor closing_;
    std::coroutine_handle<> handle_;
    std::int32_t result_ = 0;
  };
  Close close{descriptor};
  co_return without_value(result_of(co_await close));
}

Task<Result<std::string>> read_file(std::string path, std::size_t bytes_max) {
  auto opened = co_await File::open(std::move(path), O_RDONLY);
  if (!opened) co_return Unexpected{opened.error()};
  File file = std::move(*opened);
  std::string text;
  Error error{};
  bool failed = false;
  for (;;) {
    const std::size_t before = text.size();
    text.resize(before + 16 * 1024);
    const auto bytes =
        co_await file.read_at(std::as_writable_bytes(std::span{text}.subspan(before)), before);
    text.resize(before + (bytes ? *bytes : 0));
    if (!bytes || text.size() > bytes_max) {
      failed = true;
      error = bytes ? Error{ErrorCode::limit_exceeded, 0} : bytes.error();
      break;
    }
    if (*bytes == 0) break;
  }
  const auto closed = co_await file.close();
  if (failed) co_return Unexpected{error};
  if (!closed) co_return Unexpected{closed.error()};
  co_return text;
}

}  // namespace corelane::runtime
