#pragma once
// A page of metrics that a node answers, and values on it.

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "tests/support/http_site.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane::tests {

// The whole answer, head included. `fields`: whole lines.
inline runtime::Task<std::string> http_get(NodeUnderTest& test, runtime::Address address,
                                           std::string path, std::string fields = "") {
  HttpClient client;
  co_await client.connect(test.node().cores()->network(), address);
  client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields + "\r\n");
  co_await client.until_closed();
  co_return client.received;
}

inline runtime::Task<std::string> http_get(NodeUnderTest& test, std::string path,
                                           std::string fields = "") {
  co_return co_await http_get(test, test.address(Via::websocket), std::move(path),
                              std::move(fields));
}

// The value of a series, `name{labels}` or `name`; nothing if the page has none.
inline std::optional<double> value_of(const std::string& page, const std::string& series) {
  const std::size_t at = page.find("\n" + series + " ");
  if (at == std::string::npos) return std::nullopt;
  return std::strtod(page.c_str() + at + series.size() + 2, nullptr);
}

// The sum over all cores of a family's series with these labels behind the core's.
inline double sum_of(const std::string& page, const std::string& name, const std::string& labels,
                     runtime::CoreId cores) {
  double sum = 0;
  for (runtime::CoreId core = 0; core < cores; ++core) {
    const std::string comma = labels.empty() ? "" : ",";
    sum += value_of(page, name + "{core=\"" + std::to_string(core) + "\"" + comma + labels + "}")
               .value_or(0);
  }
  return sum;
}

}  // namespace corelane::tests
