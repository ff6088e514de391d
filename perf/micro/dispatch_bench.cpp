// Requests of one client through a whole server without a kernel. An operation is one turn with
// `batch` requests in one receive; divide by `batch` for a request.

#include <string_view>
#include <vector>

#include "perf/micro/null_node.hpp"
#include "perf/micro/workload.hpp"

namespace corelane::perf {
namespace {

class Requests : public Workload {
 public:
  template <class Body>
  Requests(const Body& body, std::size_t batch) : bytes_(NullNode::messages(body, batch)) {}
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = node_.peer().bytes_sent();
    for (std::uint64_t i = 0; i < operations; ++i) {
      node_.deliver(0, bytes_);
      node_.turn();
    }
    if (node_.dispatch().counters().errors != 0) return 0;
    return node_.peer().bytes_sent() - before;
  }

 private:
  NullNode node_{1};
  std::vector<std::byte> bytes_;
};

class Ping final : public Requests {
 public:
  Ping(std::size_t bytes, std::size_t batch)
      : Requests(protocol::PingBody{.data = std::vector<std::byte>(bytes)}, batch) {}
};

}  // namespace

void add_dispatch_cases(Cases& cases) {
  for (const std::size_t bytes : {20u, 125u}) {
    for (const std::size_t batch : {1u, 16u}) {
      cases.add<Ping>({.name = "dispatch/ping/bytes:" + std::to_string(bytes) +
                               "/batch:" + std::to_string(batch),
                       .items = batch,
                       .counted = 200},
                      bytes, batch);
    }
  }
}

}  // namespace corelane::perf
