#include "services/node/ip_limit.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <xxhash.h>

#include <cstring>

#include "net/peer_log.hpp"
#include "runtime/core.hpp"
#include "runtime/log.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::CoreId;

namespace {

constinit runtime::LogReason kTooMany{"connections of one address"};

}  // namespace

struct IpLimit::Ask {
  Key key;
  EntryId entry;
  void deliver(CoreId from) const { IpLimit::local().count(*this, from); }
};

struct IpLimit::Answer {
  EntryId entry;
  bool is_admitted;
  void deliver(CoreId) const { IpLimit::local().finish(*this); }
};

struct IpLimit::Release {
  Key key;
  void deliver(CoreId) const { IpLimit::local().release(key); }
};

// A connection that waits for its answer: it is not read, so nothing but its end can come.
const net::StreamHandler IpLimit::kWaiting{"address limit",
                                           [](net::Stream&, const net::Received&) noexcept {},
                                           [](net::Stream& stream) noexcept { stream.close(0); },
                                           [](net::Stream&, runtime::Error) noexcept {},
                                           [](net::Stream&) noexcept {},
                                           nullptr};

std::size_t IpLimit::KeyHash::operator()(const Key& key) const noexcept {
  return XXH3_64bits_withSeed(key.data(), key.size(), seed);
}

IpLimit::IpLimit(net::Network& network, const Options& options)
    : network_(network),
      options_(options),
      entries_(network.options().streams_max),
      counts_(0, KeyHash{Core::current().ring().entropy()}) {
  RT_ASSERT(options.connections_max > 0);
  RT_ASSERT(!network.options().direct_descriptors);
  set_local(ServiceSlot::ip_limit, this);
  network_.set_gone_observer(
      [](void* context, net::StreamId stream) noexcept {
        static_cast<IpLimit*>(context)->on_gone(stream);
      },
      this);
}

IpLimit::~IpLimit() {
  RT_ASSERT(entries_.count() == 0);  // all streams are gone and the lanes have settled
  RT_ASSERT(counts_.empty());
  network_.set_gone_observer(nullptr, nullptr);
  set_local(ServiceSlot::ip_limit, nullptr);
}

IpLimit::Gate& IpLimit::gate(net::AcceptFunction function, void* context) {
  return gates_.emplace_back(Gate{this, function, context});
}

bool IpLimit::accept(void* gate, net::Stream& stream) noexcept {
  auto& through = *static_cast<Gate*>(gate);
  return through.limit->admit(stream, through);
}

// --- The accepting core

IpLimit::Key IpLimit::key_of(const runtime::Address& address) noexcept {
  Key key{};
  if (address.family() == AF_INET6) {
    sockaddr_in6 raw;
    std::memcpy(&raw, address.raw(), sizeof raw);
    std::memcpy(key.data(), &raw.sin6_addr, key.size());
    // The same link-local address on two links is two hosts (RFC 4007 section 6); bytes 4 to 7 of
    // it are zero. Other addresses have no zone.
    if (IN6_IS_ADDR_LINKLOCAL(&raw.sin6_addr)) {
      std::memcpy(key.data() + 4, &raw.sin6_scope_id, sizeof raw.sin6_scope_id);
    }
  } else {
    sockaddr_in raw;
    std::memcpy(&raw, address.raw(), sizeof raw);
    key[10] = key[11] = 0xff;
    std::memcpy(key.data() + 12, &raw.sin_addr, sizeof raw.sin_addr);
  }
  return key;
}

CoreId IpLimit::owner_of(const Key& key) const noexcept {
  const std::uint64_t hash = XXH3_64bits_withSeed(key.data(), key.size(), options_.hash_seed);
  return static_cast<CoreId>(hash % Core::current().cores());
}

bool IpLimit::admit(net::Stream& stream, Gate& gate) {
  const auto peer = Core::current().ring().peer_address(stream.descriptor());
  if (!peer) return false;  // reset while it waited to be accepted
  const Key key = key_of(*peer);
  const auto made = entries_.emplace(Entry{.key = key, .stream = stream.id(), .gate = &gate});
  if (made.value == nullptr) return false;
  const EntryId id{made.id.slot, made.id.generation};
  by_stream_[stream.id().slot] = id;
  stream.set_handler(kWaiting, nullptr);
  stream.pause_receiving();
  ++counters_.asked;
  Core::current().lanes().send(owner_of(key), Ask{key, id});
  return true;
}

void IpLimit::finish(const Answer& answer) {
  Entry* entry = entries_.get({answer.entry.slot, answer.entry.generation});
  RT_ASSERT(entry != nullptr);  // it is erased here, or by on_gone once it was counted
  entry->is_counted = answer.is_admitted;
  if (!answer.is_admitted) ++counters_.refused;
  if (entry->is_gone) {
    if (entry->is_counted) Core::current().lanes().send(owner_of(entry->key), Release{entry->key});
    entries_.erase(answer.entry.slot);
    return;
  }
  if (answer.is_admitted) {
    hand_over(*entry);
    return;
  }
  by_stream_.erase(entry->stream.slot);
  if (net::Stream* stream = network_.find(entry->stream)) {
    net::log_peer(*stream, kTooMany, runtime::LogLevel::info, [this] {
      return fmt::format("cut off, its address has {} connections (limits.connections_per_ip_max)",
                         options_.connections_max);
    });
    stream->abort();
  }
  entries_.erase(answer.entry.slot);
}

void IpLimit::hand_over(Entry& entry) {
  net::Stream* stream = network_.find(entry.stream);
  RT_ASSERT(stream != nullptr);  // or the entry would be gone
  if (stream->closing()) return;
  if (!entry.gate->function(entry.gate->context, *stream)) {
    stream->abort();
    return;
  }
  if (!stream->closing()) stream->resume_receiving();
}

void IpLimit::on_gone(net::StreamId stream) noexcept {
  const auto found = by_stream_.find(stream.slot);
  if (found == by_stream_.end()) return;  // refused, or not accepted through a gate
  const EntryId id = found->second;
  by_stream_.erase(found);
  Entry* entry = entries_.get({id.slot, id.generation});
  RT_ASSERT(entry != nullptr);
  RT_ASSERT(entry->stream == stream);
  if (!entry->is_counted) {
    entry->is_gone = true;  // the answer is on its way
    return;
  }
  Core::current().lanes().send(owner_of(entry->key), Release{entry->key});
  entries_.erase(id.slot);
}

// --- The owner of the count

void IpLimit::count(const Ask& ask, CoreId from) {
  std::uint32_t& connections = counts_[ask.key];
  const bool is_admitted = connections < options_.connections_max;
  if (is_admitted) ++connections;
  Core::current().lanes().send(from, Answer{ask.entry, is_admitted});
}

void IpLimit::release(const Key& key) {
  const auto found = counts_.find(key);
  RT_ASSERT(found != counts_.end());
  RT_ASSERT(found->second > 0);
  if (--found.value() == 0) counts_.erase(found);
}

}  // namespace corelane::services
