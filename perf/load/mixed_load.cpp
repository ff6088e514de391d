#include "perf/load/mixed_load.hpp"

#include <fmt/format.h>

#include <charconv>
#include <numeric>
#include <optional>
#include <string_view>

#include "perf/load/json_text.hpp"
#include "perf/load/opener.hpp"
#include "perf/load/websocket_units.hpp"
#include "perf/load/who_am_i.hpp"
#include "protocol/message.hpp"
#include "runtime/await.hpp"

namespace corelane::perf {
namespace {

using runtime::Nanoseconds;

constexpr Nanoseconds kConfirmTimeout = 10 * runtime::kSecond;
constexpr Nanoseconds kConfirmStep = runtime::kMillisecond;
constexpr std::uint64_t kScriptSeed = 0x736372697074;  // the same order in every run
constexpr std::size_t kFrameOverhead = 256;            // envelope and headers, generously

}  // namespace

bool MixedOptions::read_script(const std::string& script) {
  weights = {};
  std::string_view rest = script;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view weight = part.substr(equals + 1);
    bool found = false;
    for (std::size_t i = 0; i < kOperations; ++i) {
      if (part.substr(0, equals) != name_of(static_cast<Operation>(i))) continue;
      const char* begin = weight.data();
      const char* end = begin + weight.size();
      const auto [read, error] = std::from_chars(begin, end, weights[i]);
      found = error == std::errc{} && read == end && weights[i] <= 1'000'000;
    }
    if (!found) return false;
  }
  return std::accumulate(weights.begin(), weights.end(), 0U) > 0;
}

// A connection: first its conversation, then this has the stream.
class MixedLoad::Session {
 public:
  Session(MixedLoad& load, std::uint32_t number)
      : load_(load), number_(number), conversation_(load.context_.network) {}

  std::uint32_t number() const noexcept { return number_; }
  Conversation& conversation() noexcept { return conversation_; }
  net::Stream* find() noexcept { return load_.context_.network.find(conversation_.stream()); }
  void take_stream() {
    if (net::Stream* stream = find()) stream->set_handler(kHandler, this);
  }

  protocol::Uuid id{};
  std::uint32_t in_flight = 0;
  TimeQueue waiting;  // open loop: due, beyond the depth

 private:
  static Session& of(net::Stream& stream) { return *static_cast<Session*>(stream.owner()); }

  void take(net::Stream& stream, std::span<const std::byte> bytes) {
    kept_.insert(kept_.end(), bytes.begin(), bytes.end());
    const Nanoseconds now = stream.network().core().ring().now();
    const bool is_websocket = load_.context_.settings.target.scheme == Scheme::ws;
    std::size_t parsed = 0;
    for (;;) {
      const OpcodeUnit found =
          parse_opcode_unit(is_websocket, std::span{kept_}.subspan(parsed), state_);
      if (found.unit.kind == Unit::Kind::need_more) break;
      parsed += found.unit.consumed;
      if (!handle(stream, found, now)) return;
    }
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(parsed));
  }

  // False: the stream is ending.
  bool handle(net::Stream& stream, const OpcodeUnit& found, Nanoseconds now) {
    switch (found.unit.kind) {
      case Unit::Kind::skipped:
        return true;
      case Unit::Kind::ping:
        send_pong(stream, found.unit.payload);
        return true;
      case Unit::Kind::refused:
        stream.close(0);
        return false;
      case Unit::Kind::delivery:
        break;
      default:
        return convict(stream, "bytes that this protocol does not know");
    }
    const auto verdict = judge(found.message);
    if (!verdict.good) {
      return convict(stream, fmt::format("a message (opcode {}) that was not due: lost, doubled, "
                                         "out of order or wrong",
                                         static_cast<unsigned>(found.message.opcode)));
    }
    if (verdict.ended) load_.on_ended(*verdict.ended, now);
    return true;
  }

  MixedLedger::Verdict judge(const protocol::MessageView& message) {
    namespace fbs = protocol::fbs;
    MixedLedger& ledger = load_.ledger_;
    protocol::AlignedScratch& scratch = load_.scratch_;
    switch (message.opcode) {
      case protocol::Opcode::Pong: {
        const auto pong = protocol::verify_payload<fbs::PongReply>(message.payload, scratch);
        return pong ? ledger.on_pong(number_, protocol::bytes_of(pong->data()))
                    : MixedLedger::Verdict{};
      }
      case protocol::Opcode::DirectMessage: {
        const auto direct = protocol::verify_payload<fbs::DirectEvent>(message.payload, scratch);
        const std::size_t from = number_ == 0 ? load_.sessions_.size() - 1 : number_ - 1;
        if (!direct || protocol::from_fbs(direct->from()) != load_.sessions_[from].id) return {};
        return ledger.on_message(number_, protocol::bytes_of(direct->data()));
      }
      case protocol::Opcode::Event: {
        const auto event = protocol::verify_payload<fbs::ChannelEvent>(message.payload, scratch);
        const std::string& channel = load_.channels_[ledger.channel_of(number_)];
        if (!event || protocol::text_of(event->channel()) != channel) return {};
        return ledger.on_event(number_, protocol::bytes_of(event->data()));
      }
      case protocol::Opcode::SubscribeReply: {
        const auto reply = protocol::verify_payload<fbs::SubscribeReply>(message.payload, scratch);
        if (!reply || reply->results()->size() != 1) return {};
        ++load_.confirmed_;
        return {.good = reply->results()->Get(0)->code() == protocol::ErrorCode::none};
      }
      default:
        return {};
    }
  }

  bool convict(net::Stream& stream, const std::string& what) {
    convicted_ = true;
    load_.context_.faults.note_wrong(fmt::format("to session {} came {}", number_, what));
    stream.abort();
    return false;
  }

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).take(stream, received.bytes);
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept {
    const Session& self = of(stream);
    if (self.convicted_ || self.load_.context_.stopping) return;
    self.load_.context_.faults.note_closed("the server closed a session: " + describe(why));
  }
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"mixed",   on_data,  on_end,
                                               on_closed, on_timer, nullptr};

  MixedLoad& load_;
  std::uint32_t number_;
  Conversation conversation_;
  std::vector<std::byte> kept_;  // part of a unit
  FanoutProtocol::State state_ = 0;
  bool convicted_ = false;
};

MixedLoad::MixedLoad(LoadContext& context, const MixedOptions& options)
    : Load(context),
      options_(options),
      ledger_(context.settings.connections, options.sessions_each, context.settings.payload_bytes),
      script_(kScriptSeed) {
  for (std::uint32_t i = 0; i < ledger_.channels(); ++i) {
    channels_.push_back(fmt::format("load-{}", i));
  }
}

MixedLoad::~MixedLoad() = default;

template <class Body>
std::span<const std::byte> MixedLoad::words_of(const Body& body) {
  words_.clear();
  if (context_.settings.target.scheme != Scheme::ws) {
    protocol::append_frame(words_, {}, body);
    return words_;
  }
  frame_.clear();
  protocol::append_frame(frame_, {}, body);
  append_client_frame(words_, ws::Opcode::binary, frame_);
  return words_;
}

// --- Opening

runtime::Task<runtime::Result<void>> MixedLoad::open_session() {
  const auto number = static_cast<std::uint32_t>(sessions_.size());
  Session& session = sessions_.emplace_back(*this, number);
  const auto opened = co_await session.conversation().open(context_.opener);
  if (!opened) co_return runtime::Unexpected{opened.error()};
  const auto who = co_await ask_who_i_am(session.conversation(), context_.settings.target.scheme);
  if (!who) co_return runtime::Unexpected{who.error()};
  session.id = who->session;
  session.take_stream();
  const std::array<std::string_view, 1> channels{channels_[ledger_.channel_of(number)]};
  net::Stream* stream = session.find();
  if (stream != nullptr) {
    static_cast<void>(stream->send_copy(words_of(protocol::SubscribeBody{.channels = channels})));
  }
  co_return runtime::Result<void>{};
}

runtime::Task<runtime::Result<void>> MixedLoad::open() {
  for (std::uint32_t i = 0; i < context_.settings.connections; ++i) {
    const auto opened = co_await open_session();
    if (!opened) co_return runtime::Unexpected{opened.error()};
  }
  const Nanoseconds deadline = context_.network.core().now() + kConfirmTimeout;
  while (confirmed_ < sessions_.size() && context_.faults.none()) {
    if (context_.network.core().now() > deadline) {
      co_return runtime::fail(runtime::ErrorCode::timed_out);
    }
    co_await runtime::sleep_for(kConfirmStep);
  }
  co_return runtime::Result<void>{};
}

// --- The loop

Operation MixedLoad::next_operation() {
  const auto& weights = options_.weights;
  std::uint64_t at = script_.below(std::accumulate(weights.begin(), weights.end(), 0U));
  std::size_t operation = 0;
  while (at >= weights[operation]) at -= weights[operation++];
  return static_cast<Operation>(operation);
}

void MixedLoad::begin(Session& session, Nanoseconds at) {
  const Operation operation = next_operation();
  const std::span<const std::byte> data = ledger_.begin(operation, session.number(), at);
  ++session.in_flight;
  std::span<const std::byte> words;
  switch (operation) {
    case Operation::ping:
      words = words_of(protocol::PingBody{.data = data});
      break;
    case Operation::publish:
      words = words_of(protocol::PublishBody{
          .channel = channels_[ledger_.channel_of(session.number())], .data = data});
      break;
    case Operation::send:
      words = words_of(protocol::SendBody{
          .session = sessions_[ledger_.receiver_of(session.number())].id, .data = data});
      break;
  }
  // False only while the stream is closing, which is counted where it ends.
  if (net::Stream* stream = session.find()) static_cast<void>(stream->send_copy(words));
}

void MixedLoad::start() {
  const Nanoseconds now = context_.network.core().ring().now();
  for (Session& session : sessions_) {
    for (std::uint32_t i = 0; i < context_.settings.depth; ++i) begin(session, now);
  }
}

void MixedLoad::offer(Nanoseconds due) {
  Session& session = sessions_[next_offer_];
  next_offer_ = next_offer_ + 1 == sessions_.size() ? 0 : next_offer_ + 1;
  if (session.in_flight < context_.settings.depth) return begin(session, due);
  session.waiting.push(due);
  ++waiting_;
}

void MixedLoad::stop() {
  for (Session& session : sessions_) session.waiting = TimeQueue();
  waiting_ = 0;
}

void MixedLoad::on_ended(const MixedLedger::Ended& ended, Nanoseconds now) {
  context_.meter.record(now - ended.at);
  if (context_.meter.recording()) {
    latency_ns_[static_cast<std::size_t>(ended.operation)].record(
        static_cast<std::uint64_t>(std::max<Nanoseconds>(now - ended.at, 0)));
  }
  Session& session = sessions_[ended.session];
  --session.in_flight;
  if (context_.stopping) return;
  if (!context_.settings.is_open_loop()) return begin(session, now);
  if (session.waiting.size() == 0) return;
  --waiting_;
  begin(session, session.waiting.pop());
}

// --- Figures

std::string MixedLoad::describe_lost() const {
  return fmt::format("{} operations never ended: some of their effects have not come",
                     outstanding());
}

std::string MixedLoad::own_json() const {
  std::string json = fmt::format(R"("mixed":{{"channels":{})", channels_.size());
  for (std::size_t i = 0; i < kOperations; ++i) {
    const Histogram& latency = latency_ns_[i];
    json += fmt::format(R"(,"{}":{{"count":{},"p50":{},"p99":{},"max":{}}})",
                        name_of(static_cast<Operation>(i)), latency.count(), latency.percentile(50),
                        latency.percentile(99), latency.max());
  }
  return json + "},";
}

std::string MixedLoad::own_text() const {
  std::string text;
  for (std::size_t i = 0; i < kOperations; ++i) {
    const Histogram& latency = latency_ns_[i];
    text += fmt::format("  {:<12} {} in all, latency us p50 {:.1f}  p99 {:.1f}  max {:.1f}\n",
                        name_of(static_cast<Operation>(i)), latency.count(),
                        in_us(latency.percentile(50)), in_us(latency.percentile(99)),
                        in_us(latency.max()));
  }
  return text;
}

net::NetworkOptions MixedLoad::network_options(const Settings& settings) {
  net::NetworkOptions network;
  network.streams_max = settings.connections;
  network.queued_bytes_max =
      4 * (std::size_t{settings.depth} + 1) * (settings.payload_bytes + kFrameOverhead);
  network.direct_descriptors = false;
  return network;
}

}  // namespace corelane::perf
