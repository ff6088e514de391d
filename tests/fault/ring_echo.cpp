#include "tests/fault/ring_echo.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace corelane::tests {

using runtime::Completion;
using runtime::Descriptor;
using runtime::Token;

// --- Server

struct RingEchoServer::Connection {
  Descriptor socket;
  std::string queue;    // to be sent back; while a send is in flight its bytes stay where they are
  std::string arrived;  // since the last look
  Token receive_token;
  bool receiving = false;
  bool cancelling = false;
  bool sending = false;
  bool ended = false;
  bool broken = false;
  bool closing = false;
};

RingEchoServer::RingEchoServer(RingLoop& loop, const runtime::Address& address, bool direct)
    : loop_(loop), direct_(direct), memory_(kBuffers * kBufferBytes) {
  listener_ = *loop.ring().listen(address, {.reuse_port = true});
  EXPECT_TRUE(
      loop.ring().register_buffers(kGroup, memory_.data(), kBufferBytes, kBuffers, kBuffers));
  accept();
}

RingEchoServer::~RingEchoServer() = default;

bool RingEchoServer::finished() const noexcept {
  return stopping_ && !accepting_ && connections_.empty() && !listener_.valid();
}

void RingEchoServer::accept() {
  accepting_ = true;
  accept_paused_ = false;
  accept_token_ = loop_.on([this](const Completion& completion) { on_accept(completion); });
  loop_.ring().accept(listener_, direct_, accept_token_);
}

void RingEchoServer::on_accept(const Completion& completion) {
  if (completion.result >= 0) {
    ++accepted_;
    connections_.push_back(std::make_unique<Connection>());
    connections_.back()->socket = {.number = completion.result, .direct = direct_};
    receive(*connections_.back());
  }
  accepting_ = false;
  const bool no_descriptor = completion.result == -EMFILE || completion.result == -ENFILE;
  if (stopping_) {
    loop_.ring().close(listener_, loop_.on([this](const Completion&) { listener_ = {}; }));
  } else if (no_descriptor && !connections_.empty()) {
    accept_paused_ = true;
  } else {
    accept();
  }
}

void RingEchoServer::stop() {
  stopping_ = true;
  if (accepting_) {
    loop_.ring().cancel(accept_token_);
  } else {
    loop_.ring().close(listener_, loop_.on([this](const Completion&) { listener_ = {}; }));
  }
}

void RingEchoServer::receive(Connection& connection) {
  connection.receiving = true;
  connection.receive_token = loop_.on(
      [this, &connection](const Completion& completion) { on_receive(connection, completion); });
  loop_.ring().receive_multishot(connection.socket, kGroup, connection.receive_token);
}

void RingEchoServer::on_receive(Connection& connection, const Completion& completion) {
  if (completion.has_buffer) {
    EXPECT_GT(completion.result, 0);
    const std::byte* start = memory_.data() + completion.buffer * kBufferBytes;
    connection.arrived.append(reinterpret_cast<const char*>(start),
                              static_cast<std::size_t>(completion.result));
    loop_.ring().recycle(kGroup, completion.buffer);
  }
  if (!completion.more) {
    connection.receiving = false;
    connection.cancelling = false;
    connection.ended = connection.ended || completion.result == 0;
    if (completion.result == -ENOBUFS) ++buffer_shortages_;
    const bool harmless = completion.result == -ENOBUFS || completion.result == -ECANCELED;
    connection.broken = connection.broken || (completion.result < 0 && !harmless);
  }
  progress(connection);
}

void RingEchoServer::progress(Connection& connection) {
  const std::size_t waiting = connection.queue.size() + connection.arrived.size();
  if (connection.closing) return;
  if (!connection.broken && !connection.sending && waiting != 0) send(connection);
  const bool taking = !connection.ended && !connection.broken;
  if (taking && !connection.receiving && waiting <= kQueueMax) receive(connection);
  const bool too_much = waiting > kQueueMax || connection.broken;
  if (connection.receiving && too_much && !connection.cancelling) {
    connection.cancelling = true;
    loop_.ring().cancel(connection.receive_token);
  }
  const bool idle = !connection.receiving && !connection.sending;
  if (!idle || !(connection.broken || (connection.ended && waiting == 0))) return;
  connection.closing = true;
  loop_.ring().close(connection.socket, loop_.on([this, &connection](const Completion& completion) {
    EXPECT_EQ(completion.result, 0);
    remove(connection);
  }));
}

void RingEchoServer::send(Connection& connection) {
  connection.queue += connection.arrived;
  connection.arrived.clear();
  connection.sending = true;
  loop_.ring().send(connection.socket, std::as_bytes(std::span{connection.queue}),
                    loop_.on([this, &connection](const Completion& completion) {
                      connection.sending = false;
                      if (completion.result <= 0) {
                        connection.broken = true;
                      } else {
                        connection.queue.erase(0, static_cast<std::size_t>(completion.result));
                      }
                      progress(connection);
                    }));
}

void RingEchoServer::remove(Connection& connection) {
  std::erase_if(connections_, [&](const auto& each) { return each.get() == &connection; });
  if (accept_paused_ && !stopping_) accept();
}

// --- Client

RingEchoClient::RingEchoClient(RingLoop& loop, const runtime::Address& address, std::uint64_t seed,
                               std::size_t bytes)
    : loop_(loop), address_(address), random_(seed), outgoing_(bytes), piece_(97) {
  random_.fill(outgoing_);
  connect();
}

void RingEchoClient::connect() {
  socket_ = *loop_.ring().open_socket(address_.family());
  loop_.ring().connect(socket_, address_, loop_.on([this](const Completion& completion) {
    if (completion.result == 0) {
      send();
      receive();
    } else {
      loop_.ring().close_now(socket_);
      connect();
    }
  }));
}

void RingEchoClient::send() {
  if (sent_ == outgoing_.size()) return end();
  const std::size_t left = outgoing_.size() - sent_;
  const std::size_t count = 1 + random_.below(std::min<std::size_t>(left, 1500));
  ++in_flight_;
  outgoing_token_ = loop_.on([this](const Completion& completion) {
    --in_flight_;
    if (completion.result <= 0) {
      broken_ = true;
      return close_when_idle();
    }
    sent_ += static_cast<std::size_t>(completion.result);
    send();
  });
  loop_.ring().send(socket_, std::span{outgoing_}.subspan(sent_, count), outgoing_token_);
}

void RingEchoClient::end() {
  ++in_flight_;
  outgoing_token_ = loop_.on([this](const Completion& completion) {
    --in_flight_;
    broken_ = broken_ || completion.result != 0;
    close_when_idle();
  });
  loop_.ring().shutdown(socket_, SHUT_WR, outgoing_token_);
}

void RingEchoClient::receive() {
  ++in_flight_;
  incoming_token_ = loop_.on([this](const Completion& completion) {
    --in_flight_;
    if (completion.result > 0) {
      incoming_.insert(incoming_.end(), piece_.begin(), piece_.begin() + completion.result);
      return receive();
    }
    // The end can also come early: a server without a descriptor closes what it accepted.
    ended_ = true;
    broken_ = broken_ || completion.result < 0 || incoming_.size() != outgoing_.size();
    close_when_idle();
  });
  loop_.ring().receive(socket_, piece_, incoming_token_);
}

void RingEchoClient::close_when_idle() {
  if (closing_) return;
  if (in_flight_ != 0) {
    // What the error leaves in flight may wait for a peer that waits for us.
    if (broken_) {
      loop_.ring().cancel(outgoing_token_);
      loop_.ring().cancel(incoming_token_);
    }
    return;
  }
  if (!ended_ && !broken_) return;
  closing_ = true;
  loop_.ring().close(socket_, loop_.on([this](const Completion&) { finished_ = true; }));
}

bool RingEchoClient::received_rightly() const noexcept {
  if (incoming_.size() > outgoing_.size()) return false;
  if (!broken_ && incoming_.size() != outgoing_.size()) return false;
  return std::equal(incoming_.begin(), incoming_.end(), outgoing_.begin());
}

}  // namespace corelane::tests
