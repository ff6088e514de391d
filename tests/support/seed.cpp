#include "tests/support/seed.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <system_error>

namespace corelane::tests {
namespace {

constexpr char const* kVariable = "CORELANE_SEED";

// FNV-1a: the name must give the same number in every build, which std::hash does not promise.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325U;
  for (char const letter : name) {
    hash ^= static_cast<unsigned char>(letter);
    hash *= 0x0000'0100'0000'01b3U;
  }
  return hash;
}

std::uint64_t parse_seed(std::string_view text) {
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with("0x")) {
    digits.remove_prefix(2);
    base = 16;
  }
  std::uint64_t value = 0;
  char const* const end = digits.data() + digits.size();
  auto const [rest, error] = std::from_chars(digits.data(), end, value, base);
  if (error != std::errc{} || rest != end || digits.empty()) {
    std::fprintf(stderr, "%s must be a 64-bit number, decimal or with 0x: '%.*s'\n", kVariable,
                 static_cast<int>(text.size()), text.data());
    std::abort();
  }
  return value;
}

std::uint64_t drawn_seed() {
  std::random_device device;  // tidy: allow banned_call: the one place where tests draw a seed
  return (std::uint64_t{device()} << 32U) | device();
}

std::string current_test_name() {
  testing::TestInfo const* const info = testing::UnitTest::GetInstance()->current_test_info();
  if (info == nullptr) return {};
  return std::string(info->test_suite_name()) + "." + info->name();
}

std::string replay_text(std::uint64_t value) {
  return std::string(kVariable) + "=" + std::to_string(value);
}

}  // namespace

Seed::Seed(std::uint64_t value, std::string_view name)
    : value_(value),
      mixed_(Prng(value ^ hash_of(name)).next()),
      trace_(__FILE__, __LINE__, "replay with " + replay_text(value)) {
  std::printf("seed: %s\n", replay_text(value).c_str());
  std::fflush(stdout);
}

Seed test_seed() {
  char const* const text = std::getenv(kVariable);
  return {text != nullptr ? parse_seed(text) : drawn_seed(), current_test_name()};
}

}  // namespace corelane::tests
