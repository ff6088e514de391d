#include "net/http/router.hpp"

#include <algorithm>
#include <stdexcept>

#include "net/http/limits.hpp"
#include "net/http/syntax.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {

static_assert(RouteMatch::kDecodedBytesMax >= Limits{}.request_line_bytes_max,
              "every path within the default limit can be decoded");

// The decoded text of the path, and where its segments start in it.
struct RouteTable::Path {
  std::string_view text;  // without the leading slash
  std::size_t segment_count = 0;
  std::array<std::uint32_t, kSegmentsMax + 1> starts;

  std::string_view segment(std::size_t index) const noexcept {
    const std::size_t end = index + 1 < segment_count ? starts[index + 1] - 1 : text.size();
    return text.substr(starts[index], end - starts[index]);
  }
};

// One search. A trie node is reached over one way only, so that a search visits each at most once.
struct RouteTable::Walk {
  const Path& path;
  RouteMatch& match;
  std::uint32_t method;
  std::uint32_t fallback;  // GET for HEAD, else kNone
  std::array<std::string_view, RouteMatch::kParametersMax> values;
  std::size_t value_count = 0;
};

namespace {

[[noreturn]] void refuse(std::string_view method, std::string_view pattern, std::string_view why) {
  std::string text{"route "};
  text.append(method).append(" ").append(pattern).append(": ").append(why);
  throw std::invalid_argument(text);
}

bool is_parameter_name(std::string_view name) noexcept {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

bool is_dot_segment(std::string_view segment) noexcept {
  return segment == "." || segment == "..";
}

// Also of segments that only decoding made: a handler that joins a tail to a folder sees the same.
bool has_dot_segment(std::string_view text) noexcept {
  if (text.find('.') == std::string_view::npos) return false;
  std::size_t at = 0;
  for (;;) {
    const std::size_t end = std::min(text.find('/', at), text.size());
    if (is_dot_segment(text.substr(at, end - at))) return true;
    if (end == text.size()) return false;
    at = end + 1;
  }
}

struct PatternParts {
  std::vector<std::string_view> segments;
  std::vector<std::string> parameter_names;
};

PatternParts split_pattern(std::string_view method, std::string_view pattern) {
  PatternParts parts;
  if (pattern.empty() || pattern.front() != '/') refuse(method, pattern, "must begin with '/'");
  std::string_view rest = pattern.substr(1);
  while (pattern != "/") {
    const std::size_t slash = rest.find('/');
    const bool last = slash == std::string_view::npos;
    const std::string_view segment = rest.substr(0, slash);
    if (segment.empty() && !last) refuse(method, pattern, "an empty segment can only be the last");
    if (is_dot_segment(segment)) refuse(method, pattern, "dot segments never match");
    const char first = segment.empty() ? '\0' : segment.front();
    if (first == '*' && !last) refuse(method, pattern, "a tail can only be at the end");
    if (first == ':' || first == '*') {
      const std::string name{segment.substr(1)};
      if (!is_parameter_name(name)) refuse(method, pattern, "a parameter needs a plain name");
      const auto& names = parts.parameter_names;
      if (std::find(names.begin(), names.end(), name) != names.end()) {
        refuse(method, pattern, "two parameters of one name");
      }
      parts.parameter_names.push_back(name);
    }
    parts.segments.push_back(segment);
    if (last) break;
    rest.remove_prefix(slash + 1);
  }
  if (parts.segments.size() > RouteTable::kSegmentsMax) refuse(method, pattern, "too deep");
  if (parts.parameter_names.size() > RouteMatch::kParametersMax) {
    refuse(method, pattern, "too many parameters");
  }
  return parts;
}

}  // namespace

std::string_view RouteMatch::parameter(std::string_view name) const noexcept {
  for (const Parameter& parameter : parameters()) {
    if (parameter.name == name) return parameter.value;
  }
  return {};
}

RouteTable::RouteTable() {
  add_node();
}

std::uint32_t RouteTable::add_node() {
  nodes_.emplace_back();
  return static_cast<std::uint32_t>(nodes_.size() - 1);
}

std::uint32_t RouteTable::method_index(std::string_view method) const noexcept {
  for (std::size_t i = 0; i < methods_.size(); ++i) {
    if (methods_[i] == method) return static_cast<std::uint32_t>(i);
  }
  return kNone;
}

std::uint32_t RouteTable::add_method(std::string_view method) {
  const std::uint32_t known = method_index(method);
  if (known != kNone) return known;
  methods_.emplace_back(method);
  return static_cast<std::uint32_t>(methods_.size() - 1);
}

std::uint32_t RouteTable::static_child(std::uint32_t node, std::string_view segment) {
  std::vector<Child>& children = nodes_[node].children;
  const auto place = std::lower_bound(
      children.begin(), children.end(), segment,
      [](const Child& child, std::string_view wanted) { return child.segment < wanted; });
  if (place != children.end() && place->segment == segment) return place->node;
  const auto added = static_cast<std::uint32_t>(nodes_.size());
  children.insert(place, Child{std::string{segment}, added});
  return add_node();
}

std::uint32_t RouteTable::add(std::string_view method, std::string_view pattern) {
  if (!is_token(method)) refuse(method, pattern, "the method is not a token");
  if (methods_.size() == kMethodsMax && method_index(method) == kNone) {
    refuse(method, pattern, "too many methods");
  }
  PatternParts parts = split_pattern(method, pattern);
  if (has_route(method, pattern)) refuse(method, pattern, "conflicts with a route before it");
  std::uint32_t node = 0;
  bool is_tail = false;
  for (const std::string_view segment : parts.segments) {
    const char first = segment.empty() ? '\0' : segment.front();
    if (first == '*') {
      is_tail = true;
    } else if (first == ':') {
      if (nodes_[node].parameter == kNone) {
        const std::uint32_t added = add_node();
        nodes_[node].parameter = added;
      }
      node = nodes_[node].parameter;
    } else {
      node = static_child(node, segment);
    }
  }
  const std::uint32_t index = add_method(method);
  std::vector<Handler>& handlers = is_tail ? nodes_[node].tail_handlers : nodes_[node].handlers;
  const auto route = static_cast<std::uint32_t>(parameter_names_.size());
  handlers.push_back({.method = index, .route = route});
  std::uint32_t& allowed = is_tail ? nodes_[node].tail_allowed : nodes_[node].allowed;
  allowed |= std::uint32_t{1} << index;
  all_methods_ |= std::uint32_t{1} << index;
  parameter_names_.push_back(std::move(parts.parameter_names));
  return route;
}

bool RouteTable::has_route(std::string_view method, std::string_view pattern) const {
  const PatternParts parts = split_pattern(method, pattern);
  const Node* node = &nodes_.front();
  const std::vector<Handler>* handlers = nullptr;
  for (const std::string_view segment : parts.segments) {
    std::uint32_t next = kNone;
    if (segment.starts_with('*')) {
      handlers = &node->tail_handlers;  // it is the last
      break;
    }
    if (segment.starts_with(':')) {
      next = node->parameter;
    } else {
      const auto child = std::ranges::find(node->children, segment, &Child::segment);
      if (child != node->children.end()) next = child->node;
    }
    if (next == kNone) return false;
    node = &nodes_[next];
  }
  if (handlers == nullptr) handlers = &node->handlers;
  return std::ranges::find(*handlers, method_index(method), &Handler::method) != handlers->end();
}

void RouteTable::lookup(std::string_view method, std::string_view path,
                        RouteMatch& match) const noexcept {
  using Outcome = RouteMatch::Outcome;
  match.outcome_ = Outcome::malformed;
  match.allowed_ = 0;
  match.parameter_count_ = 0;
  if (path == "*" && method == "OPTIONS") {
    match.outcome_ = Outcome::options;
    match.allowed_ = all_methods_;
    return;
  }
  if (path.empty() || path.front() != '/') return;
  Path split;
  if (!split_path(path.substr(1), split, match)) return;

  Walk walk{.path = split,
            .match = match,
            .method = method_index(method),
            .fallback = method == "HEAD" ? method_index("GET") : kNone,
            .values = {}};
  if (visit(walk, 0, 0)) {
    match.outcome_ = Outcome::found;
  } else if (match.allowed_ == 0) {
    match.outcome_ = Outcome::not_found;
  } else {
    match.outcome_ = method == "OPTIONS" ? Outcome::options : Outcome::method_not_allowed;
  }
}

// Decodes the path once, into the match if it has escapes, and notes where segments start. An
// encoded slash is text of its segment. False for what is malformed.
bool RouteTable::split_path(std::string_view path, Path& split, RouteMatch& match) noexcept {
  const auto start_segment = [&split](std::size_t at) {
    if (split.segment_count <= kSegmentsMax) {
      split.starts[split.segment_count] = static_cast<std::uint32_t>(at);
    }
    ++split.segment_count;
  };
  if (!path.empty()) start_segment(0);
  if (path.find('%') == std::string_view::npos) {
    split.text = path;
    for (std::size_t at = path.find('/'); at != std::string_view::npos; at = path.find('/', at)) {
      start_segment(++at);
    }
    return !has_dot_segment(split.text);
  }
  if (path.size() > match.decoded_.size()) return false;
  std::size_t written = 0;
  for (std::size_t at = 0; at < path.size(); ++at) {
    char c = path[at];
    if (c == '%') {
      if (path.size() - at < 3) return false;
      const int high = hex_digit(path[at + 1]);
      const int low = hex_digit(path[at + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high << 4 | low);
      if (c == '\0') return false;
      at += 2;
    } else if (c == '/') {
      start_segment(written + 1);
    }
    match.decoded_[written++] = c;
  }
  split.text = {match.decoded_.data(), written};
  return !has_dot_segment(split.text);
}

bool RouteTable::visit(Walk& walk, std::uint32_t index, std::size_t depth) const noexcept {
  const Node& node = nodes_[index];
  const Path& path = walk.path;
  if (depth == path.segment_count) {
    if (take(walk, node.handlers, node.allowed)) return true;
  } else if (depth < kSegmentsMax) {
    const std::string_view segment = path.segment(depth);
    const auto child = std::lower_bound(
        node.children.begin(), node.children.end(), segment,
        [](const Child& known, std::string_view wanted) { return known.segment < wanted; });
    const bool has_child = child != node.children.end() && child->segment == segment;
    if (has_child && visit(walk, child->node, depth + 1)) return true;
    if (node.parameter != kNone && !segment.empty()) {
      RT_ASSERT(walk.value_count < walk.values.size());
      walk.values[walk.value_count++] = segment;
      if (visit(walk, node.parameter, depth + 1)) return true;
      --walk.value_count;
    }
  }
  return !node.tail_handlers.empty() && visit_tail(walk, node, depth);
}

bool RouteTable::visit_tail(Walk& walk, const Node& node, std::size_t depth) const noexcept {
  const Path& path = walk.path;
  const bool is_root_path = path.segment_count == 0;
  if (depth >= path.segment_count && !is_root_path) return false;
  const std::size_t start = is_root_path ? 0 : path.starts[depth];
  RT_ASSERT(walk.value_count < walk.values.size());
  walk.values[walk.value_count++] = path.text.substr(start);
  if (take(walk, node.tail_handlers, node.tail_allowed)) return true;
  --walk.value_count;
  return false;
}

bool RouteTable::take(Walk& walk, const std::vector<Handler>& handlers,
                      std::uint32_t allowed) const noexcept {
  RouteMatch& match = walk.match;
  match.allowed_ |= allowed;
  for (const std::uint32_t method : {walk.method, walk.fallback}) {
    if (method == kNone) continue;
    for (const Handler& handler : handlers) {
      if (handler.method != method) continue;
      const std::vector<std::string>& names = parameter_names_[handler.route];
      RT_ASSERT(names.size() == walk.value_count);
      for (std::size_t i = 0; i < names.size(); ++i) {
        match.parameters_[i] = {.name = names[i], .value = walk.values[i]};
      }
      match.parameter_count_ = names.size();
      match.route_ = handler.route;
      return true;
    }
  }
  return false;
}

std::string RouteTable::allow(const RouteMatch& match) const {
  std::string text;
  bool has_get = false;
  bool has_head = false;
  bool has_options = false;
  const auto list = [&text](std::string_view method) {
    if (!text.empty()) text += ", ";
    text += method;
  };
  for (std::size_t i = 0; i < methods_.size(); ++i) {
    if ((match.allowed_ >> i & 1) == 0) continue;
    list(methods_[i]);
    has_get |= methods_[i] == "GET";
    has_head |= methods_[i] == "HEAD";
    has_options |= methods_[i] == "OPTIONS";
  }
  if (has_get && !has_head) list("HEAD");
  if (!has_options) list("OPTIONS");
  return text;
}

}  // namespace corelane::net::http
