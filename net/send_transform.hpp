#pragma once
// SendTransform: between a stream's queue and its socket, for a protocol that wraps all sent bytes
// (the records of TLS, where the kernel does not make them). Owned by the layer that set it
// (Stream::set_transform), on the stream's core. It is the place for TLS, which the server does not
// speak yet: only tests set one.
//
// clang-format off
//   queue:   [ pieces in flight: 100 KiB ][ waiting ... ]    as queued: limits count these bytes
//                      | apply(), when an operation begins
//   socket:  [ taken ][ rest ............]                   the next operation sends the rest
// clang-format on
//
// Bytes are transformed when an operation begins, never when they are queued. So bytes that are
// dropped, or overtaken by a control frame, have not been transformed, and records leave in the
// order in which they were made. The pieces stay in flight until the socket has taken all of their
// records.

#include <sys/uio.h>

#include <cstddef>
#include <span>

namespace corelane::net {

struct SendTransform {
  // Most bytes that apply() writes for `plain_bytes`.
  std::size_t (*bytes_max)(const SendTransform& self, std::size_t plain_bytes) noexcept;
  // Writes what the socket gets for `plain` to `to`, which has room for bytes_max(); returns the
  // bytes written, not 0. Never fails: a transform that cannot go on aborts its stream later.
  std::size_t (*apply)(SendTransform& self, std::span<const iovec> plain,
                       std::span<std::byte> to) noexcept;
};

}  // namespace corelane::net
