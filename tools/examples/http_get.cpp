// Downloads a URL into a file, with progress. The file is there when all of it is: until then it is
// FILE.part, which an error or SIGINT removes.
//
//   build/release/tools/examples/http_get http://example.org/image.iso image.iso

#include <fcntl.h>
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <utility>

#include <corelane/net/http/client.hpp>
#include <corelane/runtime/combine.hpp>
#include <corelane/runtime/file.hpp>
#include <corelane/runtime/runtime.hpp>
#include <corelane/runtime/signals.hpp>

using namespace corelane;
using net::http::ClientResponse;

namespace {

class Progress {
 public:
  explicit Progress(std::optional<std::uint64_t> bytes) : all_(bytes) {}
  void add(std::size_t bytes) {
    done_ += bytes;
    if (now() - shown_ >= runtime::kSecond / 4) show('\r');
  }
  void show(char end) {
    shown_ = now();
    const double mebibytes = static_cast<double>(done_) / (1 << 20);
    const double seconds = static_cast<double>(shown_ - begun_) / runtime::kSecond;
    const std::string of =
        all_ ? fmt::format(" of {:.1f}", static_cast<double>(*all_) / (1 << 20)) : "";
    fmt::print(stderr, "{:.1f}{} MiB, {:.1f} MiB/s   {}", mebibytes, of,
               seconds > 0 ? mebibytes / seconds : 0.0, end);
  }
  std::uint64_t done() const { return done_; }

 private:
  static runtime::Nanoseconds now() { return runtime::Core::current().now(); }

  std::optional<std::uint64_t> all_;
  std::uint64_t done_ = 0;
  runtime::Nanoseconds begun_ = now();
  runtime::Nanoseconds shown_ = begun_;
};

runtime::Task<runtime::Result<void>> save(ClientResponse& answer, const std::string& path) {
  auto file = co_await runtime::File::open(path, O_CREAT | O_WRONLY | O_TRUNC);
  if (!file) co_return file.error();
  Progress progress(answer.body_bytes());
  for (;;) {
    const auto piece = co_await answer.read();
    if (!piece && piece.error().code == runtime::ErrorCode::end_of_file) break;
    if (!piece) co_return piece.error();
    const auto written = co_await file->write_all_at(*piece, progress.done());
    if (!written) co_return written;
    progress.add(piece->size());
  }
  progress.show('\n');
  co_return co_await file->close();
}

runtime::Task<runtime::Result<int>> download(const std::string& url, const std::string& path) {
  net::http::ClientOptions options;
  options.request_timeout = runtime::kNever;
  net::http::HttpClient client(std::move(options));
  auto answer = co_await client.send({.url = url, .redirects_max = 5});
  if (!answer) co_return answer.error();
  const auto status = static_cast<int>(answer->status());
  if (status != 200) co_return status;
  const auto saved = co_await save(*answer, path);
  if (!saved) co_return saved.error();
  co_return status;
}

runtime::Task<int> run(std::string url, std::string path, const runtime::BlockedSignals& signals) {
  const std::string part = path + ".part";
  runtime::SignalStream interrupts(signals);
  const auto first = co_await runtime::when_any(download(url, part), interrupts.next());
  const auto& [downloaded, signal] = first.values;
  const bool is_done = downloaded && *downloaded && **downloaded == 200;
  if (is_done && std::rename(part.c_str(), path.c_str()) == 0) co_return 0;
  if (is_done) {
    std::perror(path.c_str());
  } else if (signal && *signal) {
    fmt::print(stderr, "\ninterrupted\n");
  } else if (downloaded && !*downloaded) {
    fmt::print(stderr, "{}: {}\n", url, net::http::describe_client_error(downloaded->error()));
  } else if (downloaded) {
    fmt::print(stderr, "{}: status {}\n", url, **downloaded);
  }
  std::remove(part.c_str());
  co_return signal && *signal ? 128 + **signal : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: http_get URL FILE\n");
    return 2;
  }
  const runtime::BlockedSignals signals({SIGINT, SIGTERM});
  runtime::Runtime runtime({});
  return runtime.run([&] { return run(argv[1], argv[2], signals); }).value_or(1);
}
