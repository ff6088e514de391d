#pragma once
// Router: from method and path to a handler, by a trie over path segments. Built at start-up, then
// immutable, so that all cores may read one. A lookup neither allocates nor throws nor suspends.
//
//   /healthz              a static segment beats
//   /channels/:name       a parameter (one segment, not empty), which beats
//   /static/*path         a tail: everything behind the slash, may be empty; only at the end
//
// Segments are percent-decoded one by one before they are compared, so "%2F" never makes a segment
// of its own. Paths are compared exactly: case, doubled and trailing slashes count. "." and ".."
// segments are refused: clients resolve them before they send, what is left of them is an attack.
// When the more specific route lacks the method, the next less specific one that has it is taken.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corelane::net::http {

// The result of a lookup. About 4 KiB, most of it room for decoded text that is touched only if the
// path has escapes: put it on the stack of a plain function, or keep one a core. Views in it lie in
// the path that was looked up, in itself, or in the router.
class RouteMatch {
 public:
  enum class Outcome : std::uint8_t {
    found,               // handler and parameters are set
    not_found,           // 404
    method_not_allowed,  // 405 with allow()
    options,             // OPTIONS without a handler of its own: answer 204 with allow()
    malformed,           // 400: a broken escape, a dot segment, or too much to decode
  };
  static constexpr std::size_t kParametersMax = 8;
  static constexpr std::size_t kDecodedBytesMax = 4096;  // Limits::request_line_bytes_max

  struct Parameter {
    std::string_view name;   // without ':' or '*'
    std::string_view value;  // percent-decoded: may hold any byte but NUL
  };

  Outcome outcome() const noexcept { return outcome_; }
  std::span<const Parameter> parameters() const noexcept {
    return {parameters_.data(), parameter_count_};
  }
  // Empty if the route has no such parameter.
  std::string_view parameter(std::string_view name) const noexcept;

  RouteMatch() noexcept {}  // leaves the text room as it is
  RouteMatch(const RouteMatch&) = delete;
  RouteMatch& operator=(const RouteMatch&) = delete;

 private:
  friend class RouteTable;
  template <class T>
  friend class Router;

  Outcome outcome_ = Outcome::not_found;
  std::uint32_t route_ = 0;
  std::uint32_t allowed_ = 0;  // bit set of method indices
  std::size_t parameter_count_ = 0;
  std::array<Parameter, kParametersMax> parameters_;
  std::array<char, kDecodedBytesMax> decoded_;
};

// The part of Router that does not depend on the handlers' type: routes are numbered.
class RouteTable {
 public:
  static constexpr std::size_t kSegmentsMax = 16;
  static constexpr std::size_t kMethodsMax = 32;

  RouteTable();

  // The number of the new route, counted from 0. Throws std::invalid_argument with the reason when
  // the pattern is malformed or method and pattern are taken (names of parameters do not tell
  // patterns apart).
  std::uint32_t add(std::string_view method, std::string_view pattern);
  void lookup(std::string_view method, std::string_view path, RouteMatch& match) const noexcept;
  // The value of an Allow field: "GET, HEAD, OPTIONS". Not for the hot path.
  [[gnu::cold]] std::string allow(const RouteMatch& match) const;
  // Whether any route has it.
  bool has_method(std::string_view method) const noexcept { return method_index(method) != kNone; }
  // True if add() would find a conflict with an existing route. Throws for a malformed pattern.
  bool has_route(std::string_view method, std::string_view pattern) const;

 private:
  static constexpr std::uint32_t kNone = 0xffff'ffff;
  struct Child {
    std::string segment;
    std::uint32_t node;
  };
  struct Handler {
    std::uint32_t method;  // index into methods_
    std::uint32_t route;
  };
  struct Node {
    std::vector<Child> children;  // sorted by segment
    std::uint32_t parameter = kNone;
    std::vector<Handler> handlers;
    std::vector<Handler> tail_handlers;
    std::uint32_t allowed = 0;
    std::uint32_t tail_allowed = 0;
  };
  struct Path;
  struct Walk;

  std::uint32_t method_index(std::string_view method) const noexcept;
  std::uint32_t add_method(std::string_view method);
  std::uint32_t add_node();
  std::uint32_t static_child(std::uint32_t node, std::string_view segment);
  static bool split_path(std::string_view path, Path& split, RouteMatch& match) noexcept;
  bool visit(Walk& walk, std::uint32_t node, std::size_t depth) const noexcept;
  bool visit_tail(Walk& walk, const Node& node, std::size_t depth) const noexcept;
  bool take(Walk& walk, const std::vector<Handler>& handlers, std::uint32_t allowed) const noexcept;

  std::vector<Node> nodes_;
  std::vector<std::string> methods_;
  std::vector<std::vector<std::string>> parameter_names_;  // by route
  std::uint32_t all_methods_ = 0;
};

template <class T>
class Router {
 public:
  // Start-up only. Pattern and errors as in RouteTable::add(). A GET route serves HEAD as well.
  void add(std::string_view method, std::string_view pattern, T handler) {
    table_.add(method, pattern);
    handlers_.push_back(std::move(handler));
  }

  // `path` is Request::path. The handler if outcome() is found, nullptr otherwise.
  const T* lookup(std::string_view method, std::string_view path,
                  RouteMatch& match) const noexcept {
    table_.lookup(method, path, match);
    return match.outcome_ == RouteMatch::Outcome::found ? &handlers_[match.route_] : nullptr;
  }
  [[gnu::cold]] std::string allow(const RouteMatch& match) const { return table_.allow(match); }
  bool has_method(std::string_view method) const noexcept { return table_.has_method(method); }
  bool has_route(std::string_view method, std::string_view pattern) const {
    return table_.has_route(method, pattern);
  }
  std::span<const T> handlers() const noexcept { return handlers_; }

 private:
  RouteTable table_;
  std::vector<T> handlers_;  // by route
};

}  // namespace corelane::net::http
