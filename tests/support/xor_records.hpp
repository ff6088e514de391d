#pragma once
// A transform for tests: bytes go out in records, and handlers above see what was in them. A record
// is [ bytes: 2 ][ number: 2 ][ bytes XOR a stream of the number ], at most 1,000 bytes of payload
// each, so that one that is lost, doubled, reordered or begun twice fails at the reader.
//
// Each stream with a transform has a RecordLayer, from attach() to its end.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "net/network.hpp"
#include "tests/support/echo_streams.hpp"

namespace corelane::tests {

struct RecordHeader {
  std::uint16_t bytes;
  std::uint16_t number;
};

inline void mask_record(std::span<std::byte> bytes, std::uint16_t number) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= static_cast<std::byte>(number * 7 + i * 13 + 1);
  }
}

class RecordWriter : public net::SendTransform {
 public:
  static constexpr std::size_t kRecordBytesMax = 1000;

  RecordWriter() : SendTransform{&bound, &write} {}
  std::uint64_t plain_bytes() const noexcept { return plain_bytes_; }

 private:
  static std::size_t bound(const SendTransform&, std::size_t plain_bytes) noexcept {
    return plain_bytes + (plain_bytes / kRecordBytesMax + 1) * sizeof(RecordHeader);
  }
  static std::size_t write(SendTransform& transform, std::span<const iovec> plain,
                           std::span<std::byte> to) noexcept {
    auto& self = static_cast<RecordWriter&>(transform);
    std::vector<std::byte> all;
    for (const iovec& part : plain) {
      const auto* from = static_cast<const std::byte*>(part.iov_base);
      all.insert(all.end(), from, from + part.iov_len);
    }
    self.plain_bytes_ += all.size();
    std::size_t at = 0;
    for (std::size_t from = 0; from < all.size(); from += kRecordBytesMax) {
      const RecordHeader header{
          .bytes = static_cast<std::uint16_t>(std::min(kRecordBytesMax, all.size() - from)),
          .number = self.next_++};
      std::memcpy(&to[at], &header, sizeof header);
      const std::span<std::byte> payload = to.subspan(at + sizeof header, header.bytes);
      std::memcpy(payload.data(), &all[from], header.bytes);
      mask_record(payload, header.number);
      at += sizeof header + header.bytes;
    }
    return at;
  }

  std::uint16_t next_ = 0;
  std::uint64_t plain_bytes_ = 0;
};

// Bytes of the socket in, payloads out, unmasked where they lie.
class RecordReader {
 public:
  template <class Take>
  void feed(std::span<std::byte> bytes, Take&& take) {
    while (!bytes.empty()) {
      if (left_ == 0) {
        const std::size_t part = std::min(bytes.size(), header_.size() - had_);
        std::copy_n(bytes.begin(), part, header_.begin() + static_cast<std::ptrdiff_t>(had_));
        bytes = bytes.subspan(part);
        had_ += part;
        if (had_ < header_.size()) return;
        had_ = 0;
        RecordHeader header;
        std::memcpy(&header, header_.data(), sizeof header);
        ASSERT_EQ(header.number, number_) << "a record is missing, or there twice";
        ASSERT_GT(header.bytes, 0);
        ASSERT_LE(header.bytes, RecordWriter::kRecordBytesMax);
        left_ = header.bytes;
        done_ = 0;
        continue;
      }
      const std::span<std::byte> part = bytes.first(std::min<std::size_t>(bytes.size(), left_));
      for (std::byte& each : part) {
        each ^= static_cast<std::byte>(number_ * 7 + done_++ * 13 + 1);
      }
      left_ -= part.size();
      if (left_ == 0) ++number_;
      bytes = bytes.subspan(part.size());
      take(part);
    }
  }

 private:
  std::array<std::byte, sizeof(RecordHeader)> header_{};
  std::size_t had_ = 0;   // of the header
  std::size_t left_ = 0;  // of the record's payload
  std::size_t done_ = 0;
  std::uint16_t number_ = 0;
};

struct RecordLayer {
  RecordWriter writer;
  RecordReader reader;

  static RecordLayer& of(const net::Stream& stream) { return *all().at(&stream); }
  static void attach(net::Stream& stream) {
    auto& layer = all()[&stream];
    EXPECT_EQ(layer, nullptr) << "the one before was told its end";
    layer = std::make_unique<RecordLayer>();
    stream.set_transform(&layer->writer);
  }
  static void detach(const net::Stream& stream) { all().erase(&stream); }

 private:
  static std::unordered_map<const net::Stream*, std::unique_ptr<RecordLayer>>& all() {
    thread_local std::unordered_map<const net::Stream*, std::unique_ptr<RecordLayer>> layers;
    return layers;
  }
};

// Inner's handler behind a RecordLayer.
template <class Inner>
struct OverRecords {
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    RecordLayer::of(stream).reader.feed(received.bytes, [&](std::span<std::byte> payload) {
      if (!stream.closing()) {
        Inner::on_data(stream, {.bytes = payload, .buffer = received.buffer});
      }
    });
  }
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept {
    RecordLayer::detach(stream);
    Inner::on_closed(stream, why);
  }
  static constexpr net::StreamHandler kHandler{"records", on_data,         Inner::on_end,
                                               on_closed, Inner::on_timer, Inner::on_writable};
};

inline const Wire kRecordWire{.server = OverRecords<EchoServer>::kHandler,
                              .client = OverRecords<EchoClient>::kHandler,
                              .attach = RecordLayer::attach};

}  // namespace corelane::tests
