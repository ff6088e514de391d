#include "tests/support/beast_head.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <cstdint>
#include <limits>
#include <vector>

namespace corelane::tests {
namespace {

using net::http::Field;
using net::http::HeadCheck;
using net::http::HeadFacts;

struct RequestHead {
  std::string_view method;
  std::string_view target;
};

struct ResponseHead {
  int status_code = 0;
  std::string_view reason;
};

namespace beast_http = boost::beast::http;
using boost::beast::error_code;

std::string_view to_std(boost::beast::string_view text) noexcept {
  return {text.data(), text.size()};
}

// Collects the views that Beast reports. Bodies never get here, so their callbacks stay unused.
template <bool IsRequest>
class HeadParser final : public beast_http::basic_parser<IsRequest> {
 public:
  explicit HeadParser(std::vector<Field>& fields) : fields_(fields) {
    // Limits are net::http's; Beast counts the start line into its own.
    this->header_limit(std::numeric_limits<std::uint32_t>::max());
    this->body_limit(boost::none);
  }

  RequestHead request;
  ResponseHead response;

 private:
  void on_request_impl(beast_http::verb /*method*/, boost::beast::string_view method,
                       boost::beast::string_view target, int /*version*/,
                       error_code& /*failure*/) override {
    request = {to_std(method), to_std(target)};
  }
  void on_response_impl(int code, boost::beast::string_view reason, int /*version*/,
                        error_code& /*failure*/) override {
    response = {code, to_std(reason)};
  }
  void on_field_impl(beast_http::field /*known*/, boost::beast::string_view name,
                     boost::beast::string_view value, error_code& /*failure*/) override {
    fields_.push_back({to_std(name), to_std(value)});
  }
  void on_header_impl(error_code& /*failure*/) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>& /*length*/,
                         error_code& /*failure*/) override {}
  std::size_t on_body_impl(boost::beast::string_view body, error_code& /*failure*/) override {
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t /*size*/, boost::beast::string_view /*extensions*/,
                            error_code& /*failure*/) override {}
  std::size_t on_chunk_body_impl(std::uint64_t /*remaining*/, boost::beast::string_view body,
                                 error_code& /*failure*/) override {
    return body.size();
  }
  void on_finish_impl(error_code& /*failure*/) override {}

  std::vector<Field>& fields_;
};

template <bool IsRequest>
bool parse(HeadParser<IsRequest>& parser, std::string_view head) {
  error_code failure;
  const std::size_t used = parser.put(boost::asio::const_buffer{head.data(), head.size()}, failure);
  return !failure && used == head.size() && parser.is_header_done();
}

std::string difference_in_request(std::string_view head, std::string_view stream,
                                  const HeadFacts& facts, std::vector<Field>& fields) {
  HeadParser<true> parser{fields};
  if (parse(parser, head) == facts.has_bad_value) {
    return facts.has_bad_value ? "Beast takes a bad value" : "Beast refuses it";
  }
  if (facts.has_bad_value) return {};
  if (parser.request.method != facts.method.in(stream)) return "another method";
  if (parser.request.target != facts.target.in(stream)) return "another target";
  return {};
}

std::string difference_in_response(std::string_view head, std::string_view stream,
                                   const HeadFacts& facts, std::vector<Field>& fields) {
  HeadParser<false> parser{fields};
  if (parse(parser, head) == facts.has_bad_value) {
    return facts.has_bad_value ? "Beast takes a bad value" : "Beast refuses it";
  }
  if (facts.has_bad_value) return {};
  if (parser.response.status_code != facts.status_code) return "another status";
  if (parser.response.reason != facts.reason.in(stream)) return "another reason";
  return {};
}

}  // namespace

std::string difference_to_beast(std::string_view stream, HeadCheck::Kind kind,
                                const net::http::Limits& limits) {
  HeadCheck check{kind, limits};
  std::vector<Field> fields;
  if (check.scan(stream, fields) != HeadCheck::Verdict::complete) return {};
  const HeadFacts& facts = check.facts();
  // Beast does not know the empty line that is tolerated before a request.
  const std::string_view head = stream.substr(0, facts.end).substr(facts.method.offset);
  std::vector<Field> theirs;
  const std::string difference = kind == HeadCheck::Kind::request
                                     ? difference_in_request(head, stream, facts, theirs)
                                     : difference_in_response(head, stream, facts, theirs);
  if (!difference.empty() || facts.has_bad_value) return difference;
  const bool are_same = std::equal(
      fields.begin(), fields.end(), theirs.begin(), theirs.end(),
      [](const Field& a, const Field& b) { return a.name == b.name && a.value == b.value; });
  return are_same ? "" : "other fields";
}

}  // namespace corelane::tests
