#include "perf/load/fanout_load.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>

#include "perf/load/json_text.hpp"
#include "runtime/assert.hpp"
#include "runtime/await.hpp"

namespace corelane::perf {
namespace {

using runtime::Nanoseconds;
using Role = FanoutProtocol::Role;

constexpr Nanoseconds kConfirmTimeout = 10 * runtime::kSecond;
constexpr Nanoseconds kConfirmStep = runtime::kMillisecond;
constexpr Nanoseconds kSlowStep = 10 * runtime::kMillisecond;
constexpr std::size_t kPublishOverhead = 256;  // headers of any protocol, generously

std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

// One channel: the deliveries that its subscribers must get, and its publishers.
struct FanoutLoad::Channel {
  Channel(std::unique_ptr<FanoutProtocol> its_protocol, const PublishedPayloads& payloads,
          const Numbering& numbering)
      : protocol(std::move(its_protocol)), order(payloads, numbering), log(*protocol, order) {}

  std::unique_ptr<FanoutProtocol> protocol;
  DeliveryOrder order;
  DeliveryLog log;
  std::deque<QuietStream> publishers;  // streams point into it
  std::vector<net::StreamId> publisher_streams;
  std::uint32_t subscribers = 0;  // that are counted
  std::uint64_t published = 0;
  std::uint64_t completed = 0;
};

// A subscriber, counted or beside.
class FanoutLoad::Reader {
 public:
  Reader(FanoutLoad& load, Channel& channel, Kind kind)
      : load_(load),
        channel_(channel),
        kind_(kind),
        follower_(*channel.protocol, channel.order, channel.log,
                  kind == Kind::counted ? Follower::Judged::yes : Follower::Judged::no) {}

  void set_stream(net::StreamId stream) noexcept { stream_ = stream; }
  Kind kind() const noexcept { return kind_; }
  Channel& channel() const noexcept { return channel_; }
  std::uint64_t next_sequence() const noexcept { return follower_.next_sequence(); }

  // On a connection that has answered something, Linux acknowledges only every second message. Then
  // the client sleeps between messages and takes half the CPU, and p99 is 1.5 times as long (1 KiB
  // to 1,000 subscribers, each server). This would depend on the protocol: opcode answers the
  // handshake with its request, the others speak first or not at all. So every subscriber gets the
  // state of a connection that only listens. tcp(7), TCP_QUICKACK.
  void only_listen() noexcept {
    const net::Stream* stream = find();
    if (stream == nullptr) return;
    const int on = 1;
    const int result =
        setsockopt(stream->descriptor().number, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    RT_ASSERT(result == 0);
  }
  // Stalled: reads nothing any more. Slow: reads when it has been given something.
  void begin_reading_badly() noexcept {
    if (kind_ == Kind::counted) return;
    if (net::Stream* stream = find()) stream->pause_receiving();
  }
  void give(double bytes) noexcept {
    allowance_ = std::min(allowance_ + bytes, bytes);
    if (allowance_ <= 0) return;
    if (net::Stream* stream = find()) stream->resume_receiving();
  }

  static const net::StreamHandler kHandler;

 private:
  static Reader& of(net::Stream& stream) { return *static_cast<Reader*>(stream.owner()); }
  net::Stream* find() noexcept { return load_.context_.network.find(stream_); }

  void take(net::Stream& stream, std::span<const std::byte> bytes) {
    if (kind_ == Kind::slow && load_.publishing_) {
      allowance_ -= static_cast<double>(bytes.size());
      if (allowance_ <= 0) stream.pause_receiving();
    }
    const std::uint64_t first = follower_.next_sequence();
    Follower::Found found = follower_.feed(bytes);
    for (; found != Follower::Found::drained; found = follower_.feed({})) {
      if (!handle(stream, found)) return;
    }
    if (kind_ == Kind::counted && follower_.next_sequence() != first) {
      load_.on_delivered(channel_, first, follower_.next_sequence(),
                         stream.network().core().ring().now());
    }
  }

  // False: the stream is ending.
  bool handle(net::Stream& stream, Follower::Found found) {
    switch (found) {
      case Follower::Found::confirmed:
        ++load_.confirmed_;
        return true;
      case Follower::Found::ping: {
        std::vector<std::byte> pong;
        channel_.protocol->answer_ping(pong, follower_.found_bytes());
        stream.send_control(net::ControlKind::pong, pong);
        return true;
      }
      case Follower::Found::refused:
        refused_ = as_text(follower_.found_bytes());
        stream.close(0);
        return false;
      default:
        convict(follower_.explain());
        stream.abort();
        return false;
    }
  }
  void convict(const std::string& what) {
    ended_ = true;
    if (kind_ == Kind::counted) load_.context_.faults.note_wrong("a subscriber: " + what);
  }

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).take(stream, received.bytes);
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept {
    Reader& self = of(stream);
    FanoutLoad& load = self.load_;
    if (load.context_.stopping || self.ended_) return;
    self.ended_ = true;
    if (self.kind_ == Kind::stalled) {
      ++load.stalled_closed_;
    } else if (self.kind_ == Kind::slow) {
      ++load.slow_closed_;
    } else {
      load.context_.faults.note_closed(
          fmt::format("the server closed a subscriber: {}",
                      self.refused_.empty() ? describe(why) : self.refused_));
    }
  }
  static void on_timer(net::Stream&) noexcept {}

  FanoutLoad& load_;
  Channel& channel_;
  Kind kind_;
  bool ended_ = false;
  Follower follower_;
  net::StreamId stream_;
  double allowance_ = 0;  // slow: bytes it may read now
  std::string refused_;
};

const net::StreamHandler FanoutLoad::Reader::kHandler{"subscriber", on_data,  on_end,
                                                      on_closed,    on_timer, nullptr};

FanoutLoad::FanoutLoad(LoadContext& context, const FanoutOptions& options, const MakeProtocol& make)
    : Load(context),
      options_(options),
      payloads_(context.settings.payload_bytes),
      // With n publishers, each n-th publish in flight may be that of one slow publisher.
      slots_(std::bit_ceil(
          std::size_t{context.settings.depth} * options.channels * options.publishers + 1)) {
  for (std::uint32_t i = 0; i < options.channels; ++i) {
    channels_.emplace_back(
        make(options.channels == 1 ? std::string{kChannel} : fmt::format("{}-{}", kChannel, i)),
        payloads_,
        Numbering{.first = i, .step = options.channels, .publishers = options.publishers});
  }
  publisher_events_.on_confirmed = [this] { ++confirmed_; };
  publisher_events_.on_ended = [this](bool is_wrong, const std::string& why) {
    if (context_.stopping) return;
    if (is_wrong) return context_.faults.note_wrong("the publisher: " + why);
    context_.faults.note_closed("the server closed the publisher: " + why);
  };
}

FanoutLoad::~FanoutLoad() {
  context_.network.core().timers().cancel(next_write_);
}

// --- Opening

void FanoutLoad::greet(const Channel& channel, net::StreamId id, Role role) {
  words_.clear();
  channel.protocol->greet(words_, role);
  net::Stream* stream = context_.network.find(id);
  if (stream != nullptr && !words_.empty()) static_cast<void>(stream->send_copy(words_));
}

runtime::Task<runtime::Result<void>> FanoutLoad::open_reader(Kind kind) {
  Channel& channel = channels_[readers_.size() % channels_.size()];
  Reader& reader = readers_.emplace_back(*this, channel, kind);
  const auto stream = co_await context_.opener.open(Reader::kHandler, &reader,
                                                    channel.protocol->path(Role::subscriber));
  if (!stream) co_return runtime::Unexpected{stream.error()};
  reader.set_stream(*stream);
  channel.subscribers += kind == Kind::counted;
  greet(channel, *stream, Role::subscriber);
  co_return runtime::Result<void>{};
}

runtime::Task<runtime::Result<void>> FanoutLoad::open_publisher(Channel* channel) {
  QuietStream& publisher = channel->publishers.emplace_back(*channel->protocol, publisher_events_);
  const auto stream = co_await context_.opener.open(QuietStream::kHandler, &publisher,
                                                    channel->protocol->path(Role::publisher));
  if (!stream) co_return runtime::Unexpected{stream.error()};
  channel->publisher_streams.push_back(*stream);
  greet(*channel, *stream, Role::publisher);
  co_return runtime::Result<void>{};
}

runtime::Task<runtime::Result<void>> FanoutLoad::open_all() {
  const std::uint32_t counted = context_.settings.connections;
  const std::uint32_t readers = counted + options_.stalled + options_.slow;
  for (std::uint32_t i = 0; i < readers; ++i) {
    const Kind kind = i < counted                      ? Kind::counted
                      : i < counted + options_.stalled ? Kind::stalled
                                                       : Kind::slow;
    const auto opened = co_await open_reader(kind);
    if (!opened) co_return runtime::Unexpected{opened.error()};
  }
  for (Channel& channel : channels_) {
    for (std::uint32_t i = 0; i < options_.publishers; ++i) {
      const auto opened = co_await open_publisher(&channel);
      if (!opened) co_return runtime::Unexpected{opened.error()};
    }
  }
  co_return runtime::Result<void>{};
}

runtime::Task<runtime::Result<void>> FanoutLoad::open() {
  const auto opened = co_await open_all();
  if (!opened) co_return runtime::Unexpected{opened.error()};
  const FanoutProtocol& protocol = *channels_.front().protocol;
  const std::size_t wanted =
      (protocol.is_confirmed_in_stream(Role::subscriber) ? readers_.size() : 0) +
      (protocol.is_confirmed_in_stream(Role::publisher) ? channels_.size() * options_.publishers
                                                        : 0);
  const Nanoseconds deadline = context_.network.core().now() + kConfirmTimeout;
  while (confirmed_ < wanted && context_.faults.none()) {
    if (context_.network.core().now() > deadline) {
      co_return runtime::fail(runtime::ErrorCode::timed_out);
    }
    co_await runtime::sleep_for(kConfirmStep);
  }
  for (Reader& reader : readers_) {
    reader.only_listen();
    reader.begin_reading_badly();
  }
  publishing_ = true;
  co_return runtime::Result<void>{};
}

// --- The loop

void FanoutLoad::publish(Nanoseconds at) {
  if (!options_.one_by_one) return write(at);
  postponed_.push(at);
  runtime::Core& core = context_.network.core();
  if (!next_write_.queued()) core.timers().add(next_write_, core.now());
}

// A stream sends once a turn.
void FanoutLoad::write_next() {
  if (postponed_.size() == 0) return;  // stopped
  write(postponed_.pop());
  runtime::Core& core = context_.network.core();
  if (postponed_.size() > 0) core.timers().add(next_write_, core.now() + 1);
}

void FanoutLoad::write(Nanoseconds at) {
  const std::uint64_t number = published_++;
  Channel& channel = channels_[number % channels_.size()];
  slot(number) = {.at = at, .remaining = channel.subscribers};
  words_.clear();
  channel.protocol->publish(words_, payloads_.make(number));
  // False only while the stream is closing, which is counted where it ends.
  const std::size_t publisher = channel.published++ % channel.publisher_streams.size();
  net::Stream* stream = context_.network.find(channel.publisher_streams[publisher]);
  if (stream != nullptr) static_cast<void>(stream->send_copy(words_));
}

void FanoutLoad::start() {
  const Nanoseconds now = context_.network.core().ring().now();
  for (std::uint32_t i = 0; i < context_.settings.depth; ++i) publish(now);
}

void FanoutLoad::offer(Nanoseconds due) {
  if (in_flight() < context_.settings.depth) {
    publish(due);
  } else {
    waiting_.push(due);
  }
}

// A subscriber has those from `first` to before `end`. Those published in one turn have one time.
void FanoutLoad::on_delivered(Channel& channel, std::uint64_t first, std::uint64_t end,
                              Nanoseconds now) {
  std::uint64_t done = 0;
  Nanoseconds at = slot(channel.order.number(first)).at;
  std::uint64_t alike = 0;
  for (std::uint64_t place = first; place < end; ++place) {
    Slot& one = slot(channel.order.number(place));
    if (one.at != at) {
      context_.meter.record(now - at, alike);
      at = one.at;
      alike = 0;
    }
    ++alike;
    done += --one.remaining == 0;
  }
  context_.meter.record(now - at, alike);
  if (done != 0) on_completed(channel, done, now);
}

void FanoutLoad::on_completed(Channel& channel, std::uint64_t count, Nanoseconds now) {
  completed_ += count;
  channel.completed += count;
  // May pass the end of the log: readers that parse on their own do not extend it.
  const std::uint64_t forgotten = std::min(channel.completed, channel.log.sequences());
  channel.log.forget_before(forgotten);
  channel.order.forget_before(forgotten);
  if (context_.stopping) return;
  if (!context_.settings.is_open_loop()) {
    for (; count > 0; --count) publish(now);
    return;
  }
  while (waiting_.size() > 0 && in_flight() < context_.settings.depth) {
    publish(waiting_.pop());
  }
}

runtime::Task<void> FanoutLoad::background() {
  const double bytes = options_.slow_bytes_per_second * static_cast<double>(kSlowStep) / 1e9;
  while (options_.slow > 0) {
    const bool goes_on = co_await runtime::sleep_for(kSlowStep);
    if (!goes_on) co_return;
    for (Reader& reader : readers_) {
      if (reader.kind() == Kind::slow) reader.give(bytes);
    }
  }
}

// --- Figures

std::string FanoutLoad::describe_lost() const {
  const auto lost = std::find_if(channels_.begin(), channels_.end(), [](const Channel& channel) {
    return channel.completed < channel.published;
  });
  if (lost == channels_.end()) return "publishes were due and never sent";
  std::uint32_t lacking = 0;
  for (const Reader& reader : readers_) {
    lacking += &reader.channel() == &*lost && reader.kind() == Kind::counted &&
               reader.next_sequence() <= lost->completed;
  }
  const std::string which = lost->order.is_single()
                                ? fmt::format("message {}", lost->order.number(lost->completed))
                                : fmt::format("the message behind {} others", lost->completed);
  return fmt::format("{} never came to {} of {} subscribers", which, lacking, lost->subscribers);
}

void FanoutLoad::on_interval(bool begins) {
  const Nanoseconds now = context_.network.core().ring().now();
  if (begins) {
    published_before_ = published_;
    interval_began_ = now;
    return;
  }
  published_in_ = published_ - published_before_;
  interval_seconds_ = static_cast<double>(now - interval_began_) / 1e9;
}

std::string FanoutLoad::own_json() const {
  return fmt::format(
      R"("fanout":{{"publishes":{},"publishes_per_second":{:.1f},"channels":{},"publishers":{},)"
      R"("subscribers":{},"stalled":{},)"
      R"("stalled_closed":{},"slow":{},"slow_closed":{}}},)",
      published_in_, ratio(to_double(published_in_), interval_seconds_), options_.channels,
      options_.publishers * options_.channels, context_.settings.connections, options_.stalled,
      stalled_closed_, options_.slow, slow_closed_);
}

std::string FanoutLoad::own_text() const {
  std::string text = fmt::format(
      "  publishes    {:.0f} a second, on {} channels with {} publishers each, to {} subscribers "
      "in "
      "all\n",
      ratio(to_double(published_in_), interval_seconds_), options_.channels, options_.publishers,
      context_.settings.connections);
  if (options_.stalled + options_.slow > 0) {
    text += fmt::format("  beside       {} stalled readers ({} closed), {} slow ones ({} closed)\n",
                        options_.stalled, stalled_closed_, options_.slow, slow_closed_);
  }
  return text;
}

net::NetworkOptions FanoutLoad::network_options(const Settings& settings,
                                                const FanoutOptions& options) {
  net::NetworkOptions network;
  network.streams_max =
      settings.connections + options.stalled + options.slow + options.channels * options.publishers;
  network.queued_bytes_max = 4 * (std::size_t{settings.depth} + 1) *
                             (std::size_t{settings.payload_bytes} + kPublishOverhead);
  network.direct_descriptors = false;
  return network;
}

}  // namespace corelane::perf
