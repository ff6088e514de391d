// The opcode protocol: splitting a message into frames, verifying envelope and payload, and laying
// out frames.

#include <vector>

#include "perf/micro/workload.hpp"
#include "protocol/frame.hpp"
#include "protocol/message.hpp"
#include "protocol/requests.hpp"
#include "protocol/verify.hpp"

namespace corelane::perf {
namespace {

using protocol::PublishBody;

struct Publish {
  explicit Publish(std::size_t bytes) : data(bytes, std::byte{'d'}) {
    header.transaction_id.data[0] = 1;
  }
  PublishBody body() const { return {.channel = "news", .data = data, .requires_ack = true}; }

  std::vector<std::byte> data;
  protocol::MessageHeader header;
};

class Split final : public Workload {
 public:
  Split(std::size_t bytes, std::size_t batch) {
    const Publish publish(bytes);
    for (std::size_t i = 0; i < batch; ++i) {
      protocol::append_frame(message_, publish.header, publish.body());
    }
  }
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t done = 0; done < operations;) {
      protocol::FrameCursor cursor(message_, protocol::kFrameBytesMaxDefault);
      for (; !cursor.at_end(); ++done) {
        const protocol::Frame frame = cursor.next();
        if (frame.status != protocol::FrameStatus::complete) return 0;
        sum += frame.message.size();
      }
    }
    return sum;
  }

 private:
  std::vector<std::byte> message_;
};

// Envelope and payload, as dispatch does for each request; `shift` moves the frame to an odd
// address.
class Verify final : public Workload {
 public:
  Verify(std::size_t bytes, std::size_t shift) {
    const Publish publish(bytes);
    std::vector<std::byte> frame;
    protocol::append_frame(frame, publish.header, publish.body());
    memory_.resize(shift);
    memory_.insert(memory_.end(), frame.begin(), frame.end());
    message_ = std::span<const std::byte>(memory_).subspan(shift + protocol::kFrameSizeBytes);
  }
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const auto verified = protocol::verify_message(message_);
      if (!verified.ok) return 0;
      protocol::PublishRequest request;
      if (protocol::read_request(verified.view.payload, scratch_, request) !=
          protocol::ErrorCode::none) {
        return 0;
      }
      sum += request.data.size() + request.channel.size();
    }
    return sum;
  }

 private:
  std::vector<std::byte> memory_;
  std::span<const std::byte> message_;
  protocol::AlignedScratch scratch_;
};

class Build final : public Workload {
 public:
  explicit Build(std::size_t bytes) : publish_(bytes), out_(bytes + 512) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      publish_.header.timestamp = i;
      sum += protocol::write_frame(out_, publish_.header, publish_.body());
      std::byte* written = out_.data();
      keep(written);
    }
    return sum;
  }

 private:
  Publish publish_;
  std::vector<std::byte> out_;
};

// One event of a channel, behind what all its events have in common.
class BuildEvent final : public Workload {
 public:
  explicit BuildEvent(std::size_t bytes) : data_(bytes, std::byte{'d'}), out_(bytes + 512) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const std::size_t frame = events_.frame_bytes(data_.size());
      sum += events_.write(std::span(out_).first(frame), {.timestamp = i, .offset = i}, data_);
      std::byte* written = out_.data();
      keep(written);
    }
    return sum;
  }

 private:
  protocol::EventTemplate events_{"news", 7, true};
  std::vector<std::byte> data_;
  std::vector<std::byte> out_;
};

}  // namespace

void add_protocol_cases(Cases& cases) {
  for (const std::size_t bytes : {20u, 1024u, 65'536u}) {
    const std::string parameter = "/bytes:" + std::to_string(bytes);
    const std::uint64_t counted = bytes > 1024 ? 100 : 1000;
    cases.add<Verify>({.name = "protocol/verify" + parameter, .bytes = bytes}, bytes, 0);
    cases.add<Build>({.name = "protocol/build" + parameter, .bytes = bytes, .counted = counted},
                     bytes);
    cases.add<BuildEvent>(
        {.name = "protocol/build_event" + parameter, .bytes = bytes, .counted = counted}, bytes);
  }
  cases.add<Verify>({.name = "protocol/verify/bytes:1024/shift:1", .bytes = 1024}, 1024, 1);
  for (const std::size_t batch : {1u, 16u}) {
    cases.add<Split>(
        {.name = "protocol/split/bytes:20/batch:" + std::to_string(batch), .counted = 1600}, 20,
        batch);
  }
}

}  // namespace corelane::perf
