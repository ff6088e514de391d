#include "net/http/message.hpp"

#include <algorithm>

namespace corelane::net::http {
namespace {

constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

}  // namespace

bool field_name_equal(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return to_lower(x) == to_lower(y);
         });
}

std::string_view trim_white_space(std::string_view text) noexcept {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool list_has_token(std::string_view list, std::string_view token) noexcept {
  if (field_name_equal(list, token)) return !token.empty();  // a list of one, as most are
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view element = trim_white_space(list.substr(0, comma));
    if (!element.empty() && field_name_equal(element, token)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::string_view single_value(std::span<const Field> fields, std::string_view name) noexcept {
  const Field* only = nullptr;
  for (const Field& field : fields) {
    if (!field_name_equal(field.name, name)) continue;
    if (only != nullptr) return {};
    only = &field;
  }
  return only == nullptr ? std::string_view{} : only->value;
}

std::size_t count_fields(std::span<const Field> fields, std::string_view name) noexcept {
  return static_cast<std::size_t>(
      std::count_if(fields.begin(), fields.end(),
                    [name](const Field& field) { return field_name_equal(field.name, name); }));
}

bool fields_have_token(std::span<const Field> fields, std::string_view name,
                       std::string_view token) noexcept {
  return std::any_of(fields.begin(), fields.end(), [name, token](const Field& field) {
    return field_name_equal(field.name, name) && list_has_token(field.value, token);
  });
}

std::string_view Request::single(std::string_view name) const noexcept {
  return single_value(fields, name);
}
std::size_t Request::count(std::string_view name) const noexcept {
  return count_fields(fields, name);
}
bool Request::has_token(std::string_view name, std::string_view token) const noexcept {
  return fields_have_token(fields, name, token);
}

std::string_view Response::single(std::string_view name) const noexcept {
  return single_value(fields, name);
}
std::size_t Response::count(std::string_view name) const noexcept {
  return count_fields(fields, name);
}
bool Response::has_token(std::string_view name, std::string_view token) const noexcept {
  return fields_have_token(fields, name, token);
}

}  // namespace corelane::net::http
