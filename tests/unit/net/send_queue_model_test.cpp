// Goal: a send queue sends every byte once, in order, control pieces before what may wait and never
// inside a piece, and gives each piece back once, whatever the socket takes at a time. Method: the
// same random calls on the queue and on a plain list of pieces that is searched from the front.
#include "net/send_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "runtime/random.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/xor_records.hpp"

namespace corelane {
namespace {

using net::ControlKind;
using net::PieceOwner;
using net::SendPool;
using net::SendQueue;

// One piece's memory, told when it is given back.
struct Lent : net::ForeignBytes {
  explicit Lent(int& counter) : ForeignBytes{&Lent::back}, alive(counter) { ++alive; }
  static void back(net::ForeignBytes& self) noexcept {
    auto& lent = static_cast<Lent&>(self);
    --lent.alive;
    delete &lent;
  }
  int& alive;
  std::vector<std::byte> bytes;
};

class Model {
 public:
  struct Entry {
    std::vector<std::byte> bytes;
    ControlKind control = ControlKind::none;
    bool fenced = false;
  };
  std::deque<Entry> entries;
  std::size_t offset = 0;     // of the first, sent
  std::size_t in_flight = 0;  // pieces

  std::size_t first_waiting() const {
    std::size_t at = std::max<std::size_t>(in_flight, offset > 0 ? 1 : 0);
    for (std::size_t i = at; i < entries.size(); ++i) {
      if (entries[i].fenced) at = i + 1;
    }
    return at;
  }
  std::size_t bytes() const {
    std::size_t total = 0;
    for (const Entry& entry : entries) total += entry.bytes.size();
    return total - offset;
  }
  void control(std::vector<std::byte> bytes, ControlKind kind) {
    std::size_t at = first_waiting();
    for (; at < entries.size() && entries[at].control != ControlKind::none; ++at) {
      if (entries[at].control != kind) continue;
      entries[at].bytes = std::move(bytes);
      return;
    }
    entries.insert(entries.begin() + static_cast<std::ptrdiff_t>(at),
                   {.bytes = std::move(bytes), .control = kind, .fenced = false});
  }
  // How many pieces the next `bytes` bytes are of.
  std::size_t pieces_of(std::size_t bytes) const {
    std::size_t count = 0;
    for (std::size_t end = offset + bytes; end > 0; ++count) {
      end -= std::min(end, entries[count].bytes.size());
    }
    return count;
  }
  // What leaves with `sent` bytes.
  std::vector<std::byte> end(std::size_t sent) {
    in_flight = 0;
    std::vector<std::byte> out;
    while (sent > 0) {
      const std::size_t part = std::min(sent, entries.front().bytes.size() - offset);
      const auto from = entries.front().bytes.begin() + static_cast<std::ptrdiff_t>(offset);
      out.insert(out.end(), from, from + static_cast<std::ptrdiff_t>(part));
      sent -= part;
      offset += part;
      if (offset < entries.front().bytes.size()) break;
      offset = 0;
      entries.pop_front();
    }
    return out;
  }
  std::size_t drop_waiting() {
    std::size_t dropped = 0;
    while (entries.size() > first_waiting()) {
      dropped += entries.back().bytes.size();
      entries.pop_back();
    }
    return dropped;
  }
};

class Pair {
 public:
  Pair(std::uint64_t seed, bool is_transformed)
      : random_(seed), is_transformed_(is_transformed), queue_(*pool_.take_queue(1, 0)) {}
  ~Pair() {
    if (!is_transformed_ && queue_.in_flight()) finish(0);
    queue_.drop_all(pool_);
    EXPECT_EQ(lent_, 0);
    EXPECT_TRUE(pool_.any_in_use());
    pool_.give_queue(&queue_);
    EXPECT_FALSE(pool_.any_in_use());
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  void step() {
    switch (random_.below(8)) {
      case 0:
      case 1:
      case 2:
        push();
        break;
      case 3:
        append();
        break;
      case 4:
        control();
        break;
      case 5:
        if (random_.below(16) == 0) {
          for (Model::Entry& entry : model_.entries) entry.fenced = true;
          queue_.fence();
          appended_ = false;
        } else if (random_.below(32) == 0) {
          ASSERT_EQ(queue_.drop_waiting(pool_), model_.drop_waiting());
          appended_ = false;
        }
        break;
      default:
        if (is_transformed_) {
          if (queue_.in_flight() || !queue_.empty()) pass_transformed();
        } else if (queue_.in_flight()) {
          finish(random_.below(begun_.size() + 1));
        } else if (!queue_.empty()) {
          begin();
        }
    }
    ASSERT_EQ(queue_.bytes(), model_.bytes());
    ASSERT_EQ(queue_.empty(), model_.entries.empty());
  }
  std::size_t sent() const { return sent_; }

 private:
  std::vector<std::byte> fresh(std::size_t bytes) {
    std::vector<std::byte> made(bytes);
    for (std::byte& each : made) each = static_cast<std::byte>(random_.next());
    return made;
  }
  void push() {
    auto* lent = new Lent(lent_);
    lent->bytes = fresh(1 + random_.below(2000));
    queue_.push({.data = lent->bytes.data(),
                 .bytes = static_cast<std::uint32_t>(lent->bytes.size()),
                 .owner = PieceOwner::foreign,
                 .handle = static_cast<net::ForeignBytes*>(lent)});
    model_.entries.push_back({.bytes = lent->bytes});
    appended_ = false;
  }
  // Joins the last block if there is room; the model joins its last entry, too.
  void append() {
    const std::vector<std::byte> bytes = fresh(1 + random_.below(3000));
    std::byte* room = queue_.append(bytes.size(), pool_);
    std::copy(bytes.begin(), bytes.end(), room);
    const bool joins =
        appended_ && model_.entries.back().bytes.size() + bytes.size() <= SendPool::kBlockBytes;
    if (joins) {
      auto& last = model_.entries.back().bytes;
      last.insert(last.end(), bytes.begin(), bytes.end());
    } else {
      model_.entries.push_back({.bytes = bytes});
    }
    appended_ = true;
  }
  void control() {
    const auto kind = random_.below(2) == 0 ? ControlKind::ping : ControlKind::pong;
    std::byte* block = pool_.take_block();
    const std::vector<std::byte> bytes = fresh(1 + random_.below(125));
    std::copy(bytes.begin(), bytes.end(), block);
    if (model_.entries.size() == model_.first_waiting()) appended_ = false;
    queue_.push_control({.data = block,
                         .bytes = static_cast<std::uint32_t>(bytes.size()),
                         .owner = PieceOwner::block,
                         .control = kind,
                         .handle = block},
                        pool_);
    model_.control(bytes, kind);
  }
  void begin() {
    const std::size_t most = 1 + random_.below(16 * 1024);
    const SendQueue::Operation operation = queue_.begin(most);
    begun_.clear();
    appended_ = false;
    if (operation.message == nullptr) {
      begun_.assign(operation.bytes.begin(), operation.bytes.end());
      model_.in_flight = 1;
    } else {
      const msghdr& message = *operation.message;
      for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        const auto* from = static_cast<const std::byte*>(message.msg_iov[i].iov_base);
        begun_.insert(begun_.end(), from, from + message.msg_iov[i].iov_len);
      }
      model_.in_flight = message.msg_iovlen;
      ASSERT_LE(begun_.size(), most);
    }
    ASSERT_EQ(queue_.begun_bytes(), begun_.size());
  }
  // An operation through a transform, begun and ended: the pieces stay in flight until the last
  // byte of what they became has been taken.
  void pass_transformed() {
    const std::size_t most = 1 + random_.below(16 * 1024);
    const bool goes_on = queue_.in_flight();
    const std::span<const std::byte> bytes = queue_.begin_transformed(writer_, most, pool_);
    ASSERT_TRUE(queue_.in_flight());
    if (!goes_on) {
      appended_ = false;
      begun_.clear();
      rest_.assign(bytes.begin(), bytes.end());
      std::vector<std::byte> copy = rest_;
      reader_.feed(copy, [&](std::span<const std::byte> plain) {
        begun_.insert(begun_.end(), plain.begin(), plain.end());
      });
      ASSERT_LE(begun_.size(), most);
      ASSERT_GT(begun_.size(), 0u);
      model_.in_flight = model_.pieces_of(begun_.size());
    }
    ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), rest_.begin(), rest_.end()));
    const std::size_t taken =
        random_.below(2) == 0 ? rest_.size() : random_.below(rest_.size() + 1);
    rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(taken));
    queue_.end_transformed(taken, pool_);
    ASSERT_EQ(queue_.in_flight(), !rest_.empty());
    if (!rest_.empty()) return;
    ASSERT_EQ(model_.end(begun_.size()), begun_);
    sent_ += begun_.size();
  }
  void finish(std::size_t sent) {
    if (random_.below(2) == 0 && sent > 0) sent = begun_.size();
    if (queue_.is_all(sent)) {
      ASSERT_EQ(queue_.bytes(), sent);
      queue_.end_all(pool_);
    } else {
      queue_.end(sent, pool_);
    }
    begun_.resize(sent);
    ASSERT_EQ(model_.end(sent), begun_);
    sent_ += sent;
    ASSERT_FALSE(queue_.in_flight());
  }

  runtime::Random random_;
  runtime::BufferPool buffers_{runtime::Core::current().ring()};
  SendPool pool_{buffers_};
  bool is_transformed_;
  SendQueue& queue_;
  Model model_;
  tests::RecordWriter writer_;
  tests::RecordReader reader_;
  std::vector<std::byte> rest_;   // of what the pieces in flight became
  std::vector<std::byte> begun_;  // what the operation in flight reads
  bool appended_ = false;         // the last entry is an append block that may grow
  int lent_ = 0;
  std::size_t sent_ = 0;
};

TEST(SendQueueModel, SendsEveryByteOnceAndInOrderLikeAPlainList) {
  tests::run_on_cores(1, []() -> runtime::Task<void> {
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
      SCOPED_TRACE(seed);
      Pair pair(seed, seed % 2 == 0);
      for (int i = 0; i < 500 && !::testing::Test::HasFatalFailure(); ++i) pair.step();
      EXPECT_GT(pair.sent(), 0u);
    }
    EXPECT_EQ(runtime::Core::current().memory().total(), 0u) << "what was queued still counts";
    co_return;
  });
}

TEST(SendPool, KeepsABoundedNumberOfQueuesAndLooksThroughAllThatAreInUse) {
  tests::run_on_cores(1, []() -> runtime::Task<void> {
    runtime::BufferPool buffers(runtime::Core::current().ring());
    SendPool pool(buffers);
    constexpr std::size_t kQueues = SendPool::kSpareQueuesMax + 500;
    std::vector<SendQueue*> taken;
    taken.reserve(kQueues);
    for (std::uint32_t i = 0; i < kQueues; ++i) taken.push_back(pool.take_queue(i, 0));
    EXPECT_EQ(pool.queues().size(), kQueues);
    for (std::size_t i = 0; i < kQueues; i += 2) pool.give_queue(taken[i]);
    std::vector<bool> seen(kQueues);
    for (const SendQueue* queue : pool.queues()) {
      if (queue->stream_slot == SendQueue::kNoStream) continue;
      EXPECT_FALSE(seen[queue->stream_slot]);
      seen[queue->stream_slot] = true;
    }
    for (std::size_t i = 0; i < kQueues; ++i) EXPECT_EQ(seen[i], i % 2 == 1);
    for (std::size_t i = 1; i < kQueues; i += 2) pool.give_queue(taken[i]);
    EXPECT_EQ(pool.queues().size(), SendPool::kSpareQueuesMax);
    EXPECT_FALSE(pool.any_in_use());
    co_return;
  });
}

}  // namespace
}  // namespace corelane
