// The vector kernels: masking and UTF-8 validation, each path that the processor has (callgrind's
// has no AVX-512). Bytes a second say more than time here.

#include <cstring>
#include <string_view>
#include <vector>

#include "perf/micro/workload.hpp"
#include "runtime/random.hpp"
#include "ws/cpu_path.hpp"
#include "ws/mask.hpp"
#include "ws/utf8.hpp"

namespace corelane::perf {
namespace {

std::vector<std::byte> random_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  runtime::Random random(kSeed);
  random.fill(bytes);
  return bytes;
}

// Code points of 1 to 4 bytes in turn, cut at a boundary and filled up with letters; or letters
// alone.
std::vector<std::byte> text_of(std::size_t count, bool ascii) {
  constexpr std::string_view kMixed = "a\u00e9\u20ac\U0001f600";
  std::vector<std::byte> bytes(count, std::byte{'a'});
  if (ascii) return bytes;
  for (std::size_t at = 0; at + kMixed.size() <= count; at += kMixed.size()) {
    std::memcpy(bytes.data() + at, kMixed.data(), kMixed.size());
  }
  return bytes;
}

class Mask final : public Workload {
 public:
  Mask(std::size_t bytes, ws::CpuPath path)
      : bytes_(random_bytes(bytes)), kernel_(ws::mask_kernel(path)) {}
  std::uint64_t run(std::uint64_t operations) override {
    for (std::uint64_t i = 0; i < operations; ++i) {
      kernel_(bytes_.data(), bytes_.data(), bytes_.size(), 0x1234'5678);
      std::byte* masked = bytes_.data();
      keep(masked);
    }
    return operations + std::to_integer<std::uint64_t>(bytes_[0]);
  }

 private:
  std::vector<std::byte> bytes_;
  ws::MaskKernel kernel_;
};

// As a connection does it: inline up to 32 bytes, the chosen kernel beyond.
class ApplyMask final : public Workload {
 public:
  explicit ApplyMask(std::size_t bytes) : bytes_(random_bytes(bytes)) {}
  std::uint64_t run(std::uint64_t operations) override {
    ws::MaskKey key{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    for (std::uint64_t i = 0; i < operations; ++i) {
      keep(key);
      ws::apply_mask(bytes_, key);
      std::byte* masked = bytes_.data();
      keep(masked);
    }
    return operations + std::to_integer<std::uint64_t>(bytes_[0]);
  }

 private:
  std::vector<std::byte> bytes_;
};

class Utf8 final : public Workload {
 public:
  Utf8(std::size_t bytes, ws::CpuPath path, bool ascii)
      : bytes_(text_of(bytes, ascii)), kernel_(ws::utf8_kernel(path)) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t valid = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const ws::Utf8State state = kernel_(ws::Utf8State::accept, bytes_.data(), bytes_.size());
      if (state == ws::Utf8State::accept) ++valid;
    }
    return valid;
  }

 private:
  std::vector<std::byte> bytes_;
  ws::Utf8Kernel kernel_;
};

constexpr std::string_view name_of(ws::CpuPath path) {
  switch (path) {
    case ws::CpuPath::scalar:
      return "scalar";
#if defined(__x86_64__)
    case ws::CpuPath::avx2:
      return "avx2";
    case ws::CpuPath::avx512:
      return "avx512";
#else
    case ws::CpuPath::neon:
      return "neon";
#endif
  }
  return "";
}

}  // namespace

void add_kernel_cases(Cases& cases) {
  for (const std::size_t bytes : {20u, 125u}) {
    cases.add<ApplyMask>({.name = "mask/apply/bytes:" + std::to_string(bytes), .bytes = bytes},
                         bytes);
  }
  for (const ws::CpuPath path : ws::kCpuPaths) {
    if (!ws::cpu_has(path)) continue;
    const std::string of = "/path:" + std::string(name_of(path));
    for (const std::size_t bytes : {125u, 1024u, 16'384u}) {
      const std::string parameters = of + "/bytes:" + std::to_string(bytes);
      const std::uint64_t counted = bytes > 1024 ? 100 : 1000;
      cases.add<Mask>({.name = "mask/kernel" + parameters, .bytes = bytes, .counted = counted},
                      bytes, path);
      cases.add<Utf8>({.name = "utf8/ascii" + parameters, .bytes = bytes, .counted = counted},
                      bytes, path, true);
      cases.add<Utf8>({.name = "utf8/mixed" + parameters, .bytes = bytes, .counted = counted},
                      bytes, path, false);
    }
  }
}

}  // namespace corelane::perf
