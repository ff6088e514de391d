#include "runtime/post.hpp"

namespace corelane::runtime::detail {
namespace {

constinit thread_local Runtime* thread_runtime = nullptr;

}  // namespace

Runtime* runtime_of_thread() noexcept {
  Core* const core = Core::current_or_null();
  return core != nullptr ? &core->runtime() : thread_runtime;
}

void set_runtime_of_thread(Runtime* runtime) noexcept {
  thread_runtime = runtime;
}

}  // namespace corelane::runtime::detail
