#pragma once
// The commands of the corelane program. Each takes the words behind its name and returns the exit
// code (tools/exit_code.hpp). Called from main() with no other thread running.

#include <string>
#include <vector>

namespace corelane::tools {

using Arguments = std::vector<std::string>;

int run_serve(const Arguments& arguments);
int run_echo(const Arguments& arguments);

int run_whoami(const Arguments& arguments);
int run_ping(const Arguments& arguments);
int run_sub(const Arguments& arguments);
int run_pub(const Arguments& arguments);
int run_send(const Arguments& arguments);
int run_broadcast(const Arguments& arguments);
int run_quota(const Arguments& arguments);
int run_cache(const Arguments& arguments);
int run_metrics(const Arguments& arguments);
int run_top(const Arguments& arguments);

int run_doctor_command(const Arguments& arguments);
int run_version(const Arguments& arguments);
int run_help(const Arguments& arguments);

}  // namespace corelane::tools
