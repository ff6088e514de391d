#pragma once
// Files by ring operations: every call suspends, none blocks the core. A File belongs to the core
// that opened it, and is destroyed there, with no operation in flight. A File that is still open
// then closes in the background, and an error of close(2) is lost. Outside of a core (in a result
// that is dropped when the run has ended) it closes at once. Reads and writes may be short, as in
// read(2) and write(2); the *_all forms go on until everything is done. Cancelled with the scope.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

struct FileStatus {
  std::uint64_t bytes = 0;
  std::uint32_t mode = 0;         // st_mode
  Nanoseconds modified_wall = 0;  // since the epoch
};

class File {
 public:
  File() = default;
  explicit File(Descriptor descriptor) noexcept : descriptor_(descriptor) {}
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  // `flags` as in open(2) (O_RDONLY, O_CREAT | O_WRONLY, …); O_CLOEXEC is added.
  static Task<Result<File>> open(std::string path, int flags, std::uint32_t mode = 0644);
  static Task<Result<FileStatus>> status(std::string path);

  // Bytes read, at most 1 GiB at once; 0 at the end of the file.
  Task<Result<std::uint32_t>> read_at(std::span<std::byte> into, std::uint64_t offset);
  // Bytes written, at most 1 GiB at once.
  Task<Result<std::uint32_t>> write_at(std::span<const std::byte> bytes, std::uint64_t offset);
  // Reads until `into` is full or the file ends.
  Task<Result<std::size_t>> read_all_at(std::span<std::byte> into, std::uint64_t offset);
  Task<Result<void>> write_all_at(std::span<const std::byte> bytes, std::uint64_t offset);
  // Everything written before is on the device when this has succeeded (fsync(2)).
  Task<Result<void>> sync(bool data_only = false);
  Task<Result<FileStatus>> status();
  Task<Result<void>> close();

  bool is_open() const noexcept { return descriptor_.valid(); }
  Descriptor descriptor() const noexcept { return descriptor_; }

 private:
  void close_in_background() noexcept;

  Descriptor descriptor_;
};

// The whole file as text; `limit_exceeded` if it is longer than `bytes_max`.
Task<Result<std::string>> read_file(std::string path, std::size_t bytes_max);

}  // namespace corelane::runtime
