// Channels: finding one by its name among many, and the fan-out of a turn: the events of a receive
// laid out as one run, and the run queued and sent to each subscriber.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "perf/micro/null_node.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/random.hpp"

namespace corelane::perf {
namespace {

// A publish to a channel that nobody listens to: its name is checked, hashed and found, and the
// event takes its place in the order; nothing is laid out.
class Find final : public Workload {
 public:
  explicit Find(std::size_t channels) : from_(node_.any_session()) {
    for (std::size_t i = 0; i < channels; ++i) names_.push_back(fmt::format("channel-{}", i));
    runtime::Random random(kSeed);
    for (std::size_t i = channels; i > 1; --i) std::swap(names_[i - 1], names_[random.below(i)]);
    Find::run(channels);
    RT_ASSERT(node_.pubsub().owned_channels() == channels);
  }
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = node_.pubsub().counters().published;
    for (std::uint64_t i = 0; i < operations; ++i) {
      if (at_ == names_.size()) at_ = 0;
      node_.pubsub().publish({.channel = names_[at_++], .data = data_, .publisher = from_.uuid()},
                             {});
    }
    return node_.pubsub().counters().published - before;
  }

 private:
  NullNode node_{1};
  services::Session& from_;
  std::vector<std::string> names_;  // in random order
  std::size_t at_ = 0;
  std::vector<std::byte> data_ = std::vector<std::byte>(64);
};

// `events` publishes arrive in one receive and leave as one run to each subscriber; an operation is
// all of that, until the last send has completed (a turn takes 256 completions).
class FanOut final : public Workload {
 public:
  FanOut(std::size_t subscribers, std::size_t events, std::size_t bytes)
      : node_(subscribers + 1), events_(events), subscribers_(subscribers) {
    constexpr std::string_view kChannels[] = {"news"};
    const auto subscribe = NullNode::messages(protocol::SubscribeBody{.channels = kChannels});
    for (std::size_t i = 1; i <= subscribers; ++i) {
      node_.deliver(i, subscribe);
      node_.settle();
    }
    const std::vector<std::byte> data(bytes);
    publishes_ = NullNode::messages(protocol::PublishBody{.channel = "news", .data = data}, events);
  }
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t delivered = node_.pubsub().counters().delivered;
    const std::uint64_t sends = node_.peer().sends();
    const std::uint64_t sent = node_.peer().bytes_sent();
    for (std::uint64_t i = 0; i < operations; ++i) {
      node_.deliver(0, publishes_);
      node_.settle();
    }
    const bool all =
        node_.pubsub().counters().delivered - delivered == operations * events_ * subscribers_;
    const bool one_send_each = node_.peer().sends() - sends == operations * subscribers_;
    return all && one_send_each ? node_.peer().bytes_sent() - sent : 0;
  }

 private:
  NullNode node_;
  std::size_t events_;
  std::size_t subscribers_;
  std::vector<std::byte> publishes_;
};

}  // namespace

void add_channel_cases(Cases& cases) {
  for (const std::size_t channels : {1u, 1000u, 100'000u}) {
    const bool small = channels <= 1000;
    cases.add<Find>({.name = "channels/find/channels:" + std::to_string(channels),
                     .counted = small ? 1000u : 0,
                     .is_small = small},
                    channels);
  }
  for (const std::size_t subscribers : {1u, 1000u}) {
    for (const std::size_t events : {1u, 16u}) {
      cases.add<FanOut>({.name = fmt::format("channels/fan_out/subscribers:{}/events:{}/bytes:64",
                                             subscribers, events),
                         .items = subscribers * events,
                         .counted = subscribers == 1 ? 200u : 20u},
                        subscribers, events, std::size_t{64});
    }
  }
}

}  // namespace corelane::perf
