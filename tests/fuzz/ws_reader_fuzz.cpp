// Goal: no stream of bytes makes a MessageReader crash, read past its receive, pass its limits, or
// say different things for different cuts of the same bytes. Method: the first byte picks role,
// compression and limits, the second the cut; the rest is the stream, fed whole, byte by byte and
// in the chosen cut, each receive in a block of exactly its size.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/ws/wire.hpp"
#include "ws/deflate.hpp"
#include "ws/message_reader.hpp"
#include "ws/utf8.hpp"

namespace corelane {
namespace {

using tests::wire::Cuts;

void demand(bool holds) {
  if (!holds) std::abort();
}

// Checks what a message promises before the Recorder writes it down.
struct CheckingRecorder : tests::wire::Recorder {
  std::size_t bytes_max = 0;
  bool on_message(ws::Message message) {
    demand(message.payload().size() <= bytes_max);
    demand(message.header_room() >= ws::server_header_bytes(message.payload().size()) ||
           !message.is_owned());
    if (message.kind() == ws::MessageKind::text) demand(ws::is_valid_utf8(message.payload()));
    // A client's reader has no key in front of the payload, so the room is the header's alone.
    demand(message.header_room() >= 2);
    return Recorder::on_message(std::move(message));
  }
};

// Whatever follows our close frame is read to its end.
void skip_rest(ws::MessageReader& reader, std::span<const std::byte> rest, std::string_view stream,
               const Cuts& cuts) {
  ws::SkipResult skipped = reader.skip(rest);
  while (skipped.status == ws::SkipStatus::going_on && !stream.empty()) {
    const std::string piece{stream.substr(0, cuts.next())};
    stream.remove_prefix(piece.size());
    skipped = reader.skip(tests::wire::as_bytes(piece));
    demand(skipped.consumed <= piece.size());
  }
}

std::vector<std::string> run(std::string_view stream, unsigned options, const Cuts& cuts) {
  const ws::Role role = (options & 1) != 0 ? ws::Role::server : ws::Role::client;
  const bool is_compressed = (options & 2) != 0;
  const ws::ReaderLimits limits{.message_bytes_max = (options & 4) != 0 ? 64U : 100000U,
                                .fragments_max = (options & 8) != 0 ? 3U : 100U};
  ws::MessageReader reader{role, is_compressed};
  ws::Inflater inflater{15, (options & 16) != 0};
  CheckingRecorder sink;
  sink.inflater_in_use = &inflater;
  sink.bytes_max = limits.message_bytes_max;
  sink.keeps_messages = (options & 32) != 0;
  while (!stream.empty()) {
    std::string piece{stream.substr(0, cuts.next())};
    stream.remove_prefix(piece.size());
    const auto block = std::make_unique<std::byte[]>(piece.size());
    std::memcpy(block.get(), piece.data(), piece.size());
    const auto result = reader.consume(std::span{block.get(), piece.size()}, limits, sink);
    demand(result.status == ws::ReadStatus::drained ? result.consumed == piece.size()
                                                    : result.consumed <= piece.size());
    if (result.status == ws::ReadStatus::failed) {
      sink.events.push_back("fail:" + std::to_string(static_cast<unsigned>(result.code)));
      demand(!ws::reason_of(result.breach, limits).empty());
      skip_rest(reader, std::span{block.get(), piece.size()}.subspan(result.consumed), stream,
                cuts);
      break;
    }
    if (result.status == ws::ReadStatus::closed) break;
    demand(reader.bytes_missing() == 0 || reader.unfinished());
  }
  return sink.events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view stream{reinterpret_cast<const char*>(data) + 2, size - 2};
  const auto whole = run(stream, data[0], Cuts::whole());
  demand(run(stream, data[0], Cuts::every(1)) == whole);
  demand(run(stream, data[0], Cuts::every(1U + data[1])) == whole);
  tests::Prng prng{data[1]};
  demand(run(stream, data[0], Cuts::random(prng)) == whole);
  return 0;
}

}  // namespace corelane
