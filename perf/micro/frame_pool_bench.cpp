// FramePool beside the allocator: one frame at a time, and many that are alive together.

#include <array>
#include <cstring>

#include "perf/micro/workload.hpp"
#include "runtime/frame_pool.hpp"

namespace corelane::perf {
namespace {

class FromPool {
 public:
  FromPool() : before_(runtime::FramePool::use(&pool_)) {}
  ~FromPool() { runtime::FramePool::use(before_); }
  FromPool(const FromPool&) = delete;
  FromPool& operator=(const FromPool&) = delete;
  static void* allocate(std::size_t bytes) { return runtime::allocate_frame(bytes); }
  static void release(void* frame, std::size_t bytes) { runtime::deallocate_frame(frame, bytes); }

 private:
  runtime::FramePool pool_;
  runtime::FramePool* before_;
};

// The yardstick.
struct FromSystem {
  static void* allocate(std::size_t bytes) { return ::operator new(bytes); }
  static void release(void* frame, std::size_t bytes) { ::operator delete(frame, bytes); }
};

// An operation is one allocation and one release; `alive` frames are taken before the first goes.
template <class Source>
class Frames final : public Workload {
 public:
  Frames(std::size_t bytes, std::size_t alive) : bytes_(bytes), alive_(alive) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t taken = 0;
    while (taken < operations) {
      for (std::size_t i = 0; i < alive_; ++i) {
        frames_[i] = source_.allocate(bytes_);
        std::memcpy(frames_[i], &taken, sizeof taken);
      }
      for (std::size_t i = 0; i < alive_; ++i) source_.release(frames_[i], bytes_);
      taken += alive_;
    }
    return taken;
  }

 private:
  Source source_;
  std::size_t bytes_;
  std::size_t alive_;
  std::array<void*, 64> frames_{};
};

}  // namespace

void add_frame_pool_cases(Cases& cases) {
  for (const std::size_t bytes : {192u, 1024u}) {
    for (const std::size_t alive : {1u, 64u}) {
      const std::string parameters =
          "/bytes:" + std::to_string(bytes) + "/alive:" + std::to_string(alive);
      cases.add<Frames<FromPool>>({.name = "frame_pool/allocate" + parameters, .counted = 10'000},
                                  bytes, alive);
      cases.add<Frames<FromSystem>>({.name = "operator_new/allocate" + parameters, .counted = 0},
                                    bytes, alive);
    }
  }
}

}  // namespace corelane::perf
