#include "net/http/owned_request.hpp"

#include <cstring>

#include "runtime/assert.hpp"

namespace corelane::net::http {
namespace {

// Lays texts one behind the other into memory that has room for all of them.
class Copier {
 public:
  Copier(char* memory, std::size_t bytes) noexcept : at_(memory), end_(memory + bytes) {}
  std::string_view put(std::string_view text) noexcept {
    RT_ASSERT(text.size() <= static_cast<std::size_t>(end_ - at_));
    if (text.empty()) return {};
    std::memcpy(at_, text.data(), text.size());
    const std::string_view copy{at_, text.size()};
    at_ += text.size();
    return copy;
  }
  // A part of `whole` where its copy is; of other memory it is copied as well.
  std::string_view put_part(std::string_view part, std::string_view whole,
                            std::string_view copy) noexcept {
    const bool lies_within =
        part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
    if (!lies_within) return put(part);
    return copy.substr(static_cast<std::size_t>(part.data() - whole.data()), part.size());
  }

 private:
  char* at_;
  char* const end_;
};

}  // namespace

OwnedRequest OwnedRequest::copy(const Request& request, const RouteMatch& match) {
  OwnedRequest own;
  own.bytes_ = request.method.size() + request.target.size() + request.path.size() +
               request.query.size() + request.host.size() + request.body.size();
  for (const Field& field : request.fields) own.bytes_ += field.name.size() + field.value.size();
  for (const auto& parameter : match.parameters()) own.bytes_ += parameter.value.size();
  own.text_ = std::make_unique_for_overwrite<char[]>(own.bytes_);

  Copier copier{own.text_.get(), own.bytes_};
  own.view_ = request;
  own.view_.method = copier.put(request.method);
  own.view_.target = copier.put(request.target);
  own.view_.path = copier.put_part(request.path, request.target, own.view_.target);
  own.view_.query = copier.put_part(request.query, request.target, own.view_.target);
  own.view_.host = copier.put(request.host);
  own.fields_.reserve(request.fields.size());
  for (const Field& field : request.fields) {
    const std::string_view name = copier.put(field.name);
    own.fields_.push_back({.name = name, .value = copier.put(field.value)});
  }
  own.view_.fields = own.fields_;
  own.parameters_.reserve(match.parameters().size());
  for (const auto& parameter : match.parameters()) {
    own.parameters_.push_back({.name = parameter.name, .value = copier.put(parameter.value)});
  }
  const std::string_view body =
      copier.put({reinterpret_cast<const char*>(request.body.data()), request.body.size()});
  own.view_.body = std::as_bytes(std::span{body});
  return own;
}

std::string_view OwnedRequest::parameter(std::string_view name) const noexcept {
  for (const auto& parameter : parameters_) {
    if (parameter.name == name) return parameter.value;
  }
  return {};
}

}  // namespace corelane::net::http
