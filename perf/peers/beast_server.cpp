// A peer: WebSocket and HTTP on Boost.Beast as its users write it, asynchronous, one thread. Each
// path echoes, but what arrives on /pub goes to every connection on /sub. A GET without an upgrade
// is answered from memory.
//
// Configured for speed: TCP_NODELAY, no compression, no time-outs, whole frames, an io_context that
// knows it has one thread, plain sockets instead of beast::tcp_stream.
//
//   beast_server PORT       (0 picks a free one; prints "listening PORT", ends by signal)

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using asio::ip::tcp;
using beast::error_code;

constexpr std::size_t kMessageBytesMax = 64U << 20;
constexpr int kOneThread = 1;

class WsSession;
using Subscribers = std::unordered_set<WsSession*>;

class WsSession : public std::enable_shared_from_this<WsSession> {
 public:
  WsSession(tcp::socket socket, Subscribers& subscribers)
      : stream_(std::move(socket)), subscribers_(subscribers) {}
  ~WsSession() { subscribers_.erase(this); }
  WsSession(const WsSession&) = delete;
  WsSession& operator=(const WsSession&) = delete;

  void accept(const http::request<http::empty_body>& request) {
    is_publisher_ = request.target() == "/pub";
    is_subscriber_ = request.target() == "/sub";
    stream_.read_message_max(kMessageBytesMax);
    stream_.auto_fragment(false);
    stream_.async_accept(request, [self = shared_from_this()](error_code error) {
      if (error) return;
      if (self->is_subscriber_) self->subscribers_.insert(self.get());
      self->read();
    });
  }

 private:
  void read() {
    stream_.async_read(received_, [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return;
      if (self->is_publisher_) {
        self->publish();
      } else {
        self->echo();
      }
    });
  }

  void echo() {
    stream_.binary(stream_.got_binary());
    stream_.async_write(received_.data(),
                        [self = shared_from_this()](error_code error, std::size_t) {
                          if (error) return;
                          self->received_.clear();
                          self->read();
                        });
  }

  void publish() {
    const auto message =
        std::make_shared<const std::string>(beast::buffers_to_string(received_.data()));
    for (WsSession* subscriber : subscribers_) subscriber->deliver(message);
    received_.clear();
    read();
  }

  void deliver(std::shared_ptr<const std::string> message) {
    queued_.push_back(std::move(message));
    if (queued_.size() == 1) write_queued();
  }

  void write_queued() {
    stream_.binary(true);
    stream_.async_write(asio::buffer(*queued_.front()),
                        [self = shared_from_this()](error_code error, std::size_t) {
                          if (error) return;
                          self->queued_.pop_front();
                          if (!self->queued_.empty()) self->write_queued();
                        });
  }

  websocket::stream<tcp::socket, false> stream_;
  beast::flat_buffer received_;
  std::deque<std::shared_ptr<const std::string>> queued_;
  Subscribers& subscribers_;
  bool is_publisher_ = false;
  bool is_subscriber_ = false;
};

// Until the upgrade, or for as long as the requests want none.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(tcp::socket socket, Subscribers& subscribers)
      : socket_(std::move(socket)), subscribers_(subscribers) {}

  void read() {
    request_ = {};
    http::async_read(socket_, received_, request_,
                     [self = shared_from_this()](error_code error, std::size_t) {
                       if (!error) self->on_request();
                     });
  }

 private:
  void on_request() {
    if (websocket::is_upgrade(request_)) {
      std::make_shared<WsSession>(std::move(socket_), subscribers_)->accept(request_);
      return;
    }
    response_ = {http::status::ok, request_.version(), "hello\n"};
    response_.set(http::field::content_type, "text/plain");
    response_.keep_alive(request_.keep_alive());
    response_.prepare_payload();
    http::async_write(socket_, response_,
                      [self = shared_from_this()](error_code error, std::size_t) {
                        if (!error && self->response_.keep_alive()) self->read();
                      });
  }

  tcp::socket socket_;
  beast::flat_buffer received_;
  http::request<http::empty_body> request_;
  http::response<http::string_body> response_;
  Subscribers& subscribers_;
};

class Listener {
 public:
  Listener(asio::io_context& context, unsigned short port)
      : acceptor_(context, {asio::ip::make_address("127.0.0.1"), port}) {
    acceptor_.listen(4096);
  }

  unsigned short port() const { return acceptor_.local_endpoint().port(); }

  void accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error) {
        socket.set_option(tcp::no_delay(true));
        std::make_shared<HttpSession>(std::move(socket), subscribers_)->read();
      }
      accept();
    });
  }

 private:
  tcp::acceptor acceptor_;
  Subscribers subscribers_;
};

int serve(const std::string& port) {
  asio::io_context context(kOneThread);
  Listener listener(context, static_cast<unsigned short>(std::stoul(port)));
  asio::signal_set stop(context, SIGTERM, SIGINT);
  stop.async_wait([&](error_code, int) { context.stop(); });
  listener.accept();
  std::printf("listening %d\n", listener.port());
  std::fflush(stdout);
  context.run();
  std::_Exit(0);  // nothing to tidy up that the kernel does not
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return serve(argc > 1 ? argv[1] : "0");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "beast_server: %s\n", error.what());
    return 1;
  }
}
