#pragma once
// The templates of Kernel that look objects up, for its own source files.

#include <memory>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/sim/kernel.hpp"

namespace corelane::runtime::sim {

template <class T>
T& Kernel::add_object() {
  const ObjectId id = next_object_++;
  auto object = std::make_unique<T>(id);
  T& added = *object;
  objects_.emplace(id, std::move(object));
  return added;
}

// Null: it is gone, or of another kind.
template <class T>
T* Kernel::find(ObjectId id) noexcept {
  const auto found = objects_.find(id);
  if (found == objects_.end() || found->second->kind != T::kKind) return nullptr;
  return static_cast<T*>(found->second.get());
}

// What an operation works on; asserts that the program used the right kind of descriptor.
template <class T>
T& Kernel::object_of(const Operation& operation) {
  T* object = find<T>(operation.object);
  RT_ASSERT(object != nullptr);
  return *object;
}

}  // namespace corelane::runtime::sim
