#pragma once
// OwnedRequest: a request with memory of its own, for handlers that go on after on_data has
// returned: the views of a Request and of a RouteMatch end there. Belongs to one core. Pure: no
// I/O, never suspends.

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "net/http/message.hpp"
#include "net/http/router.hpp"

namespace corelane::net::http {

class OwnedRequest {
 public:
  // Copies the request with its body, and the route's parameters: one allocation for the texts, one
  // for the fields. Names of parameters stay views of the router, which outlives its server.
  static OwnedRequest copy(const Request& request, const RouteMatch& match);

  OwnedRequest(OwnedRequest&&) noexcept = default;
  OwnedRequest& operator=(OwnedRequest&&) noexcept = default;
  ~OwnedRequest() = default;

  // Views of this object's memory, also after it has been moved.
  const Request& view() const noexcept { return view_; }
  std::string_view method() const noexcept { return view_.method; }
  std::string_view path() const noexcept { return view_.path; }
  std::string_view query() const noexcept { return view_.query; }
  std::span<const std::byte> body() const noexcept { return view_.body; }
  std::string_view field(std::string_view name) const noexcept { return view_.single(name); }
  // Empty if the route has no such parameter. Percent-decoded.
  std::string_view parameter(std::string_view name) const noexcept;
  std::span<const RouteMatch::Parameter> parameters() const noexcept { return parameters_; }

  // The memory that it holds, for budgets.
  std::size_t memory_bytes() const noexcept { return bytes_ + fields_.size() * sizeof(Field); }

 private:
  OwnedRequest() = default;

  std::unique_ptr<char[]> text_;
  std::size_t bytes_ = 0;
  std::vector<Field> fields_;
  std::vector<RouteMatch::Parameter> parameters_;
  Request view_;
};

}  // namespace corelane::net::http
