// Serves the files of a folder over HTTP/1.1: GET and HEAD, listings of folders, one range,
// If-Modified-Since. A file is sent in pieces as the client takes them, so its size does not
// matter. No path leads out of the folder: it is opened with RESOLVE_BENEATH (openat2), whatever
// the client or a symbolic link says.
//
//   build/release/tools/examples/file_server 127.0.0.1:8080 /srv/files

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <corelane/net.hpp>
#include <corelane/runtime.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace corelane;
using net::http::DeferredResponder;
using net::http::OwnedRequest;
using net::http::Status;

namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;
constexpr std::size_t kListedMax = 10'000;
constexpr std::string_view kBytesUnit = "bytes=";
constexpr int kOpenAttempts = 3;  // EAGAIN: a directory on the way was renamed at the same time

std::string_view type_of(std::string_view path) {
  constexpr std::pair<std::string_view, std::string_view> kTypes[] = {
      {".html", "text/html; charset=utf-8"},
      {".txt", "text/plain; charset=utf-8"},
      {".css", "text/css"},
      {".js", "text/javascript"},
      {".json", "application/json"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".svg", "image/svg+xml"},
      {".pdf", "application/pdf"}};
  for (const auto& [end, type] : kTypes) {
    if (path.ends_with(end)) return type;
  }
  return "application/octet-stream";
}

Status status_of(const runtime::Error& error) {
  if (error == runtime::Error::from_errno(EACCES)) return Status::forbidden;
  if (error == runtime::Error::from_errno(EAGAIN)) return Status::service_unavailable;
  for (const int number : {ENOENT, ENOTDIR, EXDEV, ELOOP, ENAMETOOLONG, ENXIO}) {
    if (error == runtime::Error::from_errno(number)) return Status::not_found;
  }
  return error.code == runtime::ErrorCode::invalid_argument ? Status::not_found
                                                            : Status::internal_server_error;
}

void refuse(const DeferredResponder& responder, Status status) {
  const std::string text = fmt::format("{}\n", net::http::reason_phrase(status));
  responder.respond(status, "text/plain", text);
}

struct Range {
  std::uint64_t first;
  std::uint64_t bytes;
};

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "bytes=0-99", "bytes=100-", "bytes=-100" (RFC 9110 section 14.1.2). Nothing: all of the file, as
// for several ranges. No bytes: there are none there.
std::optional<Range> range_of(std::string_view field, std::uint64_t size) {
  if (!field.starts_with(kBytesUnit)) return std::nullopt;
  field.remove_prefix(kBytesUnit.size());
  const std::size_t dash = field.find('-');
  if (dash == field.npos) return std::nullopt;
  const auto first = number_of(field.substr(0, dash));
  const auto last = number_of(field.substr(dash + 1));
  const bool is_open = dash + 1 == field.size();
  if (dash == 0) {
    if (!last) return std::nullopt;
    const std::uint64_t bytes = std::min(*last, size);
    return Range{size - bytes, bytes};
  }
  if (!first || (!is_open && (!last || *last < *first))) return std::nullopt;
  if (*first >= size) return Range{0, 0};
  return Range{*first, is_open ? size - *first : std::min(*last, size - 1) - *first + 1};
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool is_plain = std::string_view{"<>&\"'"}.find(c) == std::string_view::npos;
    out += is_plain ? std::string(1, c) : fmt::format("&#{};", static_cast<int>(c));
  }
  return out;
}

std::string encoded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool is_plain = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                          std::string_view{"-._~"}.find(c) != std::string_view::npos;
    out += is_plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

runtime::Task<void> send_listing(const runtime::Directory& root, std::string path,
                                 std::string_view url, DeferredResponder responder) {
  auto directory = co_await root.open_directory(path);
  if (!directory) co_return refuse(responder, status_of(directory.error()));
  std::vector<std::string> names;
  while (names.size() < kListedMax) {
    auto entries = co_await directory->read_some();
    if (!entries) co_return refuse(responder, status_of(entries.error()));
    if (entries->empty()) break;
    for (runtime::DirectoryEntry& entry : *entries) {
      if (entry.kind == runtime::EntryKind::directory) entry.name += '/';
      names.push_back(std::move(entry.name));
    }
  }
  std::sort(names.begin(), names.end());
  const std::string base{url.ends_with('/') ? url : fmt::format("{}/", url)};
  std::string page = "<!doctype html>\n<meta charset=\"utf-8\">\n<ul>\n";
  for (const std::string_view name : names) {
    const bool is_directory = name.ends_with('/');
    const std::string_view last = is_directory ? name.substr(0, name.size() - 1) : name;
    page += fmt::format("<li><a href=\"{}{}{}\">{}</a>\n", escaped(base), encoded(last),
                        is_directory ? "/" : "", escaped(name));
  }
  page += "</ul>\n";
  responder.respond(Status::ok, "text/html; charset=utf-8", page);
}

runtime::Task<void> send_file(runtime::File file, const runtime::FileStatus& status,
                              const OwnedRequest& request, DeferredResponder responder) {
  const auto modified = net::http::format_date(status.modified_wall / runtime::kSecond);
  const std::string_view date = net::http::to_view(modified);
  std::string part;  // of Content-Range
  std::vector<net::http::Field> fields{{"Last-Modified", date}, {"Accept-Ranges", "bytes"}};
  // Clients send back what they got, so the texts are compared.
  if (request.field("If-Modified-Since") == date) {
    responder.respond(Status::not_modified, {.content_type = {}, .date = {}, .fields = fields}, {});
    co_return;
  }
  const bool is_head = request.method() == "HEAD";  // a range is for GET alone: RFC 9110, 14.2
  std::optional<Range> range;
  if (!is_head) range = range_of(request.field("Range"), status.bytes);
  const std::string_view only_if = request.field("If-Range");
  if (!only_if.empty() && only_if != date) range.reset();
  if (range && range->bytes == 0) {
    part = fmt::format("bytes */{}", status.bytes);
    fields.push_back({"Content-Range", part});
    const net::http::ResponseOptions none{.content_type = {}, .date = {}, .fields = fields};
    responder.respond(Status::range_not_satisfiable, none, {});
    co_return;
  }
  if (range) {
    part =
        fmt::format("bytes {}-{}/{}", range->first, range->first + range->bytes - 1, status.bytes);
    fields.push_back({"Content-Range", part});
  }
  const Range sent = range.value_or(Range{0, status.bytes});
  const net::http::ResponseOptions options{
      .content_type = type_of(request.path()), .date = {}, .fields = fields};
  responder.begin(range ? Status::partial_content : Status::ok, options, sent.bytes);
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, sent.bytes));
  std::uint64_t done = is_head ? sent.bytes : 0;
  while (done < sent.bytes) {
    const auto room =
        std::span{piece}.first(std::min<std::uint64_t>(piece.size(), sent.bytes - done));
    const auto count = co_await file.read_at(room, sent.first + done);
    // Without an end the connection is cut off: the client sees that the file became shorter.
    if (!count || *count == 0) co_return;
    const auto written = co_await responder.write(room.first(*count));
    if (!written) co_return;
    done += *count;
  }
  responder.end();
}

runtime::Task<void> serve_path(void* context, const OwnedRequest& request,
                               DeferredResponder responder) {
  const auto& root = *static_cast<const runtime::Directory*>(context);
  std::string path{request.parameter("path")};
  if (path.empty()) path = ".";
  // A FIFO does not wait for its writer.
  constexpr int kFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
  auto file = co_await root.open_file(path, kFlags);
  for (int attempt = 1; attempt < kOpenAttempts && !file; ++attempt) {
    if (file.error() != runtime::Error::from_errno(EAGAIN)) break;
    file = co_await root.open_file(path, kFlags);
  }
  if (!file) co_return refuse(responder, status_of(file.error()));
  const auto status = co_await file->status();
  if (!status) co_return refuse(responder, status_of(status.error()));
  if (S_ISDIR(status->mode)) {
    co_await send_listing(root, std::move(path), request.path(), responder);
  } else if (S_ISREG(status->mode)) {
    co_await send_file(std::move(*file), *status, request, responder);
  } else {
    refuse(responder, Status::not_found);
  }
}

runtime::Task<int> serve(runtime::Address address, std::string folder,
                         const runtime::BlockedSignals& blocked) {
  auto root = co_await runtime::Directory::open(folder);
  if (!root) {
    fmt::print(stderr, "cannot open {}: {}\n", folder, describe(root.error()));
    co_return 1;
  }
  net::http::Routes routes;
  routes.add("GET", "/*path", {.context = &*root, .coroutine = serve_path});
  net::Network network({});
  net::http::Server server(network, {}, routes);
  const auto listener = network.listen(address, {}, net::http::Server::accept, &server);
  if (!listener) {
    fmt::print(stderr, "cannot listen: {}\n", describe(listener.error()));
    co_return 1;
  }
  fmt::print("listening on {}\n", network.address_of(*listener)->text());
  std::fflush(stdout);
  {
    runtime::SignalStream signals(blocked);
    static_cast<void>(co_await signals.next());
  }
  co_await network.stop_listening();
  co_await network.shutdown();
  co_await server.stop();
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address = runtime::Address::parse(argc == 3 ? argv[1] : "");
  if (!address) {
    fmt::print(stderr, "use: {} ADDRESS:PORT FOLDER\n", argv[0]);
    return 2;
  }
  const runtime::BlockedSignals blocked({SIGTERM, SIGINT});
  runtime::Runtime cores({});
  auto code = cores.run([&] { return serve(*address, argv[2], blocked); });
  if (!code) fmt::print(stderr, "{}\n", describe(code.error()));
  return std::move(code).value_or(1);
}
