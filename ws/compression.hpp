#pragma once
// The compression state of one connection. With context takeover a direction has a stream of its
// own; without, the endpoint's shared one serves.

#include <memory>

#include "ws/connection.hpp"
#include "ws/deflate.hpp"

namespace corelane::ws {

struct Connection::Compression {
  std::unique_ptr<Inflater> inflater;
  std::unique_ptr<Deflater> deflater;
  std::uint8_t deflater_bits = kWindowBitsMax;
  bool deflater_no_takeover = false;
};

}  // namespace corelane::ws
