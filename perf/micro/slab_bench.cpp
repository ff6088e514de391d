// Slab: making and erasing an object among many, and finding one by its name.

#include <array>
#include <vector>

#include "perf/micro/workload.hpp"
#include "runtime/random.hpp"
#include "runtime/slab.hpp"

namespace corelane::perf {
namespace {

// About a connection's share: two cache lines with the slot's head.
struct Object {
  explicit Object(std::uint64_t value) noexcept : number(value) {}
  std::uint64_t number;
  std::array<std::uint64_t, 12> rest{};
};
using Table = runtime::Slab<Object>;

class FilledSlab : public Workload {
 public:
  explicit FilledSlab(std::uint32_t objects) : table_(objects + 1) {
    for (std::uint32_t i = 0; i < objects; ++i) ids_.push_back(table_.emplace(i).id);
    runtime::Random random(kSeed);
    for (std::size_t i = ids_.size(); i > 1; --i) std::swap(ids_[i - 1], ids_[random.below(i)]);
  }
  ~FilledSlab() override { table_.clear(); }

 protected:
  Table table_;
  std::vector<Table::Id> ids_;  // in random order
};

class EmplaceErase final : public FilledSlab {
 public:
  using FilledSlab::FilledSlab;
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const Table::Entry made = table_.emplace(i);
      sum += made.value->number;
      table_.erase(made.id.slot);
    }
    return sum;
  }
};

class Get final : public FilledSlab {
 public:
  using FilledSlab::FilledSlab;
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      sum += table_.get(ids_[at_])->number;
      if (++at_ == ids_.size()) at_ = 0;
    }
    return sum;
  }

 private:
  std::size_t at_ = 0;
};

}  // namespace

void add_slab_cases(Cases& cases) {
  for (const std::uint32_t objects : {100u, 1'000'000u}) {
    const bool small = objects <= 1000;
    const std::string parameter = "/objects:" + std::to_string(objects);
    const std::uint64_t counted = small ? 10'000 : 0;
    cases.add<EmplaceErase>(
        {.name = "slab/emplace_erase" + parameter, .counted = counted, .is_small = small}, objects);
    cases.add<Get>({.name = "slab/get" + parameter, .counted = counted, .is_small = small},
                   objects);
  }
}

}  // namespace corelane::perf
