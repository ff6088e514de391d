// Goal: lookups in a header follow RFC 9110 sections 5.1 and 5.6.1: names without case, lists over
// all lines of a field, "the only one" means exactly one. Method: small tables.
#include "net/http/message.hpp"

#include <gtest/gtest.h>

#include <array>

namespace corelane {
namespace {

using net::http::Field;
using net::http::Request;

TEST(HttpMessage, ComparesNamesWithoutCaseInAsciiOnly) {
  EXPECT_TRUE(net::http::field_name_equal("Content-Length", "cONTENT-lENGTH"));
  EXPECT_FALSE(net::http::field_name_equal("Content-Length", "Content-Lengt"));
  EXPECT_FALSE(net::http::field_name_equal("a@", "a`"));  // they differ in the case bit alone
  EXPECT_FALSE(net::http::field_name_equal("\xc4", "\xe4"));
  EXPECT_TRUE(net::http::field_name_equal("", ""));
}

TEST(HttpMessage, TrimsSpacesAndTabsAndNothingElse) {
  EXPECT_EQ(net::http::trim_white_space(" \t a b\t "), "a b");
  EXPECT_EQ(net::http::trim_white_space(" \t "), "");
  EXPECT_EQ(net::http::trim_white_space("\xa0x\x85"), "\xa0x\x85");
}

TEST(HttpMessage, SingleIsEmptyForNoneAndForMany) {
  const std::array<Field, 3> fields{{{"Origin", "a"}, {"origin", "b"}, {"Accept", "*"}}};
  Request request;
  request.fields = fields;
  EXPECT_EQ(request.single("accept"), "*");
  EXPECT_EQ(request.single("origin"), "");
  EXPECT_EQ(request.single("host"), "");
  EXPECT_EQ(request.count("ORIGIN"), 2U);
  EXPECT_EQ(request.count("host"), 0U);
}

TEST(HttpMessage, FindsATokenInAnyLineOfAListField) {
  const std::array<Field, 3> fields{
      {{"Connection", "keep-alive, ,"}, {"connection", " ,\tUpgrade"}, {"Upgrade", "websocket"}}};
  Request request;
  request.fields = fields;
  EXPECT_TRUE(request.has_token("Connection", "upgrade"));
  EXPECT_TRUE(request.has_token("Connection", "Keep-Alive"));
  EXPECT_FALSE(request.has_token("Connection", "grade"));
  EXPECT_FALSE(request.has_token("Connection", "keep"));
  EXPECT_FALSE(request.has_token("Connection", "websocket"));
  EXPECT_FALSE(request.has_token("Connection", ""));
}

TEST(HttpMessage, AResponseHasTheSameLookups) {
  const std::array<Field, 2> fields{{{"Upgrade", "websocket"}, {"Connection", "Upgrade"}}};
  net::http::Response response;
  response.fields = fields;
  EXPECT_EQ(response.single("upgrade"), "websocket");
  EXPECT_EQ(response.count("connection"), 1U);
  EXPECT_TRUE(response.has_token("connection", "upgrade"));
}

}  // namespace
}  // namespace corelane
