// What one setting can do: take a value, and tell its names, its range and its value as text.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <span>
#include <type_traits>

#include "services/config/setting.hpp"
#include "services/config/source.hpp"
#include "services/config/value.hpp"
#include "ws/utf8.hpp"

namespace corelane::services::config {
namespace {

std::string format_number(SettingKind kind, std::uint64_t value) {
  switch (kind) {
    case SettingKind::bytes:
      return format_bytes(value);
    case SettingKind::duration:
      return format_duration(static_cast<runtime::Nanoseconds>(value));
    default:
      return fmt::format("{}", value);
  }
}

// --- Taking a value

Parsed<std::uint64_t> parse_number(const Setting& setting, const RawValue& raw) {
  if (const auto* integer = std::get_if<std::int64_t>(&raw.value)) {
    if (*integer < 0) return {{}, "is negative", {}};
    if (setting.kind == SettingKind::duration && *integer != 0) {
      return {{}, "has no unit", fmt::format("{}s", *integer)};
    }
    return {static_cast<std::uint64_t>(*integer), {}, {}};
  }
  const auto* text = std::get_if<std::string>(&raw.value);
  if (text == nullptr) return {{}, "is no number", {}};
  switch (setting.kind) {
    case SettingKind::bytes:
      return parse_bytes(*text);
    case SettingKind::duration: {
      Parsed<runtime::Nanoseconds> duration = parse_duration(*text);
      Parsed<std::uint64_t> result{{}, std::move(duration.problem), std::move(duration.suggestion)};
      if (duration.value) result.value = static_cast<std::uint64_t>(*duration.value);
      return result;
    }
    default:
      if (!raw.is_text_only) {
        const bool fits = parse_count(*text).value.has_value();
        return {{}, "is text, not a number", fits ? *text : std::string{}};
      }
      return parse_count(*text);
  }
}

ValueProblem set_number(const Setting& setting, const RawValue& raw, Value& to) {
  const Parsed<std::uint64_t> parsed = parse_number(setting, raw);
  if (!parsed.value) return {parsed.problem, parsed.suggestion};
  const std::uint64_t value = *parsed.value;
  if (!(value == 0 && setting.zero_too)) {
    const auto show = [&](std::uint64_t number) { return format_number(setting.kind, number); };
    if (value < setting.min) return {"is too small", show(setting.min)};
    if (value > setting.max) return {"is too large", show(setting.max)};
    if (setting.power_of_two && !std::has_single_bit(value)) {
      return {"is no power of two", show(std::min(std::bit_ceil(value), setting.max))};
    }
  }
  to = value;
  return {};
}

ValueProblem set_boolean(const RawValue& raw, Value& to) {
  if (const auto* boolean = std::get_if<bool>(&raw.value)) {
    to = *boolean;
    return {};
  }
  const auto* text = std::get_if<std::string>(&raw.value);
  if (text == nullptr) return {"is neither true nor false", "true"};
  const Parsed<bool> parsed = parse_boolean(*text);
  if (!parsed.value) return {parsed.problem, parsed.suggestion};
  if (!raw.is_text_only) return {"is text, not true or false", *parsed.value ? "true" : "false"};
  to = *parsed.value;
  return {};
}

// False for text that --print-config could not print and a file could not hold.
bool is_utf8(std::string_view text) {
  return ws::is_valid_utf8(std::as_bytes(std::span{text}));
}

std::string problem_of(const Setting& setting, std::string_view text) {
  return is_utf8(text) ? setting.check(text) : "is not UTF-8";
}

ValueProblem set_text(const Setting& setting, const RawValue& raw, Value& to) {
  const auto* text = std::get_if<std::string>(&raw.value);
  if (text == nullptr) return {"is no text", std::string(setting.example)};
  if (const std::string problem = problem_of(setting, *text); !problem.empty()) {
    return {problem, std::string(setting.example)};
  }
  to = *text;
  return {};
}

// Appends the elements of one variable, or of one mention of a flag. False: a bad array.
bool append_elements(const Setting& setting, const std::string& text,
                     std::vector<std::string>& parts) {
  std::vector<std::string> more;
  if (is_array(text)) {
    auto listed = parse_toml_list(text);
    if (!listed) return false;
    more = std::move(*listed);
  } else {
    more =
        split_list(text, [&](std::string_view part) { return problem_of(setting, part).empty(); });
  }
  parts.insert(parts.end(), more.begin(), more.end());
  return true;
}

// The problem of an element. For a comma-separated element, the problem of its first invalid part.
ValueProblem problem_in(const Setting& setting, std::string_view element) {
  std::string_view wrong = element;
  for (std::string_view rest = element; !rest.empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    wrong = rest.substr(0, comma);
    if (!problem_of(setting, wrong).empty()) break;
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    wrong = element;
  }
  return {fmt::format("\"{}\" {}", wrong, problem_of(setting, wrong)),
          std::string(setting.example)};
}

ValueProblem set_list(const Setting& setting, const RawValue& raw, Value& to) {
  std::vector<std::string> given;
  if (const auto* list = std::get_if<std::vector<std::string>>(&raw.value)) {
    given = *list;
  } else if (const auto* text = std::get_if<std::string>(&raw.value)) {
    given = {*text};
  } else {
    return {"is no list of texts", std::string(setting.example)};
  }
  std::vector<std::string> parts;
  for (const std::string& text : given) {
    if (!raw.is_text_only) {
      parts.push_back(text);
    } else if (!append_elements(setting, text, parts)) {
      return {"is no array of texts, as [\"a\", \"b\"]", fmt::format("[\"{}\"]", setting.example)};
    }
  }
  for (const std::string& part : parts) {
    if (problem_of(setting, part).empty()) continue;
    if (raw.is_text_only) return problem_in(setting, part);
    return {fmt::format("\"{}\" {}", part, problem_of(setting, part)),
            std::string(setting.example)};
  }
  to = std::move(parts);
  return {};
}

std::string replaced(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

}  // namespace

std::string setting_path(const Setting& setting) {
  return fmt::format("{}.{}", setting.section, setting.key);
}

std::string setting_flag(const Setting& setting) {
  return "--" + replaced(setting_path(setting), '_', '-');
}

std::string setting_alias(const Setting& setting) {
  return setting.alias.empty() ? std::string{} : fmt::format("--{}", setting.alias);
}

std::string setting_variable(const Setting& setting) {
  std::string name = fmt::format("CORELANE_{}_{}", setting.section, setting.key);
  std::transform(name.begin(), name.end(), name.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 32) : letter;
  });
  return name;
}

std::string setting_allowed(const Setting& setting) {
  switch (setting.kind) {
    case SettingKind::boolean:
      return "true or false";
    case SettingKind::text:
    case SettingKind::list:
      return std::string(setting.allowed);
    default:
      break;
  }
  std::string text = fmt::format("{}{} to {}", setting.zero_too ? "0, or " : "",
                                 format_number(setting.kind, setting.min),
                                 format_number(setting.kind, setting.max));
  if (setting.power_of_two) text += ", a power of two";
  if (setting.kind == SettingKind::bytes) text += " (as 65536, \"64KiB\", \"1MiB\")";
  if (setting.kind == SettingKind::duration) text += " (as \"250ms\", \"10s\", \"2m\")";
  return text;
}

std::string quote_toml(std::string_view text) {
  std::string quoted = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      quoted += '\\';
      quoted += letter;
    } else if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) {
      quoted += fmt::format("\\u{:04X}", static_cast<unsigned>(letter));
    } else {
      quoted += letter;
    }
  }
  return quoted + "\"";
}

std::string setting_toml(const Setting& setting, const Value& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* text = std::get_if<std::string>(&value)) return quote_toml(*text);
  if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    const std::string text = format_number(setting.kind, *number);
    return parse_count(text).value ? text : quote_toml(text);
  }
  std::string list;
  for (const std::string& part : std::get<std::vector<std::string>>(value)) {
    list += (list.empty() ? "" : ", ") + quote_toml(part);
  }
  return "[" + list + "]";
}

ValueProblem set_value(const Setting& setting, const RawValue& raw, Value& to) {
  switch (setting.kind) {
    case SettingKind::boolean:
      return set_boolean(raw, to);
    case SettingKind::text:
      return set_text(setting, raw, to);
    case SettingKind::list:
      return set_list(setting, raw, to);
    case SettingKind::count:
    case SettingKind::bytes:
    case SettingKind::duration:
      return set_number(setting, raw, to);
  }
  return {"has an unknown kind", {}};
}

}  // namespace corelane::services::config
