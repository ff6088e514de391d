#include "net/http/beast_head.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <cstdint>
#include <limits>

namespace net::http {
namespace {

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
    // Limits are the strictness check's; Beast counts the start line into its own.
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

}  // namespace

bool parse_request_head(std::string_view head, RequestHead& out, std::vector<Field>& fields) {
  HeadParser<true> parser{fields};
  if (!parse(parser, head)) return false;
  out = parser.request;
  return true;
}

bool parse_response_head(std::string_view head, ResponseHead& out, std::vector<Field>& fields) {
  HeadParser<false> parser{fields};
  if (!parse(parser, head)) return false;
  out = parser.response;
  return true;
}

}  // namespace net::http
