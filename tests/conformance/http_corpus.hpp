#pragma once
// The corpus of malformed and ambiguous requests by the classes of RFC 9112 (and of known request
// smuggling), each with the one status it is refused with, and of legal ones that look like them.

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "net/http/status.hpp"

namespace corelane::http_corpus {

using net::http::Status;

struct Case {
  std::string name;
  std::string text;
  Status status = Status::bad_request;
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

inline std::string get(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
inline std::string line(const std::string& request_line) {
  return request_line + "\r\nHost: a\r\n\r\n";
}
inline std::string post(const std::string& fields, const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}
inline std::string chunked(const std::string& body) {
  return post("Transfer-Encoding: chunked\r\n", body);
}
inline std::string with_nul(std::string text) {
  std::replace(text.begin(), text.end(), '@', '\0');
  return text;
}

inline const std::vector<Case> kRequestLines = {
    {"NoVersion", "GET /\r\n\r\n"},
    {"NoVersionWithFields", line("GET /")},
    {"NoTarget", line("GET HTTP/1.1")},
    {"EmptyTarget", line("GET  HTTP/1.1")},
    {"NoMethod", line(" / HTTP/1.1")},
    {"MethodOnly", line("GET")},
    {"MethodNotAToken", line("G(T / HTTP/1.1")},
    {"MethodWith8Bit", line("G\xc9T / HTTP/1.1")},
    {"TwoSpacesBeforeTarget", line("GET  / HTTP/1.1")},
    {"TwoSpacesBeforeVersion", line("GET /  HTTP/1.1")},
    {"SpaceInTarget", line("GET /a b HTTP/1.1")},
    {"TrailingSpace", line("GET / HTTP/1.1 ")},
    {"LeadingSpace", line(" GET / HTTP/1.1")},
    {"TabForSpace", line("GET\t/\tHTTP/1.1")},
    {"TabBeforeVersion", line("GET /\tHTTP/1.1")},
    {"NulInTarget", with_nul(line("GET /@ HTTP/1.1"))},
    {"NulInMethod", with_nul(line("G@T / HTTP/1.1"))},
    {"DelInTarget", line("GET /\x7f HTTP/1.1")},
    {"ControlInTarget", line("GET /\x01 HTTP/1.1")},
    {"EightBitInTarget", line("GET /\x80 HTTP/1.1")},
    {"Utf8InTarget", line("GET /\xc3\xa9 HTTP/1.1")},
    {"FragmentInTarget", line("GET /a#b HTTP/1.1")},
    {"BrokenEscape", line("GET /%zz HTTP/1.1")},
    {"CutEscape", line("GET /%2 HTTP/1.1")},
    {"EscapedNul", line("GET /a%00b HTTP/1.1")},
    {"RelativeTarget", line("GET a/b HTTP/1.1")},
    {"StarForGet", line("GET * HTTP/1.1")},
    {"Connect", line("CONNECT a:443 HTTP/1.1")},
    {"UnknownScheme", line("GET ftp://a/ HTTP/1.1")},
    {"AbsoluteWithoutHost", line("GET http:/// HTTP/1.1")},
    {"AbsoluteWithUser", line("GET http://u@a/ HTTP/1.1")},
    {"AbsoluteOfAnotherHost", line("GET http://b/ HTTP/1.1")},
    {"AbsoluteWithoutHostField", "GET http://a/ HTTP/1.1\r\n\r\n"},
    {"BareLineFeed", "GET / HTTP/1.1\nHost: a\n\n"},
    {"BareLineFeedAfterRequestLine", "GET / HTTP/1.1\nHost: a\r\n\r\n"},
    {"BareCarriageReturn", "GET / HTTP/1.1\rHost: a\r\n\r\n"},
    {"TwoCarriageReturns", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"},
    {"CarriageReturnInTarget", line("GET /\r HTTP/1.1")},
    {"TwoEmptyLinesFirst", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"BareLineFeedFirst", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"CarriageReturnFirst", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"TlsHello", std::string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11}},
};

inline const std::vector<Case> kVersions = {
    {"Version2", line("GET / HTTP/2.0"), Status::http_version_not_supported},
    {"Version2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Status::http_version_not_supported},
    {"Version09", line("GET / HTTP/0.9"), Status::http_version_not_supported},
    {"Version12", line("GET / HTTP/1.2"), Status::http_version_not_supported},
    {"Version3", line("GET / HTTP/3.0"), Status::http_version_not_supported},
    {"VersionWithTwoDigits", line("GET / HTTP/1.10")},
    {"VersionWithTwoMajorDigits", line("GET / HTTP/01.1")},
    {"VersionThatOverflows", line("GET / HTTP/257.1")},
    {"VersionWithoutMinor", line("GET / HTTP/1")},
    {"VersionWithEmptyMinor", line("GET / HTTP/1.")},
    {"VersionInLowerCase", line("GET / http/1.1")},
    {"VersionOfAnotherProtocol", line("GET / ICY/1.1")},
    {"VersionWithSign", line("GET / HTTP/+.1")},
    {"VersionWithComma", line("GET / HTTP/1,1")},
};

inline const std::vector<Case> kFields = {
    {"Fold", get("X: a\r\n b\r\n")},
    {"FoldWithTab", get("X: a\r\n\tb\r\n")},
    {"FoldOfTheFirstLine", "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n"},
    {"FoldOfNothing", get("X:\r\n \r\n")},
    {"SpaceBeforeColon", get("X : 1\r\n")},
    {"TabBeforeColon", get("X\t: 1\r\n")},
    {"SpaceInName", get("X Y: 1\r\n")},
    {"EmptyName", get(": 1\r\n")},
    {"NoColon", get("X\r\n")},
    {"NulInName", with_nul(get("X@: 1\r\n"))},
    {"EightBitInName", get("X\xa0: 1\r\n")},
    {"NotATokenInName", get("X(Y): 1\r\n")},
    {"NulInValue", with_nul(get("X: a@b\r\n"))},
    {"ControlInValue", get("X: a\x01\r\n")},
    {"DelInValue", get("X: a\x7f\r\n")},
    {"BareCarriageReturnInValue", get("X: a\rb\r\n")},
    {"BareLineFeedInValue", get("X: a\nY: b\r\n")},
    {"TwoCarriageReturnsAtEnd", get("X: a\r\r\n")},
    {"EndWithBareLineFeeds", "GET / HTTP/1.1\r\nHost: a\r\n\n"},
    {"EndWithCarriageReturnAndMore", "GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n"},
    {"NoHost", "GET / HTTP/1.1\r\n\r\n"},
    {"NoHostButSimilar", "GET / HTTP/1.1\r\nHosts: a\r\n\r\n"},
    {"TwoHosts", get("Host: b\r\n")},
    {"TwoEqualHosts", get("host: a\r\n")},
    {"TwoHostsOn10", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"},
    {"EmptyHost", "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
    {"HostList", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"},
    {"HostWithUser", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
    {"HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    {"HostWithSpace", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
    {"HostWithBadPort", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n"},
    {"HostWithTwoPorts", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"},
    {"HostWithOpenBracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
    {"HostWith8Bit", "GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n"},
    {"BadConnectionList", get("Connection: close(\r\n")},
};

inline const std::vector<Case> kFraming = {
    {"LengthTwice", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")},
    {"LengthConflict", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")},
    {"LengthList", post("Content-Length: 3, 3\r\n", "abc")},
    {"LengthListConflict", post("Content-Length: 3, 4\r\n", "abc")},
    {"LengthEmpty", post("Content-Length:\r\n", "")},
    {"LengthNegative", post("Content-Length: -1\r\n", "")},
    {"LengthWithPlus", post("Content-Length: +3\r\n", "abc")},
    {"LengthHex", post("Content-Length: 0x3\r\n", "abc")},
    {"LengthHexDigits", post("Content-Length: a\r\n", "abc")},
    {"LengthWithUnderscore", post("Content-Length: 1_0\r\n", "0123456789")},
    {"LengthWithSpace", post("Content-Length: 1 0\r\n", "0123456789")},
    {"LengthDecimal", post("Content-Length: 3.0\r\n", "abc")},
    {"LengthExponent", post("Content-Length: 1e1\r\n", "abc")},
    {"LengthWith8BitSpace", post("Content-Length: 3\xa0\r\n", "abc")},
    {"LengthWithVerticalTab", post("Content-Length: \x0b"
                                   "3\r\n",
                                   "abc")},
    {"LengthQuoted", post("Content-Length: \"3\"\r\n", "abc")},
    {"LengthAbove64Bits", post("Content-Length: 18446744073709551619\r\n", "abc"),
     Status::content_too_large},
    {"LengthAboveTheLimit", post("Content-Length: 1114113\r\n", "abc"), Status::content_too_large},
    {"LengthThenCoding", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
    {"CodingThenLength", post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n")},
    {"CodingUnknown", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")},
    {"CodingIdentity", post("Transfer-Encoding: identity\r\n", "")},
    {"CodingGzip", post("Transfer-Encoding: gzip\r\n", "0\r\n\r\n")},
    {"CodingGzipChunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")},
    {"CodingChunkedIdentity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")},
    {"CodingChunkedTwice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")},
    {"CodingInTwoLines",
     post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
    {"CodingInTwoLinesOneEmpty",
     post("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", "0\r\n\r\n")},
    {"CodingEmpty", post("Transfer-Encoding:\r\n", "")},
    {"CodingQuoted", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")},
    {"CodingWithParameter", post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")},
    {"CodingWithComma", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n")},
    {"CodingWithVerticalTab", post("Transfer-Encoding: \x0b"
                                   "chunked\r\n",
                                   "0\r\n\r\n")},
    {"CodingWith8BitSpace", post("Transfer-Encoding: chunked\xa0\r\n", "0\r\n\r\n")},
    {"CodingWithSpaceBeforeColon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")},
    {"CodingInAFold", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")},
    {"CodingOn10", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
};

inline const std::vector<Case> kChunks = {
    {"SizeEmpty", chunked("\r\nabc\r\n0\r\n\r\n")},
    {"SizeNotHex", chunked("g\r\nabc\r\n0\r\n\r\n")},
    {"SizeWithPrefix", chunked("0x3\r\nabc\r\n0\r\n\r\n")},
    {"SizeWithPlus", chunked("+3\r\nabc\r\n0\r\n\r\n")},
    {"SizeNegative", chunked("-1\r\nabc\r\n0\r\n\r\n")},
    {"SizeWithUnderscore", chunked("1_0\r\nabc\r\n0\r\n\r\n")},
    {"SizeWithLeadingSpace", chunked(" 3\r\nabc\r\n0\r\n\r\n")},
    {"SizeWithTrailingSpace", chunked("3 \r\nabc\r\n0\r\n\r\n")},
    {"SizeWithTrailingTab", chunked("3\t\r\nabc\r\n0\r\n\r\n")},
    {"SizeWithNul", with_nul(chunked("3@\r\nabc\r\n0\r\n\r\n"))},
    {"SizeEndsWithBareLineFeed", chunked("3\nabc\r\n0\r\n\r\n")},
    {"SizeEndsWithBareCarriageReturn", chunked("3\rabc\r\n0\r\n\r\n")},
    {"SizeEndsWithTwoCarriageReturns", chunked("3\r\r\nabc\r\n0\r\n\r\n")},
    {"SizeAbove64Bits", chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"),
     Status::content_too_large},
    {"SizeAboveTheLimit", chunked("110001\r\nabc\r\n0\r\n\r\n"), Status::content_too_large},
    {"SumAboveTheLimit", chunked("1\r\na\r\n110000\r\nabc"), Status::content_too_large},
    {"DataLongerThanSize", chunked("3\r\nabcd\r\n0\r\n\r\n")},
    {"DataShorterThanSize", chunked("4\r\nabc\r\n0\r\n\r\n")},
    {"DataWithoutCrlf", chunked("3\r\nabc0\r\n\r\n")},
    {"DataEndsWithTwoOtherBytes", chunked("3\r\nabcXX0\r\n\r\n")},
    {"DataEndsWithBareLineFeed", chunked("3\r\nabc\n0\r\n\r\n")},
    {"DataEndsWithCarriageReturnAndMore", chunked("3\r\nabc\rX0\r\n\r\n")},
    {"DataEndsWithAnotherByteAndLineFeed", chunked("3\r\nabcX\n0\r\n\r\n")},
    {"DataEndsWithZeroAndLineFeed", with_nul(chunked("3\r\nabc@\n0\r\n\r\n"))},
    {"DataEndsWithTwoLineFeeds", chunked("3\r\nabc\n\n0\r\n\r\n")},
    {"ExtensionWithoutName", chunked("3;\r\nabc\r\n0\r\n\r\n")},
    {"ExtensionWithoutValue", chunked("3;a=\r\nabc\r\n0\r\n\r\n")},
    {"ExtensionWithBareLineFeed", chunked("3;a\nb\r\nabc\r\n0\r\n\r\n")},
    {"ExtensionWithCarriageReturn", chunked("3;a\rb\r\nabc\r\n0\r\n\r\n")},
    {"ExtensionWithOpenQuote", chunked("3;a=\"b\r\nabc\r\n0\r\n\r\n")},
    {"ExtensionAfterComma", chunked("3,a\r\nabc\r\n0\r\n\r\n")},
    {"ExtensionOfTheLastChunk", chunked("0;\r\n\r\n")},
    {"EndWithBareLineFeed", chunked("0\r\n\n")},
    {"EndWithCarriageReturnAndMore", chunked("0\r\n\rX\r\n\r\n")},
    {"TrailerWithoutColon", chunked("0\r\nX\r\n\r\n")},
    {"TrailerFold", chunked("0\r\nX: 1\r\n 2\r\n\r\n")},
    {"TrailerWithSpaceBeforeColon", chunked("0\r\nX : 1\r\n\r\n")},
    {"TrailerWithNul", with_nul(chunked("0\r\nX: @\r\n\r\n"))},
    {"TrailerLength", chunked("0\r\nContent-Length: 9\r\n\r\n")},
    {"TrailerCoding", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {"TrailerHost", chunked("0\r\nHost: b\r\n\r\n")},
};

// A strict parser that refuses everything would pass the tests above.
inline const std::vector<Case> kLegal = {
    {"Plain", get("")},
    {"Version10WithoutHost", "GET / HTTP/1.0\r\n\r\n"},
    {"EmptyLineFirst", "\r\n" + get("")},
    {"NoSpaceAfterColon", get("X:1\r\n")},
    {"BlanksAroundValue", get("X: \t 1 \t \r\n")},
    {"EightBitValue", get("X: \x80\xff\r\n")},
    {"EmptyValue", get("X:\r\n")},
    {"EveryTokenCharacter", get("!#$%&'*+-.^_`|~09azAZ: 1\r\n")},
    {"HostWithPort", "GET / HTTP/1.1\r\nHost: a.b-c_d:65535\r\n\r\n"},
    {"HostWithEmptyPort", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"},
    {"HostOfIpv6", "GET / HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:80\r\n\r\n"},
    {"AbsoluteTarget", line("GET http://a/x HTTP/1.1")},
    {"OptionsStar", line("OPTIONS * HTTP/1.1")},
    {"LengthWithZeros", post("Content-Length: 0003\r\n", "abc")},
    {"LengthWithBlanks", post("Content-Length: \t3\t\r\n", "abc")},
    {"LengthZero", post("Content-Length: 0\r\n", "")},
    {"LengthOnGet", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"},
    {"CodingInUpperCase", post("TRANSFER-ENCODING: CHUNKED\r\n", "0\r\n\r\n")},
    {"SizeWithZeros", chunked("0000000000000000003\r\nabc\r\n000\r\n\r\n")},
    {"SizeInUpperCase", chunked("A\r\n0123456789\r\n0\r\n\r\n")},
    {"ExtensionsWithBlanks", chunked("3 ; a ; b = c ;d=\"e;\\\"\xe9\" \t;f\r\nabc\r\n0;g\r\n\r\n")},
    {"Trailers", chunked("0\r\nX: 1\r\nY:\r\n\r\n")},
    {"ConnectionListWithHoles", get("Connection: ,, close,\r\n")},
};

}  // namespace corelane::http_corpus
