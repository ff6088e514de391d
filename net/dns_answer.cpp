#include "net/dns_answer.hpp"

#include <algorithm>

namespace corelane::net {
namespace {

// RFC 1035 sections 3.2.2 and 4.1.1, RFC 3596.
enum RecordType : std::uint16_t { kA = 1, kSoa = 6, kAaaa = 28 };
constexpr std::uint16_t kIsResponse = 0x8000;
constexpr std::uint16_t kIsCut = 0x0200;
constexpr std::uint16_t kResponseCode = 0x000f;
constexpr std::uint16_t kNoSuchName = 3;

// Reads forward; what is not there reads as 0 and ends the reading.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

  bool failed() const noexcept { return failed_; }
  std::uint32_t number(std::size_t bytes) noexcept {
    std::uint32_t value = 0;
    for (const std::byte byte : take(bytes)) value = value << 8 | std::to_integer<unsigned>(byte);
    return value;
  }
  std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number(2)); }
  std::span<const std::byte> take(std::size_t bytes) noexcept {
    if (bytes > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }
  // A pointer to an earlier name ends the name here: it is not followed.
  void skip_name() noexcept {
    while (!failed_) {
      const std::uint32_t length = number(1);
      if (length == 0) return;
      if (length >= 0xc0) {
        take(1);
        return;
      }
      if (length >= 0x40) failed_ = true;
      take(length);
    }
  }

 private:
  std::span<const std::byte> rest_;
  bool failed_ = false;
};

struct Record {
  std::uint16_t type = 0;
  std::uint32_t seconds = 0;
  std::span<const std::byte> data{};
};

Record read_record(Reader& reader) noexcept {
  Record record;
  reader.skip_name();
  record.type = reader.u16();
  reader.take(2);  // the class
  record.seconds = reader.number(4);
  // RFC 2181 section 8: with the highest bit set, as 0.
  if (record.seconds > INT32_MAX) record.seconds = 0;
  record.data = reader.take(reader.u16());
  return record;
}

// The last of the five numbers behind the two names of a SOA record.
std::uint32_t minimum_of(const Record& soa) noexcept {
  constexpr std::size_t kNumbers = 20;
  if (soa.data.size() < kNumbers) return 0;
  return Reader(soa.data.last(4)).number(4);
}

}  // namespace

std::optional<DnsLife> life_of_dns_answer(std::span<const std::byte> message) noexcept {
  Reader reader(message);
  reader.take(2);  // the identifier
  const std::uint16_t flags = reader.u16();
  const std::uint16_t questions = reader.u16();
  const std::uint16_t answers = reader.u16();
  const std::uint16_t authorities = reader.u16();
  reader.take(2);
  const int code = flags & kResponseCode;
  if ((flags & kIsResponse) == 0 || (flags & kIsCut) != 0) return std::nullopt;
  if (code != 0 && code != kNoSuchName) return std::nullopt;
  for (int i = 0; i < questions && !reader.failed(); ++i) {
    reader.skip_name();
    reader.take(4);
  }
  DnsLife life{.has_addresses = false, .seconds = UINT32_MAX};
  for (int i = 0; i < answers && !reader.failed(); ++i) {
    const Record record = read_record(reader);
    life.seconds = std::min(life.seconds, record.seconds);
    if (record.type == kA || record.type == kAaaa) life.has_addresses = true;
  }
  bool is_known = life.has_addresses;
  for (int i = 0; i < authorities && !is_known && !reader.failed(); ++i) {
    const Record record = read_record(reader);
    if (record.type != kSoa) continue;
    life.seconds = std::min({life.seconds, record.seconds, minimum_of(record)});
    is_known = true;
  }
  if (reader.failed() || !is_known) return std::nullopt;
  return life;
}

}  // namespace corelane::net
