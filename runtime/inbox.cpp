#include "runtime/inbox.hpp"

#include "runtime/assert.hpp"
#include "runtime/ring.hpp"

namespace corelane::runtime {
namespace {

// Takes the place of the first element when the core has ended.
class Closed final : public Posted {
 public:
  void run() noexcept override {}
  void drop() noexcept override {}
};
constinit Closed closed;

}  // namespace

Inbox::~Inbox() {
  close();
  const std::int32_t bell = bell_.load(std::memory_order_relaxed);
  if (bell >= 0) Ring::close_bell(bell);
}

bool Inbox::push(Posted& posted) noexcept {
  // Counted before it can be taken, so that the count never wraps.
  waiting_.fetch_add(1, std::memory_order_relaxed);
  Posted* first = first_.load(std::memory_order_relaxed);
  do {
    if (first == &closed) {
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    posted.next_ = first;
    // As a release it pairs with the acquire in take_all() and hands `posted` over. As seq_cst it
    // pairs with open(): either that sees it, or ring() sees the bell.
  } while (!first_.compare_exchange_weak(first, &posted, std::memory_order_seq_cst,
                                         std::memory_order_relaxed));
  if (first == nullptr) ring();
  return true;
}

void Inbox::ring() noexcept {
  const std::int32_t bell = bell_.load(std::memory_order_seq_cst);
  if (bell >= 0) Ring::ring_bell(bell);
}

void Inbox::open(std::int32_t bell) noexcept {
  RT_ASSERT(bell_.load(std::memory_order_relaxed) < 0);
  bell_.store(bell, std::memory_order_seq_cst);
  // Rings for elements that were posted before there was a core. seq_cst pairs with push().
  if (first_.load(std::memory_order_seq_cst) != nullptr) ring();
}

// The oldest of what was pushed; `leave` stands in its place.
Posted* Inbox::take_all(Posted* leave) noexcept {
  Posted* newest = first_.exchange(leave, std::memory_order_acquire);
  Posted* oldest = nullptr;
  while (newest != nullptr && newest != &closed) {
    Posted* const before = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = before;
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }
  return oldest;
}

void Inbox::run() noexcept {
  // Relaxed: a later push rings the bell again.
  if (first_.load(std::memory_order_relaxed) == nullptr) return;
  for (Posted* posted = take_all(nullptr); posted != nullptr;) {
    Posted* const next = posted->next_;
    posted->run();
    posted = next;
  }
}

void Inbox::close() noexcept {
  for (Posted* posted = take_all(&closed); posted != nullptr;) {
    Posted* const next = posted->next_;
    posted->drop();
    posted = next;
  }
}

}  // namespace corelane::runtime
