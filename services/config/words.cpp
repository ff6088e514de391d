#include "services/config/words.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace corelane::services::config {
namespace {

constexpr std::size_t kHelpNamesWidth = 30;
constexpr std::size_t kNone = SIZE_MAX;

class Reader {
 public:
  Reader(const std::vector<FlagRule>& rules, const std::vector<std::string>& words)
      : rules_(rules), words_(words) {}

  std::vector<Word> read() {
    while (at_ < words_.size()) {
      const std::string& word = words_[at_++];
      if (only_arguments_ || !is_flag(word)) {
        found_.push_back({.kind = Word::Kind::argument, .value = word});
      } else if (word == "--") {
        only_arguments_ = true;
      } else if (word.starts_with("--")) {
        read_long(word);
      } else {
        read_short(word);
      }
    }
    return std::move(found_);
  }

 private:
  bool is_flag(const std::string& word) const {
    if (word.size() < 2 || word.front() != '-') return false;
    const bool is_number = (word[1] >= '0' && word[1] <= '9') || word[1] == '.';
    return !is_number || find_short(word[1]) != kNone;
  }
  std::size_t find_long(std::string_view name) const {
    return find([&](const FlagRule& rule) { return rule.long_name == name; });
  }
  std::size_t find_short(char letter) const {
    return find([&](const FlagRule& rule) {
      return rule.short_name.size() == 2 && rule.short_name[1] == letter;
    });
  }
  template <class Matches>
  std::size_t find(const Matches& matches) const {
    const auto found = std::find_if(rules_.begin(), rules_.end(), matches);
    return found == rules_.end() ? kNone : static_cast<std::size_t>(found - rules_.begin());
  }

  void read_long(const std::string& word) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::size_t flag = find_long(name);
    if (flag == kNone) {
      found_.push_back({.kind = Word::Kind::unknown, .name = name});
      if (equals != word.npos) found_.back().value = word.substr(equals + 1);
    } else if (equals != word.npos) {
      found_.push_back({Word::Kind::flag, flag, name, word.substr(equals + 1)});
    } else {
      take_flag(flag, name);
    }
  }

  void read_short(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const std::string name{'-', word[i]};
      const std::size_t flag = find_short(word[i]);
      if (flag == kNone) {
        // The whole word: it was meant as one.
        found_.push_back({.kind = Word::Kind::unknown, .name = word});
        return;
      }
      if (rules_[flag].takes_value && i + 1 < word.size()) {
        found_.push_back({Word::Kind::flag, flag, name, word.substr(i + 1)});
        return;
      }
      take_flag(flag, name);
    }
  }

  void take_flag(std::size_t flag, const std::string& name) {
    if (!rules_[flag].takes_value) {
      found_.push_back({Word::Kind::flag, flag, name, {}});
    } else if (at_ < words_.size()) {
      found_.push_back({Word::Kind::flag, flag, name, words_[at_++]});
    } else {
      found_.push_back({Word::Kind::lacks_value, flag, name, {}});
    }
  }

  const std::vector<FlagRule>& rules_;
  const std::vector<std::string>& words_;
  std::vector<Word> found_;
  std::size_t at_ = 0;
  bool only_arguments_ = false;
};

}  // namespace

std::vector<Word> read_words(const std::vector<FlagRule>& rules,
                             const std::vector<std::string>& words) {
  return Reader(rules, words).read();
}

std::string help_line(std::string_view names, std::string_view text) {
  if (names.size() < kHelpNamesWidth) {
    return fmt::format("  {:<{}}{}\n", names, kHelpNamesWidth, text);
  }
  return fmt::format("  {}\n  {:<{}}{}\n", names, "", kHelpNamesWidth, text);
}

}  // namespace corelane::services::config
