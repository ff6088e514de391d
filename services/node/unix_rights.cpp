#include "services/node/unix_rights.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>

namespace corelane::services {
namespace {

constexpr std::int64_t kModeMax = 0777;
constexpr std::int64_t kIdMax = 4'294'967'294;  // the one above means "leave it" to chown(2)
constexpr std::size_t kDatabaseBytesMax = 16 * 1024 * 1024;

std::optional<std::int64_t> parse(std::string_view text, int base, std::int64_t max) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (value < 0 || value > max) return std::nullopt;
  return value;
}

// A regular file, as far as it is not larger than any that people have.
std::string read_database(const char* path) {
  std::string text;
  const int file = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return text;
  std::array<char, 4096> bytes;
  ssize_t count = 0;
  while (text.size() < kDatabaseBytesMax && (count = ::read(file, bytes.data(), bytes.size())) > 0)
    text.append(bytes.data(), static_cast<std::size_t>(count));
  ::close(file);
  return text;
}

// name:password:number:... (passwd(5), group(5))
std::optional<std::int64_t> find(const char* path, std::string_view name) {
  if (const auto number = parse(name, 10, kIdMax)) return number;
  if (name.empty() || name.find_first_of(":\n") != name.npos) return std::nullopt;
  const std::string text = "\n" + read_database(path);
  const std::string mark = "\n" + std::string(name) + ":";
  const std::size_t line = text.find(mark);
  if (line == text.npos) return std::nullopt;
  const std::size_t password = text.find(':', line + mark.size());
  if (password == text.npos) return std::nullopt;
  const std::size_t end = text.find_first_of(":\n", password + 1);
  return parse(std::string_view(text).substr(password + 1, end - password - 1), 10, kIdMax);
}

}  // namespace

std::optional<std::int64_t> parse_mode(std::string_view text) {
  // At least three digits, so that an unquoted 0660 is not read as another mode.
  if (text.size() < 3 || text.size() > 4) return std::nullopt;
  return parse(text, 8, kModeMax);
}

std::optional<std::int64_t> find_user(std::string_view text) {
  return find("/etc/passwd", text);
}

std::optional<std::int64_t> find_group(std::string_view text) {
  return find("/etc/group", text);
}

}  // namespace corelane::services
