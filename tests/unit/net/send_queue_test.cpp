// Goal: small writes share a piece as long as it may grow, and only then: what the kernel reads,
// what stands behind something else, and what must neither be dropped nor overtaken keeps its
// bytes. Method: a queue by itself, its operations taken as the kernel would take them.
#include "net/send_queue.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>

#include "runtime/core.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using net::SendQueue;
using runtime::Task;

class QueueUnderTest {
 public:
  ~QueueUnderTest() {
    queue_->drop_all(pool_);
    pool_.give_queue(queue_);
  }

  SendQueue& queue() noexcept { return *queue_; }
  void append(std::string_view text) {
    std::memcpy(queue_->append(text.size(), pool_), text.data(), text.size());
  }
  // `continues`: the last frame of what was queued before goes on in it.
  void push_static(std::string_view text, bool continues = false) {
    queue_->push({.data = reinterpret_cast<const std::byte*>(text.data()),
                  .bytes = static_cast<std::uint32_t>(text.size()),
                  .owner = net::PieceOwner::nobody,
                  .continues = continues,
                  .handle = nullptr});
  }
  void push_control(std::string_view text) {
    std::byte* block = pool_.take_block();
    std::memcpy(block, text.data(), text.size());
    queue_->push_control({.data = block,
                          .bytes = static_cast<std::uint32_t>(text.size()),
                          .owner = net::PieceOwner::block,
                          .control = net::ControlKind::ping,
                          .handle = block},
                         pool_);
  }
  std::size_t drop_waiting() { return queue_->drop_waiting(pool_); }
  void end(std::size_t sent) { queue_->end(sent, pool_); }
  // The pieces of the next operation, parted by '|'; it stays in flight.
  std::string begin(std::size_t bytes_max = SendQueue::kOperationBytesMax) {
    const SendQueue::Operation operation = queue_->begin(bytes_max);
    if (operation.message == nullptr) return text(operation.bytes.data(), operation.bytes.size());
    std::string all;
    for (std::size_t i = 0; i < operation.message->msg_iovlen; ++i) {
      const iovec& vector = operation.message->msg_iov[i];
      if (i > 0) all += '|';
      all += text(vector.iov_base, vector.iov_len);
    }
    return all;
  }
  // All that is queued, sent.
  std::string send_all() {
    std::string all;
    while (!queue_->empty()) {
      if (!all.empty()) all += '/';
      all += begin();
      end(queue_->begun_bytes());
    }
    return all;
  }

 private:
  static std::string text(const void* data, std::size_t bytes) {
    return {static_cast<const char*>(data), bytes};
  }

  runtime::BufferPool buffers_{runtime::Core::current().ring()};
  net::SendPool pool_{buffers_};
  SendQueue* queue_ = pool_.take_queue(0, 0);
};

void with_queue(void (*body)(QueueUnderTest&)) {
  tests::run_on_cores(1, [body]() -> Task<void> {
    QueueUnderTest test;
    body(test);
    co_return;
  });
}

TEST(SendQueue, SmallWritesOfATurnShareAPiece) {
  with_queue([](QueueUnderTest& test) {
    test.append("one");
    test.append("two");
    EXPECT_EQ(test.queue().bytes(), 6u);
    EXPECT_EQ(test.send_all(), "onetwo");
    test.append("three");
    EXPECT_EQ(test.send_all(), "three");
  });
}

TEST(SendQueue, AWriteThatDoesNotFitInABlockGetsAnotherPiece) {
  with_queue([](QueueUnderTest& test) {
    const std::string most(net::SendPool::kBlockBytes - 3, 'x');
    test.append(most);
    test.append("abc");
    test.append("d");
    const std::string large(net::SendPool::kBlockBytes + 1, 'y');
    test.append(large);
    test.append("e");
    EXPECT_EQ(test.send_all(), most + "abc|d|" + large + "|e");
  });
}

TEST(SendQueue, NothingIsAppendedToWhatTheKernelReads) {
  with_queue([](QueueUnderTest& test) {
    test.append("flying");
    EXPECT_EQ(test.begin(), "flying");
    test.append("later");
    test.end(3);
    test.append("!");
    EXPECT_EQ(test.send_all(), "ing|later!");
  });
}

TEST(SendQueue, WhatIsAppendedStaysBehindWhatWasPushedBefore) {
  with_queue([](QueueUnderTest& test) {
    test.append("a");
    test.push_static("b");
    test.append("c");
    EXPECT_EQ(test.send_all(), "a|b|c");
  });
}

TEST(SendQueue, AControlFrameAtTheEndIsNotAppendedTo) {
  with_queue([](QueueUnderTest& test) {
    test.push_control("ping");
    test.append("data");
    test.append("more");
    EXPECT_EQ(test.send_all(), "ping|datamore");
    // One that is put in ahead leaves the end as it was.
    test.append("data");
    test.push_control("ping");
    test.append("more");
    EXPECT_EQ(test.send_all(), "ping|datamore");
  });
}

TEST(SendQueue, WhatComesBehindAFenceIsDroppedAndOvertakenWhatIsFencedIsNot) {
  with_queue([](QueueUnderTest& test) {
    test.append("answer");
    test.queue().fence();
    test.append("dropped");
    EXPECT_EQ(test.drop_waiting(), 7u);
    test.append("new");
    test.push_control("close");
    EXPECT_EQ(test.send_all(), "answer|close|new");
  });
}

TEST(SendQueue, NothingComesBetweenTheTwoPiecesOfAFrame) {
  with_queue([](QueueUnderTest& test) {
    test.append("head");
    test.push_static("rest", true);
    test.append("next");
    test.push_control("before");
    EXPECT_EQ(test.begin(10), "before|head");
    // In flight.
    test.push_control("ping");
    test.end(10);
    // Sent, and nothing is in flight.
    EXPECT_TRUE(test.queue().is_sent_in_part());
    test.push_control("ping");
    EXPECT_EQ(test.send_all(), "rest|ping|next");
  });
}

TEST(SendQueue, TheRestOfAFrameThatWasBegunIsNotDropped) {
  with_queue([](QueueUnderTest& test) {
    test.append("head");
    test.push_static("rest", true);
    EXPECT_EQ(test.begin(4), "head");
    test.end(4);
    test.append("dropped");
    EXPECT_EQ(test.drop_waiting(), 7u);
    EXPECT_EQ(test.send_all(), "rest");
    test.append("head");
    test.push_static("rest", true);
    EXPECT_EQ(test.drop_waiting(), 8u);
    EXPECT_TRUE(test.queue().empty());
  });
}

TEST(SendQueue, AQueueThatWasDroppedBeginsAnew) {
  with_queue([](QueueUnderTest& test) {
    test.append("gone");
    EXPECT_EQ(test.drop_waiting(), 4u);
    EXPECT_TRUE(test.queue().empty());
    test.append("here");
    EXPECT_EQ(test.send_all(), "here");
  });
}

}  // namespace
}  // namespace corelane
