#pragma once
// A server that follows a script, byte by byte: for clients under test. One coroutine goes through
// the steps, whatever the client does.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/tcp.hpp"
#include "runtime/await.hpp"
#include "runtime/event.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/echo_streams.hpp"

namespace corelane::tests {

struct PeerStep {
  enum class Kind : std::uint8_t { accept, read_head, read_bytes, send, close, cut, wait, to_end };
  Kind kind;
  std::string text = {};
  std::size_t bytes = 0;
};

// The next connection.
inline PeerStep accept_one() {
  return {.kind = PeerStep::Kind::accept};
}
// A request's head: up to the empty line.
inline PeerStep take_head() {
  return {.kind = PeerStep::Kind::read_head};
}
inline PeerStep take_bytes(std::size_t bytes) {
  return {.kind = PeerStep::Kind::read_bytes, .bytes = bytes};
}
inline PeerStep say(std::string_view text) {
  return {.kind = PeerStep::Kind::send, .text = std::string(text)};
}
// In pieces of `bytes`, each of which leaves in a turn of its own.
inline PeerStep say_in_pieces(std::string_view text, std::size_t bytes) {
  return {.kind = PeerStep::Kind::send, .text = std::string(text), .bytes = bytes};
}
inline PeerStep close_it() {
  return {.kind = PeerStep::Kind::close};
}
// With a reset.
inline PeerStep cut_it() {
  return {.kind = PeerStep::Kind::cut};
}
// Until ScriptedPeer::go_on is set.
inline PeerStep wait_for_test() {
  return {.kind = PeerStep::Kind::wait};
}
// Until the client has ended the connection.
inline PeerStep read_to_end() {
  return {.kind = PeerStep::Kind::to_end};
}

struct ScriptedPeer {
  std::vector<PeerStep> steps;
  std::vector<std::string> heads{};  // as they came
  std::string bytes{};               // of take_bytes() and read_to_end()
  runtime::Event go_on{};
  runtime::Event waits{};  // at wait_for_test()
  bool is_done = false;    // at the script's end, or where the connection was not as expected

  net::TcpListener listener = std::move(*net::TcpListener::listen(loopback()));
  std::string authority() const { return listener.address()->text(); }
  std::string url(std::string_view target = "/") const {
    return "http://" + authority() + std::string(target);
  }
  explicit ScriptedPeer(std::vector<PeerStep> what) : steps(std::move(what)) {}
};

inline runtime::Task<bool> follow_step(ScriptedPeer& peer, net::TcpStream& stream,
                                       const PeerStep& step) {
  switch (step.kind) {
    case PeerStep::Kind::accept: {
      auto accepted = co_await peer.listener.accept();
      if (!accepted) co_return false;
      stream = std::move(*accepted);
      break;
    }
    case PeerStep::Kind::read_head: {
      const auto head = co_await stream.read_until("\r\n\r\n", 100'000);
      if (!head) co_return false;
      peer.heads.emplace_back(*head);
      break;
    }
    case PeerStep::Kind::read_bytes: {
      std::string bytes(step.bytes, ' ');
      const auto read = co_await stream.read_exactly(std::as_writable_bytes(std::span{bytes}));
      if (!read) co_return false;
      peer.bytes += bytes;
      break;
    }
    case PeerStep::Kind::send: {
      const std::size_t piece = step.bytes == 0 ? step.text.size() : step.bytes;
      for (std::size_t at = 0; at < step.text.size(); at += piece) {
        const auto sent = co_await stream.write_all(std::string_view{step.text}.substr(at, piece));
        if (!sent) co_return false;
        if (step.bytes != 0) {
          while (stream.is_live() && stream.queued_bytes() > 0) co_await runtime::Yield{};
          co_await runtime::Yield{};
        }
      }
      break;
    }
    case PeerStep::Kind::close:
      stream = {};
      break;
    case PeerStep::Kind::cut:
      stream.abort();
      stream = {};
      break;
    case PeerStep::Kind::wait:
      peer.waits.set();
      if (!co_await peer.go_on.wait()) co_return false;
      peer.go_on.reset();
      break;
    case PeerStep::Kind::to_end:
      for (;;) {
        const auto more = co_await stream.read_some();
        if (!more) break;
        peer.bytes += more->text();
      }
      break;
  }
  co_return true;
}

inline runtime::Task<void> follow_script(ScriptedPeer* peer) {
  net::TcpStream stream;
  for (const PeerStep& step : peer->steps) {
    if (!co_await follow_step(*peer, stream, step)) break;
  }
  peer->is_done = true;
}

// Runs body(peer) beside a peer that follows `steps`; what is left of the script is cancelled.
template <class Body>
runtime::Task<void> with_peer(std::vector<PeerStep> steps, Body body) {
  ScriptedPeer peer(std::move(steps));
  runtime::TaskGroup group("peer");
  group.spawn("peer", follow_script, &peer);
  co_await body(peer);
  group.cancel();
  co_await group.join();
  co_await peer.listener.close();
}

}  // namespace corelane::tests
