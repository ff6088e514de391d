// beast_sender PORT BYTES: a blocking client of Boost.Beast that sends one binary message of that
// size and only then reads. Prints the code and the reason of the server's close frame.

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

template <class Number>
static bool read(std::string_view text, Number& number) {
  const char* end = text.data() + text.size();
  return std::from_chars(text.data(), end, number).ptr == end;
}

int main(int argc, char** argv) {
  namespace asio = boost::asio;
  namespace websocket = boost::beast::websocket;
  std::uint16_t port = 0;
  std::size_t bytes = 0;
  if (argc != 3 || !read(argv[1], port) || !read(argv[2], bytes)) {
    std::fputs("usage: beast_sender PORT BYTES\n", stderr);
    return EXIT_FAILURE;
  }
  asio::io_context context;
  websocket::stream<asio::ip::tcp::socket> client(context);
  boost::beast::error_code error;
  client.next_layer().connect({asio::ip::address_v4::loopback(), port}, error);
  if (!error) client.handshake("localhost", "/", error);
  client.binary(true);
  const std::string message(bytes, 'x');
  if (!error) client.write(asio::buffer(message), error);
  boost::beast::flat_buffer answer;
  if (!error) client.read(answer, error);
  if (error != websocket::error::closed) {
    std::fprintf(stderr, "%s\n", error.message().c_str());
    return EXIT_FAILURE;
  }
  std::printf("%u %s\n", static_cast<unsigned>(client.reason().code),
              client.reason().reason.c_str());
  return EXIT_SUCCESS;
}
