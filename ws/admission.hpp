#pragma once
// What an endpoint's handler sees of a handshake, and what it decides about it before the handshake
// is answered. Belongs to the core of its stream.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/http/message.hpp"
#include "net/http/router.hpp"
#include "net/http/status.hpp"
#include "net/network.hpp"
#include "net/stream.hpp"
#include "runtime/address.hpp"
#include "runtime/task.hpp"

namespace corelane::ws {

// Something of the handler's own, of any type.
struct DestroyAdmitted {
  void (*destroy)(void* value) noexcept = nullptr;
  void operator()(void* value) const noexcept { destroy(value); }
};
using AdmittedState = std::unique_ptr<void, DestroyAdmitted>;

// A loan: for the call, or until the coroutine that was given it has ended.
struct Handshake {
  std::string_view path;   // as sent, without the query, not percent-decoded
  std::string_view query;  // behind '?'; empty if there is none
  // On a server the fields of the request; in a client's on_open the fields of the answer.
  std::span<const net::http::Field> fields;
  // Parameters of the route (EndpointRoutes), percent-decoded.
  std::span<const net::http::RouteMatch::Parameter> parameters;
  std::string_view subprotocol;  // the one that was chosen; empty: none
  net::Network& network;
  net::StreamId stream;
  AdmittedState state = {};  // in on_open: that of Admission::admit(state)

  // Empty if there is none; a field that comes twice is none.
  std::string_view field(std::string_view name) const noexcept {
    return net::http::single_value(fields, name);
  }
  std::string_view parameter(std::string_view name) const noexcept;
  // The undecoded value of `name` in the query ("a=1&b=2"); the first of several.
  std::string_view query_value(std::string_view name) const noexcept;
  // In on_open: the state, which is a T, or null if there was none.
  template <class T>
  std::unique_ptr<T> take_state() noexcept {
    return std::unique_ptr<T>{static_cast<T*>(state.release())};
  }
  // Read when it is asked for: net/peer_address.hpp.
  runtime::Task<std::optional<runtime::Address>> peer_address() const;
};

// The decision about a handshake that is sound.
class Admission {
 public:
  static Admission admit() noexcept { return {}; }
  // on_open may take the state; otherwise it ends with the handshake.
  template <class T>
  static Admission admit(std::unique_ptr<T> state) noexcept {
    Admission admission;
    const DestroyAdmitted destroy{[](void* value) noexcept { delete static_cast<T*>(value); }};
    admission.state_ = AdmittedState{state.release(), destroy};
    return admission;
  }
  // The HTTP answer: an error status, one line of text in place of the status' own, and more
  // fields. Throws std::invalid_argument for a malformed field, and for one that the server writes
  // itself: Connection, Content-Length, Content-Type, Date, Transfer-Encoding, and Retry-After of a
  // 503.
  static Admission refuse(net::http::Status status, std::string reason = {},
                          std::initializer_list<net::http::Field> fields = {});
  // From ConnectionHandler::admit alone: admit_later decides.
  static Admission later() noexcept;

 private:
  friend class Endpoint;
  enum class Kind : std::uint8_t { admitted, refused, later };
  Admission() = default;

  Kind kind_ = Kind::admitted;
  net::http::Status status_ = net::http::Status::forbidden;
  std::string reason_;
  std::string fields_;  // whole lines
  AdmittedState state_;
};

}  // namespace corelane::ws
