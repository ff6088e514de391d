// Which core the calling thread runs as. Apart from core.cpp, so that a program that only asks (an
// assertion does) needs no ring.

#include "runtime/core.hpp"

namespace corelane::runtime {
namespace {

constinit thread_local Core* current_core = nullptr;

}  // namespace

Core& Core::current() noexcept {
  RT_DEBUG_ASSERT(current_core != nullptr);
  return *current_core;
}

Core* Core::current_or_null() noexcept {
  return current_core;
}

Core::Scope::Scope(Core& core) noexcept
    : previous_(current_core), previous_pool_(FramePool::use(&core.frame_pool_)) {
  current_core = &core;
}

Core::Scope::~Scope() {
  current_core = previous_;
  FramePool::use(previous_pool_);
}

}  // namespace corelane::runtime
