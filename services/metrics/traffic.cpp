#include "services/metrics/traffic.hpp"

#include <algorithm>
#include <cstring>

#include "services/dispatch/dispatch.hpp"

namespace corelane::services {

using protocol::Opcode;

namespace {

constexpr std::string_view kOtherName = "other";

template <class Tallies, class Key>
void count_one(Tallies& tallies, Key key) {
  for (auto& tally : tallies) {
    if (tally.key == key) {
      ++tally.count;
      return;
    }
  }
  tallies.push_back({key, 1});
}

// Codes from 3000 are the peer's choice: each of its own would let a peer make 2,000 series.
std::uint16_t close_kind(std::uint16_t code) noexcept {
  return code < 3000 ? code : static_cast<std::uint16_t>(code / 1000 * 1000);
}

}  // namespace

Traffic::Traffic(const OpcodeTable& opcodes)
    : opcodes_(opcodes), core_(runtime::Core::current()), customs_(opcodes.custom_opcodes()) {
  std::ranges::sort(customs_);
  for (const std::uint16_t number : customs_) custom_names_.push_back(std::to_string(number));
  const std::size_t slots = kOthers + 1 + customs_.size();
  incoming_.resize(slots);
  outgoing_.resize(slots);
  times_.resize(slots);
  set_local(ServiceSlot::traffic, this);
}

Traffic::~Traffic() {
  set_local(ServiceSlot::traffic, nullptr);
}

std::size_t Traffic::slot_of_custom(std::uint16_t number) const noexcept {
  const auto found = std::ranges::lower_bound(customs_, number);
  if (found == customs_.end() || *found != number) return kOthers;
  return kOthers + 1 + static_cast<std::size_t>(found - customs_.begin());
}

Traffic::OpcodeTraffic Traffic::at(std::size_t slot) const {
  OpcodeTraffic traffic;
  if (slot < kDirect) {
    const auto opcode = static_cast<Opcode>(slot);
    const OpcodeRow& row = opcodes_.row(opcode);
    traffic.name =
        row.serve != nullptr ? std::string_view{row.name} : protocol::opcode_name(opcode);
    if (!traffic.name.empty()) traffic.number = static_cast<std::uint16_t>(slot);
  } else if (slot > kOthers) {
    traffic.number = customs_[slot - kOthers - 1];
    traffic.name = custom_names_[slot - kOthers - 1];
  }
  if (traffic.name.empty()) traffic.name = kOtherName;
  traffic.in = incoming_[slot].count;
  traffic.out = outgoing_[slot];
  if (times_[slot] != nullptr) {
    if (times_[slot]->handler.count() != 0) traffic.handler = &times_[slot]->handler;
    if (times_[slot]->reply.count() != 0) traffic.reply = &times_[slot]->reply;
  }
  return traffic;
}

std::vector<Traffic::OpcodeTraffic> Traffic::by_opcode() const {
  std::vector<OpcodeTraffic> all;
  OpcodeTraffic others{.name = kOtherName};
  for (std::size_t slot = 0; slot < incoming_.size(); ++slot) {
    const OpcodeTraffic traffic = at(slot);
    if (traffic.in.messages == 0 && traffic.out.messages == 0) continue;
    if (traffic.name != kOtherName) {
      all.push_back(traffic);
      continue;
    }
    others.in.messages += traffic.in.messages;
    others.in.bytes += traffic.in.bytes;
    others.out.messages += traffic.out.messages;
    others.out.bytes += traffic.out.bytes;
  }
  if (others.in.messages != 0 || others.out.messages != 0) all.push_back(others);
  return all;
}

Traffic::Count Traffic::total_in() const noexcept {
  Count total;
  for (const Incoming& in : incoming_) {
    total.messages += in.count.messages;
    total.bytes += in.count.bytes;
  }
  return total;
}

Traffic::Count Traffic::total_out() const noexcept {
  Count total;
  for (const Count& out : outgoing_) {
    total.messages += out.messages;
    total.bytes += out.bytes;
  }
  return total;
}

// --- Times

Traffic::Times& Traffic::times_of(std::size_t slot) noexcept {
  if (times_[slot] == nullptr) times_[slot] = std::make_unique<Times>();
  return *times_[slot];
}

void Traffic::begin_timed(const Timed& request) noexcept {
  Incoming& in = incoming_[slot_of(request.opcode)];
  if (in.timed < kTimedFirst) {
    ++in.timed;
    in.until_timed = 1;
  } else {
    // 1 to 2 * kTimedEvery - 1, so that requests that come in a pattern are not timed by it.
    distances_ = distances_ * 6364136223846793005u + 1442695040888963407u;
    in.until_timed = 1 + static_cast<std::uint32_t>((distances_ >> 33) % (2 * kTimedEvery - 1));
  }
  if (request.transaction_id.is_nil()) return;
  if (awaited_count_ == kAwaitedMax) forget_awaited(0);
  awaited_[awaited_count_++] = request;
}

void Traffic::end_timed(const Timed& request, bool answer_comes_later) noexcept {
  const auto taken = static_cast<std::uint64_t>(core_.ring().now() - request.begin);
  times_of(slot_of(request.opcode)).handler.record(taken);
  recent_.record(taken);
  // Without an answer so far, and with none to come, there is none.
  if (answer_comes_later || awaited_count_ == 0) return;
  const Timed& last = awaited_[awaited_count_ - 1];
  if (last.begin == request.begin && last.slot == request.slot &&
      last.generation == request.generation && last.transaction_id == request.transaction_id) {
    forget_awaited(awaited_count_ - 1);
  }
}

void Traffic::end_awaited(std::uint32_t slot, std::uint32_t generation,
                          const protocol::Uuid& transaction_id) noexcept {
  for (std::size_t i = 0; i < awaited_count_; ++i) {
    const Timed& timed = awaited_[i];
    if (timed.slot != slot || timed.generation != generation ||
        timed.transaction_id != transaction_id) {
      continue;
    }
    const auto taken = static_cast<std::uint64_t>(core_.ring().now() - timed.begin);
    times_of(slot_of(timed.opcode)).reply.record(taken);
    return forget_awaited(i);
  }
}

void Traffic::forget_awaited(std::size_t index) noexcept {
  std::move(awaited_.begin() + static_cast<std::ptrdiff_t>(index) + 1,
            awaited_.begin() + static_cast<std::ptrdiff_t>(awaited_count_),
            awaited_.begin() + static_cast<std::ptrdiff_t>(index));
  --awaited_count_;
}

void Traffic::clear_recent() noexcept {
  recent_.clear();
  const runtime::Nanoseconds now = core_.ring().now();
  while (awaited_count_ != 0 && now - awaited_.front().begin > kAwaitedFor) forget_awaited(0);
}

// --- Errors and ends

void Traffic::count_error(protocol::ErrorCode code) {
  count_one(errors_, code);
}

void Traffic::count_close(std::uint16_t code) {
  count_one(closes_, close_kind(code));
}

void Traffic::count_end(protocol::ErrorCode code) {
  count_one(ends_, code);
}

}  // namespace corelane::services
