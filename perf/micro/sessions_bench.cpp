// The session table: from a UUID to its session, and a Send from one session to another on the same
// core, among few and many.

#include <vector>

#include "perf/micro/null_node.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/random.hpp"

namespace corelane::perf {
namespace {

// `count` sessions on one connection: the table does not know that they share it.
class ManySessions : public Workload {
 public:
  explicit ManySessions(std::size_t count) : asker_(node_.any_session()) {
    for (std::size_t i = 0; i < count; ++i) {
      services::Session* session = node_.sessions().open(asker_.stream(), protocol::Transport::tcp);
      sessions_.push_back(session);
      uuids_.push_back(session->uuid());
    }
    runtime::Random random(kSeed);
    for (std::size_t i = count; i > 1; --i) std::swap(uuids_[i - 1], uuids_[random.below(i)]);
  }
  ~ManySessions() override {
    for (services::Session* session : sessions_) node_.sessions().erase(*session);
  }

 protected:
  const protocol::Uuid& next_uuid() noexcept {
    if (at_ == uuids_.size()) at_ = 0;
    return uuids_[at_++];
  }

  NullNode node_{1};
  services::Session& asker_;

 private:
  std::vector<services::Session*> sessions_;
  std::vector<protocol::Uuid> uuids_;  // in random order
  std::size_t at_ = 0;
};

class Find final : public ManySessions {
 public:
  using ManySessions::ManySessions;
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t found = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const auto named = services::Sessions::parse(next_uuid(), 1);
      const services::Session* session = node_.sessions().find(named.id);
      if (named.valid && session != nullptr && session->id() == named.id) ++found;
    }
    return found;
  }
};

// Finds it, writes the message into its queue; a turn for every 64, which sends them.
class Send final : public ManySessions {
 public:
  using ManySessions::ManySessions;
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = node_.sessions().counters().sent;
    for (std::uint64_t i = 0; i < operations; ++i) {
      node_.sessions().send({.to = next_uuid(), .data = data_, .from = asker_.uuid()}, {});
      if (i % 64 == 63) node_.turn();
    }
    node_.turn();
    return node_.sessions().counters().sent - before;
  }

 private:
  std::vector<std::byte> data_ = std::vector<std::byte>(20);
};

}  // namespace

void add_session_cases(Cases& cases) {
  for (const std::size_t count : {1u, 1000u, 1'000'000u}) {
    const bool small = count <= 1000;
    const std::string parameter = "/sessions:" + std::to_string(count);
    cases.add<Find>(
        {.name = "sessions/find" + parameter, .counted = small ? 10'000u : 0, .is_small = small},
        count);
    cases.add<Send>(
        {.name = "sessions/send" + parameter, .counted = small ? 640u : 0, .is_small = small},
        count);
  }
}

}  // namespace corelane::perf
