#include "ws/admission.hpp"

#include <stdexcept>
#include <utility>

#include "net/http/response.hpp"
#include "net/http/syntax.hpp"
#include "net/peer_address.hpp"
#include "runtime/assert.hpp"

namespace corelane::ws {

std::string_view Handshake::parameter(std::string_view name) const noexcept {
  for (const auto& [its_name, value] : parameters) {
    if (its_name == name) return value;
  }
  return {};
}

std::string_view Handshake::query_value(std::string_view name) const noexcept {
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(pair.size() == rest.size() ? pair.size() : pair.size() + 1);
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == pair.npos ? std::string_view{} : pair.substr(equals + 1);
  }
  return {};
}

runtime::Task<std::optional<runtime::Address>> Handshake::peer_address() const {
  return net::peer_address(network, stream);
}

Admission Admission::refuse(net::http::Status status, std::string reason,
                            std::initializer_list<net::http::Field> fields) {
  RT_ASSERT(static_cast<unsigned>(status) >= 400);
  Admission admission;
  admission.kind_ = Kind::refused;
  admission.status_ = status;
  admission.reason_ = std::move(reason);
  for (const auto& [name, value] : fields) {
    if (!net::http::is_token(name) || !net::http::is_field_value(value)) {
      throw std::invalid_argument("a field that cannot stand in a header");
    }
    if (net::http::is_field_of_error(status, name)) {
      throw std::invalid_argument("the server writes the field " + std::string{name} + " itself");
    }
    admission.fields_.append(name).append(": ").append(value).append("\r\n");
  }
  return admission;
}

Admission Admission::later() noexcept {
  Admission admission;
  admission.kind_ = Kind::later;
  return admission;
}

}  // namespace corelane::ws
