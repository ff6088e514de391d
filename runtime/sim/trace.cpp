#include "runtime/sim/trace.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <bit>

namespace corelane::runtime::sim {
namespace {

constexpr std::array<const char*, 9> kNames{"turn",       "completion",  "lane_batch",
                                            "bytes_sent", "bytes_taken", "wake",
                                            "operation",  "fault",       "user"};

}  // namespace

Trace::~Trace() {
  if (file_ != nullptr) std::fclose(file_);
}

void Trace::note(TraceKind kind, Nanoseconds now, std::uint64_t first, std::uint64_t second,
                 std::uint64_t third) noexcept {
  // One multiply and rotate a word: the order of the words counts, and every bit reaches the
  // result.
  const auto fold = [this](std::uint64_t word) {
    hash_ = std::rotl((hash_ ^ word) * 0x9e37'79b9'7f4a'7c15, 29) + 0x6a09'e667'f3bc'c909;
  };
  fold(static_cast<std::uint64_t>(kind));
  fold(static_cast<std::uint64_t>(now));
  fold(first);
  fold(second);
  fold(third);
  ++notes_;
  if (text_ != nullptr || file_ != nullptr) write_line(kind, now, first, second, third);
}

std::uint64_t Trace::hash_of(std::span<const std::byte> bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

bool Trace::write_to_file(const char* path) noexcept {
  if (file_ != nullptr) std::fclose(file_);
  file_ = std::fopen(path, "w");
  return file_ != nullptr;
}

void Trace::flush() noexcept {
  if (file_ != nullptr) std::fflush(file_);
}

void Trace::write_line(TraceKind kind, Nanoseconds now, std::uint64_t first, std::uint64_t second,
                       std::uint64_t third) noexcept {
  fmt::memory_buffer line;
  fmt::format_to(fmt::appender(line), "{} {} {:#x} {:#x} {:#x}\n", now,
                 kNames[static_cast<std::size_t>(kind)], first, second, third);
  if (text_ != nullptr) text_->append(line.data(), line.size());
  if (file_ != nullptr) std::fwrite(line.data(), 1, line.size(), file_);
}

}  // namespace corelane::runtime::sim
