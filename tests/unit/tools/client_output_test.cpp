// Goal: one message is one line, whatever it contains, and JSON carries every byte. Method: frames
// built by protocol/, printed; tables for the escapes.

#include "tools/client_output.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "protocol/message.hpp"
#include "tools/client.hpp"

namespace corelane::tools {
namespace {

using namespace std::string_view_literals;
using protocol::Opcode;

Data data_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

template <class Body>
Incoming incoming(const Body& body) {
  std::vector<std::byte> frame;
  protocol::append_frame(frame, {}, body);
  auto message = Incoming::copy_of(std::span{frame}.subspan(protocol::kFrameSizeBytes));
  EXPECT_TRUE(message);
  return std::move(*message);
}

TEST(Base64, is_that_of_rfc_4648) {
  const std::pair<std::string_view, std::string_view> rows[] = {{"", ""},
                                                                {"f", "Zg=="},
                                                                {"fo", "Zm8="},
                                                                {"foo", "Zm9v"},
                                                                {"foob", "Zm9vYg=="},
                                                                {"fooba", "Zm9vYmE="},
                                                                {"foobar", "Zm9vYmFy"},
                                                                {"\xff\xfe\xfd"sv, "//79"}};
  for (const auto& [text, encoded] : rows) EXPECT_EQ(to_base64(data_of(text)), encoded);
}

TEST(Printable, escapes_what_could_command_a_terminal) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"plain", "plain"},
      {"tab\there", "tab\there"},
      {"a\nb\r", "a\\x0ab\\x0d"},
      {"\0"sv, "\\x00"},
      {"\x1b[2J", "\\x1b[2J"},
      {"\x7f", "\\x7f"},
      {"Gr\xc3\xbc\xc3\x9f"
       "e \xe4\xb8\x96 \xf0\x9f\x8c\x8d",
       "Gr\xc3\xbc\xc3\x9f"
       "e \xe4\xb8\x96 \xf0\x9f\x8c\x8d"},
      {"\xc2\x9b", "\\xc2\\x9b"},           // CSI as one character
      {"\xff\xfe", "\\xff\\xfe"},           // never in UTF-8
      {"\xc3", "\\xc3"},                    // cut off
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},  // a surrogate
  };
  for (const auto& [text, shown] : rows) EXPECT_EQ(to_printable(data_of(text)), shown);
}

TEST(Event, is_a_line_of_channel_offset_and_data) {
  protocol::EventBody body;
  body.channel = "news";
  body.epoch = 18'446'744'073'709'551'615u;
  body.offset = 43;
  body.data = data_of("hello");
  Incoming message = incoming(body);
  const auto* event = message.as<protocol::fbs::ChannelEvent>(Opcode::Event);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(text_event(*event), "news 43 hello");
  EXPECT_EQ(json_event(*event),
            R"({"kind":"event","channel":"news","epoch":"18446744073709551615",)"
            R"("offset":"43","data":"hello"})");
}

TEST(Event, that_is_not_text_is_base64_in_json) {
  protocol::EventBody body;
  body.channel = "news";
  body.data = data_of("\xff\n\0"sv);
  Incoming message = incoming(body);
  const auto* event = message.as<protocol::fbs::ChannelEvent>(Opcode::Event);
  ASSERT_NE(event, nullptr);
  const boost::json::value parsed = boost::json::parse(json_event(*event));
  EXPECT_EQ(parsed.at("data_base64").as_string(), "/woA");
  EXPECT_FALSE(parsed.as_object().contains("data"));
}

TEST(Error, names_its_code_and_when_to_try_again) {
  protocol::ErrorBody body;
  body.code = protocol::ErrorCode::rate_limited;
  body.text = "slow\ndown";
  body.failed_opcode = Opcode::Publish;
  body.retry_after_ms = 250;
  Incoming message = incoming(body);
  const auto* error = message.as<protocol::fbs::ErrorReply>(Opcode::Error);
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(text_error(*error), "rate_limited: slow\\x0adown (try again in 250 ms)");
  const boost::json::value parsed = boost::json::parse(json_error(*error));
  EXPECT_EQ(parsed.at("number").as_int64(), 504);
  EXPECT_EQ(parsed.at("failed_opcode").as_int64(), 6);
  EXPECT_EQ(parsed.at("text").as_string(), "slow\ndown");
}

TEST(Error, of_a_newer_server_is_told_by_its_number) {
  protocol::ErrorBody body;
  body.code = static_cast<protocol::ErrorCode>(999);
  Incoming message = incoming(body);
  EXPECT_EQ(text_error(*message.as<protocol::fbs::ErrorReply>(Opcode::Error)), "error 999");
}

TEST(Incoming, that_is_damaged_or_of_another_type_is_no_message) {
  EXPECT_FALSE(Incoming::copy_of(data_of("rubbish, and some more of it")));
  Incoming pong = incoming(protocol::PongBody{});
  EXPECT_EQ(pong.as<protocol::fbs::ErrorReply>(Opcode::Error), nullptr);
  EXPECT_NE(pong.as<protocol::fbs::PongReply>(Opcode::Pong), nullptr);
}

}  // namespace
}  // namespace corelane::tools
