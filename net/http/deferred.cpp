// The handles by which answers come later: each call looks its request up again.

#include "net/http/deferred.hpp"

#include <memory>
#include <utility>

#include "net/http/server.hpp"
#include "runtime/core.hpp"
#include "runtime/sharded.hpp"

namespace corelane::net::http {

using runtime::Core;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

namespace {

// An answer on its way from another core. It is freed where it was made.
struct Parcel {
  ResponderId to;
  Status status;
  std::string content_type;
  std::string body;
};

struct ParcelReturn {
  Parcel* parcel;
  void deliver(runtime::CoreId) const { delete parcel; }
};

struct ParcelMessage {
  Parcel* parcel;
  void deliver(runtime::CoreId from) const {
    const DeferredResponder responder{parcel->to};
    (void)responder.respond(parcel->status, parcel->content_type, parcel->body);
    Core::current().lanes().send(from, ParcelReturn{parcel});
  }
};

}  // namespace

bool DeferredResponder::waiting() const noexcept {
  return Server::find(id_).exchange != nullptr;
}

bool DeferredResponder::draining() const noexcept {
  const Server* server = Server::find(id_).server;
  return server == nullptr || server->draining();
}

StreamId DeferredResponder::stream() const noexcept {
  const Server::Found found = Server::find(id_);
  return found.exchange != nullptr ? found.exchange->connection.stream : StreamId{};
}

Delivery DeferredResponder::hand_over(TakeStream take, void* context) const {
  const Server::Found found = Server::find(id_);
  return found.server == nullptr ? Delivery::gone
                                 : found.server->hand_over(found.exchange, take, context);
}

Delivery DeferredResponder::refuse(Status status, const ErrorOptions& options) const {
  const Server::Found found = Server::find(id_);
  return found.server == nullptr ? Delivery::gone
                                 : found.server->refuse_later(found.exchange, status, options);
}

Delivery DeferredResponder::respond(Status status, std::string_view content_type,
                                    std::string_view body) const {
  return respond(status, {.content_type = content_type}, std::as_bytes(std::span{body}));
}

Delivery DeferredResponder::respond(Status status, const ResponseOptions& options,
                                    std::span<const std::byte> body) const {
  const Server::Found found = Server::find(id_);
  if (found.server == nullptr) return Delivery::gone;
  return found.server->respond_later(found.exchange, status, options, body);
}

Task<Delivery> DeferredResponder::answer(Status status, std::string_view content_type,
                                         std::string_view body) const {
  const DeferredResponder self = *this;
  if (id_.core == runtime::kNoCore) co_return Delivery::gone;
  if (id_.core == Core::current().id()) co_return respond(status, content_type, body);
  // Not cancellable: the function captures views of the caller's memory.
  auto at_home = runtime::call_on(id_.core, [self, status, content_type, body] {
    return self.respond(status, content_type, body);
  });
  co_return co_await at_home;
}

void DeferredResponder::post(Status status, std::string content_type, std::string body) const {
  if (id_.core == runtime::kNoCore) return;
  auto parcel =
      std::make_unique<Parcel>(Parcel{id_, status, std::move(content_type), std::move(body)});
  Core::current().lanes().send(id_.core, ParcelMessage{parcel.release()});
}

Delivery DeferredResponder::begin(Status status, const ResponseOptions& options,
                                  std::optional<std::uint64_t> length) const {
  const Server::Found found = Server::find(id_);
  if (found.server == nullptr) return Delivery::gone;
  return found.server->begin_pieces(found.exchange, status, options, length);
}

Task<Result<void>> DeferredResponder::write(std::span<const std::byte> bytes) const {
  const ResponderId id = id_;
  for (;;) {
    const Server::Found found = Server::find(id);
    if (found.exchange == nullptr) co_return runtime::fail(ErrorCode::closed);
    const auto taken = found.server->write_piece(*found.exchange, bytes);
    if (!taken) co_return runtime::Unexpected{taken.error()};
    bytes = bytes.subspan(*taken);
    if (bytes.empty()) co_return Result<void>{};
    if (*taken != 0) continue;
    runtime::WaitQueue::Waiter waiter{found.exchange->room};
    const auto outcome = co_await waiter;
    if (outcome == runtime::WaitQueue::Outcome::cancelled) {
      co_return runtime::fail(ErrorCode::cancelled);
    }
  }
}

Delivery DeferredResponder::end() const {
  const Server::Found found = Server::find(id_);
  if (found.exchange == nullptr) return Delivery::gone;
  return found.server->end_pieces(*found.exchange);
}

Task<Result<std::size_t>> DeferredResponder::read_body(std::span<std::byte> into) const {
  const ResponderId id = id_;
  for (;;) {
    const Server::Found found = Server::find(id);
    if (found.exchange == nullptr) co_return runtime::fail(ErrorCode::closed);
    if (into.empty() || !found.exchange->body_comes) co_return std::size_t{0};
    const auto taken = found.server->take_body(*found.exchange, into);
    if (!taken) co_return runtime::Unexpected{taken.error()};
    if (taken->bytes != 0 || taken->ended) co_return taken->bytes;
    runtime::WaitQueue::Waiter waiter{found.exchange->input};
    const auto outcome = co_await waiter;
    if (outcome == runtime::WaitQueue::Outcome::cancelled) {
      co_return runtime::fail(ErrorCode::cancelled);
    }
  }
}

}  // namespace corelane::net::http
