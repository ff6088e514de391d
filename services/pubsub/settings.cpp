// The settings of publish/subscribe.

#include "services/config/rows.hpp"
#include "services/pubsub/pubsub.hpp"

namespace corelane::services {
namespace {

constexpr config::Row<PubSubOptions> kSettings[] = {
    config::count<&PubSubOptions::subscriptions_per_session_max>(
        {"limits", "subscriptions_per_session_max", "max-subscriptions"}, {1, 1'000'000},
        "most channels a session is subscribed to"),
    config::count<&PubSubOptions::channel_name_bytes_max>(
        {"limits", "channel_name_bytes_max", "max-channel-name"}, {1, 1024},
        "longest channel name"),
    config::count<&PubSubOptions::channels_max>(
        {"limits", "channels_max", "max-channels"}, {1, 100'000'000},
        "most channels of a core; about 500 bytes and a name each"),
};

}  // namespace

std::span<const config::Row<PubSubOptions>> PubSub::settings() noexcept {
  return kSettings;
}

}  // namespace corelane::services
