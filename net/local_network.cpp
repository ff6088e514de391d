// Network::local(): the network of a core that everything on the core shares, and the end of one
// that belongs to the core.

#include <memory>
#include <utility>

#include "net/network.hpp"
#include "net/peer_log.hpp"

namespace corelane::net {

using runtime::Core;

// A network that the core owns.
class Network::OfCore final : public runtime::CoreResident {
 public:
  explicit OfCore(const NetworkOptions& options) : network_(options) { network_.resident_ = this; }

  void begin_stop() noexcept override { network_.begin_stop(); }
  bool at_rest() const noexcept override { return network_.at_rest(); }

 private:
  Network network_;
};

Network* Network::local_or_null() noexcept {
  return static_cast<Network*>(Core::current().service(Core::kResidentSlot));
}

Network& Network::local(const NetworkOptions& options) {
  if (Network* network = local_or_null()) return *network;
  Core::current().adopt(std::make_unique<OfCore>(options));
  return *local_or_null();
}

// The core that a new network is for.
Core& Network::claim_core() {
  Core& core = Core::current();
  const Network* const other = local_or_null();
  if (other == nullptr) return core;
  if (other->resident_ == nullptr || other->is_in_use()) {
    throw NetworkExists(
        "this core has a network already: share it by net::Network::local(), or make the network "
        "with options of its own before anything else on the core has sockets");
  }
  core.evict(*other->resident_);
  return core;
}

bool Network::at_rest() const noexcept {
  bool listens = false;
  for (const Listener& listener : listeners_) listens = listens || listener.descriptor.valid();
  return !listens && streams_.count() == 0 && refusing_ == 0 && connecting_ == 0 &&
         ending_waits_ == 0 && peer_log_->at_rest();
}

// Leases on receive buffers, too, use the network.
bool Network::is_in_use() const noexcept {
  bool holds_buffers = false;
  for (std::size_t size = 0; size < kBufferSizes; ++size) {
    holds_buffers = holds_buffers || buffers_.out(receive_buffers_.groups[size]) != 0;
  }
  return !at_rest() || holds_buffers || shares_ != 0 || flush_hook_.requested;
}

void Network::begin_stop() noexcept {
  stopping_ = true;
  for (std::uint32_t i = 0; i < listeners_.size(); ++i) stop_listener(i);
  streams_.for_each([](auto, Stream& stream) {
    if (!stream.closing()) stream.abort();
  });
}

}  // namespace corelane::net
