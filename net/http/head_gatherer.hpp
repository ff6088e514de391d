#pragma once
// HeadGatherer: the head of a message on its way through HeadCheck, for both parsers: in one buffer
// it is looked at where it lies, in several its pieces are gathered. The fields, views of the head,
// follow it when it moves. Pure: no I/O.
//
//   scan() until a verdict -> consumed(), head() -> ... -> reset()

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/head_check.hpp"
#include "net/http/message.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {

class HeadGatherer {
 public:
  // The next bytes of the stream, of which it keeps what it needs. No head is longer than
  // `head_bytes_max`, so the check comes to a verdict within it; and the memory that a peer can
  // make us keep for a head ends there, too.
  HeadCheck::Verdict scan(HeadCheck& check, std::string_view input, std::vector<Field>& fields,
                          std::size_t head_bytes_max) {
    before_ = text_.size();
    if (before_ != 0) append(input.substr(0, head_bytes_max - before_), fields, head_bytes_max);
    const auto verdict = check.scan(before_ != 0 ? std::string_view{text_} : input, fields);
    if (verdict == HeadCheck::Verdict::need_more) {
      if (before_ == 0) take(input, fields);
      RT_ASSERT(text_.size() == before_ + input.size());
    }
    return verdict;
  }
  // How many bytes of the last input belong to a head that ends at `end`.
  std::size_t consumed(std::size_t end) const noexcept { return end - before_; }
  // The whole head: a view into `input`, the last one, unless it is gathered or to be kept longer.
  std::string_view head(std::string_view input, std::size_t end, bool keep,
                        std::vector<Field>& fields) {
    if (before_ != 0) {
      text_.resize(end);
    } else if (keep) {
      take(input.substr(0, end), fields);
    }
    return text_.empty() ? input.substr(0, end) : std::string_view{text_};
  }
  std::string_view gathered() const noexcept { return text_; }
  // Beside the object, in which a short text lies.
  std::size_t memory_bytes() const noexcept {
    return text_.capacity() == std::string().capacity() ? 0 : text_.capacity();
  }
  // Keeps at most `kept_bytes` of memory.
  void reset(std::size_t kept_bytes) noexcept {
    text_.clear();
    if (text_.capacity() > kept_bytes) std::string{}.swap(text_);
  }

 private:
  void take(std::string_view input, std::vector<Field>& fields) {
    text_.assign(input);
    move_views(fields, input);
  }
  void append(std::string_view part, std::vector<Field>& fields, std::size_t head_bytes_max) {
    if (text_.size() + part.size() > text_.capacity()) {
      std::string larger;  // a string that grows by itself doubles, whatever is reserved
      larger.reserve(std::clamp(2 * text_.capacity(), text_.size() + part.size(), head_bytes_max));
      larger.append(text_);
      const std::string_view old{text_};
      text_.swap(larger);
      move_views(fields, old);
    }
    text_.append(part);
  }
  void move_views(std::vector<Field>& fields, std::string_view old) noexcept {
    for (Field& field : fields) {
      field.name = {text_.data() + (field.name.data() - old.data()), field.name.size()};
      field.value = {text_.data() + (field.value.data() - old.data()), field.value.size()};
    }
  }

  std::string text_;
  std::size_t before_ = 0;  // bytes gathered before the last input
};

}  // namespace corelane::net::http
