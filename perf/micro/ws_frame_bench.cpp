// WebSocket frames: the header alone, and messages as a connection takes them out of a receive
// buffer, unmasked in place. An operation is one frame out of a buffer that holds `batch` of them.

#include <cstring>
#include <vector>

#include "perf/micro/workload.hpp"
#include "runtime/random.hpp"
#include "ws/frame.hpp"
#include "ws/message_reader.hpp"

namespace corelane::perf {
namespace {

// What a client sends: `frames` frames of one size, each with a key of its own.
std::vector<std::byte> client_frames(std::size_t frames, std::size_t payload_bytes,
                                     ws::Opcode opcode) {
  runtime::Random random(kSeed);
  const std::size_t header = ws::client_header_bytes(payload_bytes);
  std::vector<std::byte> bytes(frames * (header + payload_bytes));
  std::byte* to = bytes.data();
  for (std::size_t i = 0; i < frames; ++i) {
    ws::MaskKey key;
    random.fill(key);
    ws::write_client_header(to, {.opcode = opcode}, payload_bytes, key);
    const std::span<std::byte> payload{to + header, payload_bytes};
    if (opcode == ws::Opcode::text) {
      std::memset(payload.data(), 'a', payload.size());
      ws::apply_mask(payload, key);
    } else {
      random.fill(payload);
    }
    to += header + payload_bytes;
  }
  return bytes;
}

class ParseHeaders final : public Workload {
 public:
  ParseHeaders(std::size_t payload_bytes, std::size_t batch)
      : bytes_(client_frames(batch, payload_bytes, ws::Opcode::binary)) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    std::span<const std::byte> rest = bytes_;
    for (std::uint64_t i = 0; i < operations; ++i) {
      if (rest.empty()) rest = bytes_;
      ws::FrameHeader header;
      const ws::HeaderStatus status = ws::parse_frame_header(rest, {}, header);
      if (status != ws::HeaderStatus::complete) return 0;
      sum += header.payload_bytes + std::to_integer<std::uint64_t>(header.mask_key[0]);
      rest = rest.subspan(header.header_bytes + header.payload_bytes);
    }
    return sum;
  }

 private:
  std::vector<std::byte> bytes_;
};

// Unmasking in place would leave other bytes for the next run, so each batch is copied in first, as
// the kernel does: the case `copy` is what that costs.
class Consume final : public Workload {
 public:
  Consume(std::size_t payload_bytes, std::size_t batch, ws::Opcode opcode, bool parses)
      : bytes_(client_frames(batch, payload_bytes, opcode)),
        buffer_(bytes_.size()),
        batch_(batch),
        parses_(parses) {}
  std::uint64_t run(std::uint64_t operations) override {
    Sum sink;
    for (std::uint64_t done = 0; done < operations; done += batch_) {
      std::memcpy(buffer_.data(), bytes_.data(), bytes_.size());
      std::byte* buffer = buffer_.data();
      keep(buffer);
      if (!parses_) {
        sink.sum += batch_;
        continue;
      }
      const ws::ReadResult result = reader_.consume(buffer_, limits_, sink);
      if (result.status != ws::ReadStatus::drained) return 0;
    }
    return sink.sum;
  }

 private:
  struct Sum {
    bool on_message(ws::Message message) {
      sum += message.payload().size() + std::to_integer<std::uint64_t>(message.payload()[0]);
      return true;
    }
    bool on_ping(std::span<const std::byte>) { return false; }
    bool on_pong(std::span<const std::byte>) { return false; }
    bool on_close(ws::CloseCode, std::string_view) { return false; }
    std::uint64_t sum = 0;
  };

  std::vector<std::byte> bytes_;
  std::vector<std::byte> buffer_;
  std::size_t batch_;
  bool parses_;
  ws::ReaderLimits limits_;
  ws::MessageReader reader_{ws::Role::server};
};

class WriteHeader final : public Workload {
 public:
  explicit WriteHeader(std::uint64_t payload_bytes) : payload_bytes_(payload_bytes) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    std::byte header[ws::kServerHeaderBytesMax];
    for (std::uint64_t i = 0; i < operations; ++i) {
      keep(payload_bytes_);
      sum += ws::write_server_header(header, {}, payload_bytes_);
      std::byte* written = header;
      keep(written);
    }
    return sum;
  }

 private:
  std::uint64_t payload_bytes_;
};

}  // namespace

void add_frame_cases(Cases& cases) {
  constexpr std::size_t kBatch = 16;
  for (const std::size_t bytes : {20u, 125u, 1024u, 16'384u}) {
    const std::string parameters =
        "/bytes:" + std::to_string(bytes) + "/batch:" + std::to_string(kBatch);
    const std::uint64_t counted = bytes > 1024 ? 160 : 1600;
    cases.add<ParseHeaders>({.name = "ws_frame/parse_header" + parameters, .counted = 1600}, bytes,
                            kBatch);
    cases.add<Consume>(
        {.name = "ws_reader/binary" + parameters, .bytes = bytes, .counted = counted}, bytes,
        kBatch, ws::Opcode::binary, true);
    cases.add<Consume>({.name = "ws_reader/text" + parameters, .bytes = bytes, .counted = counted},
                       bytes, kBatch, ws::Opcode::text, true);
    cases.add<Consume>({.name = "ws_reader/copy" + parameters, .bytes = bytes, .counted = 0}, bytes,
                       kBatch, ws::Opcode::binary, false);
    cases.add<WriteHeader>({.name = "ws_frame/write_header/bytes:" + std::to_string(bytes)}, bytes);
  }
  cases.add<Consume>({.name = "ws_reader/binary/bytes:125/batch:1", .bytes = 125}, 125, 1,
                     ws::Opcode::binary, true);
}

}  // namespace corelane::perf
