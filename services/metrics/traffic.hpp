#pragma once
// Traffic: what the sessions of one core have received and sent, by opcode, how long their requests
// took, and how they ended. One a core, made before all other services: dispatch counts what comes
// in, sessions count what goes out.
//
// Cost for a request and its reply: two lines of memory and some 20 instructions (perf/micro,
// dispatch/ping). Times are measured for some of the requests: the first kTimedFirst of each opcode
// and then one in kTimedEvery, at random distances, because reading the clock twice costs as much
// as serving a Ping.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/opcode.hpp"
#include "protocol/uuid.hpp"
#include "runtime/core.hpp"
#include "runtime/histogram.hpp"
#include "services/local.hpp"

namespace corelane::services {

class OpcodeTable;

class Traffic {
 public:
  static constexpr std::uint32_t kTimedFirst = 64;
  static constexpr std::uint32_t kTimedEvery = 32;
  // Timed requests whose answer comes later than their handler returns. With more of them the
  // oldest is given up.
  static constexpr std::size_t kAwaitedMax = 8;

  // Opcodes that have neither a name nor a row nor a handler are counted together: clients choose
  // them. The table outlives it.
  explicit Traffic(const OpcodeTable& opcodes);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  static Traffic& local() noexcept { return services::local<Traffic>(ServiceSlot::traffic); }

  struct Count {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;  // frames, with their sizes, without what carries them
  };

  // A request has come. True: it is to be timed.
  bool count_in(protocol::Opcode opcode, std::size_t bytes) noexcept {
    Incoming& in = incoming_[slot_of(opcode)];
    ++in.count.messages;
    in.count.bytes += bytes;
    return --in.until_timed == 0;
  }
  // A frame was queued to a session.
  void count_out(protocol::Opcode opcode, std::size_t bytes) noexcept {
    Count& out = outgoing_[slot_of(opcode)];
    ++out.messages;
    out.bytes += bytes;
  }
  // Frames that were queued to several sessions; `bytes` of all together.
  void count_out(protocol::Opcode opcode, std::uint64_t messages, std::uint64_t bytes) noexcept {
    Count& out = outgoing_[slot_of(opcode)];
    out.messages += messages;
    out.bytes += bytes;
  }
  // An answer is queued; `slot` and `generation` are the session's.
  void answer(std::uint32_t slot, std::uint32_t generation,
              const protocol::Uuid& transaction_id) noexcept {
    if (awaited_count_ != 0) [[unlikely]]
      end_awaited(slot, generation, transaction_id);
  }

  // A request that is timed, around the call that serves it.
  struct Timed {
    protocol::Opcode opcode = protocol::Opcode::None;
    std::uint32_t slot = 0;  // of its session
    std::uint32_t generation = 0;
    runtime::Nanoseconds begin = 0;
    protocol::Uuid transaction_id{};
  };
  void begin_timed(const Timed& request) noexcept;
  // `answer_comes_later`: a part of the answer's time is still to come.
  void end_timed(const Timed& request, bool answer_comes_later) noexcept;

  // An Error was sent to a session.
  [[gnu::cold]] void count_error(protocol::ErrorCode code);
  // A session has ended. `code` is the close code of a WebSocket, on any side.
  void count_close(std::uint16_t code);
  // One over TCP or a Unix socket: with the code of the last Error, if the server ends it, and with
  // `none` when it is gone, in either case.
  void count_end(protocol::ErrorCode code);

  // --- Reading
  struct OpcodeTraffic {
    std::uint16_t number = 0;
    // Of the opcode; its number for those from 200 on; "other" for those that the server does not
    // know, together.
    std::string_view name{};
    Count in{};
    Count out{};
    const runtime::Histogram* handler = nullptr;  // null: none was timed
    const runtime::Histogram* reply = nullptr;
  };
  // Of each opcode that was used.
  std::vector<OpcodeTraffic> by_opcode() const;
  Count total_in() const noexcept;
  Count total_out() const noexcept;

  template <class Key>
  struct Tally {
    Key key;
    std::uint64_t count;
  };
  const std::vector<Tally<protocol::ErrorCode>>& errors() const noexcept { return errors_; }
  // Codes of applications are counted by thousands: 3000 stands for 3000 to 3999.
  const std::vector<Tally<std::uint16_t>>& closes() const noexcept { return closes_; }
  const std::vector<Tally<protocol::ErrorCode>>& ends() const noexcept { return ends_; }
  // Handler times of all opcodes since the last call of clear_recent().
  const runtime::Histogram& recent() const noexcept { return recent_; }
  // Also gives up answers that have not come for kAwaitedFor: their sessions have ended.
  void clear_recent() noexcept;
  static constexpr runtime::Nanoseconds kAwaitedFor = 60 * runtime::kSecond;

 private:
  static constexpr std::size_t kDirect = protocol::kCustomOpcodeMin;
  static constexpr std::size_t kOthers = kDirect;  // the slot of opcodes without a handler

  struct alignas(32) Incoming {
    Count count;
    std::uint32_t until_timed = 1;
    std::uint32_t timed = 0;
  };
  struct Times {
    runtime::Histogram handler;
    runtime::Histogram reply;
  };

  std::size_t slot_of(protocol::Opcode opcode) const noexcept {
    const std::uint16_t number = protocol::number(opcode);
    if (number < kDirect) [[likely]]
      return number;
    return slot_of_custom(number);
  }
  std::size_t slot_of_custom(std::uint16_t number) const noexcept;
  OpcodeTraffic at(std::size_t slot) const;
  Times& times_of(std::size_t slot) noexcept;
  void end_awaited(std::uint32_t slot, std::uint32_t generation,
                   const protocol::Uuid& transaction_id) noexcept;
  void forget_awaited(std::size_t index) noexcept;

  const OpcodeTable& opcodes_;
  runtime::Core& core_;
  std::vector<std::uint16_t> customs_;  // sorted; the i-th has the slot kOthers + 1 + i
  std::vector<std::string> custom_names_;
  std::vector<Incoming> incoming_;  // by slot
  std::vector<Count> outgoing_;
  std::vector<std::unique_ptr<Times>> times_;
  std::array<Timed, kAwaitedMax> awaited_{};
  std::size_t awaited_count_ = 0;
  std::uint64_t distances_ = 1;
  std::vector<Tally<protocol::ErrorCode>> errors_;
  std::vector<Tally<std::uint16_t>> closes_;
  std::vector<Tally<protocol::ErrorCode>> ends_;
  runtime::Histogram recent_;
};

}  // namespace corelane::services
