#include "tools/serve_command.hpp"

#include "services/node/start_guard.hpp"

#ifdef CORELANE_MIMALLOC
#include <mimalloc.h>
#endif

namespace corelane::tools {
namespace {

// Before the server allocates anything much: what exists already stays where it is.
void choose_page_size(bool huge_pages) {
#ifdef CORELANE_MIMALLOC
  if (huge_pages) mi_option_enable(mi_option_large_os_pages);
#else
  static_cast<void>(huge_pages);
#endif
}

}  // namespace

std::optional<int> read_server_settings(services::ServerOptions& options,
                                        services::ServedBy served_by, const std::string& command,
                                        const Arguments& arguments) {
#ifdef CORELANE_MIMALLOC
  constexpr bool kHasHugePages = true;
#else
  constexpr bool kHasHugePages = false;
#endif
  return services::read_settings(options, served_by, kHasHugePages, {.command = command}, arguments,
                                 services::config::process_environment());
}

int run_serve(const Arguments& arguments) {
  services::guard_start();
  services::ServerOptions options;
  if (const auto exit_code =
          read_server_settings(options, services::ServedBy::serve, "corelane serve", arguments)) {
    return *exit_code;
  }
  choose_page_size(options.huge_pages);
  return services::run_node(std::move(options.process), std::move(options.node));
}

}  // namespace corelane::tools
