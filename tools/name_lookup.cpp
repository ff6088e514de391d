#include "tools/name_lookup.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "runtime/await.hpp"

namespace corelane::tools {
namespace {

using runtime::Result;
using runtime::Task;

// The modules of nsswitch.conf may need more than a resolver of DNS does; the usual 8 MiB would
// not fit into a small limit of address space.
constexpr std::size_t kStackBytes = 1024 * 1024;

// Shared by the coroutine that asks and the thread; the descriptor orders their accesses.
struct Question {
  Question(std::string for_name, Resolver by)
      : name(std::move(for_name)), resolver(std::move(by)) {}
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;
  ~Question() {
    if (answered >= 0) ::close(answered);
  }

  const std::string name;
  const Resolver resolver;
  NameAnswer answer;
  int answered = -1;  // an eventfd: readable once `answer` is there
};

bool is_abandoned = false;

void* answer_question(void* argument) noexcept {
  const std::unique_ptr<std::shared_ptr<Question>> held(
      static_cast<std::shared_ptr<Question>*>(argument));
  Question& question = **held;
  // A malloc that fails ends the process (end_when_out_of_memory()); getaddrinfo of glibc 2.36
  // would crash there.
  question.answer = question.resolver(question.name);
  const std::uint64_t one = 1;
  // It fails only for a counter that is full.
  static_cast<void>(!::write(question.answered, &one, sizeof one));
  return nullptr;
}

// 0 or an errno.
int start_thread(const std::shared_ptr<Question>& question) {
  question->answered = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (question->answered < 0) return errno;
  pthread_attr_t attributes;
  if (const int error = pthread_attr_init(&attributes); error != 0) return error;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  auto argument = std::make_unique<std::shared_ptr<Question>>(question);
  pthread_t thread;
  // tidy: allow banned_call: for one getaddrinfo, which blocks and cannot be stopped
  const int error = pthread_create(&thread, &attributes, answer_question, argument.get());
  pthread_attr_destroy(&attributes);
  if (error == 0) {
    [[maybe_unused]] const auto* const given = argument.release();  // the thread's now
  }
  return error;
}

}  // namespace

Task<Result<NameAnswer>> look_up(std::string name, Resolver resolver) {
  const auto question = std::make_shared<Question>(std::move(name), std::move(resolver));
  if (const int error = start_thread(question); error != 0) {
    co_return runtime::Unexpected{runtime::Error::from_errno(error)};
  }
  runtime::OperationAwaiter poll([&question](runtime::Ring& ring, runtime::Token token) {
    ring.poll({.number = question->answered, .direct = false}, POLLIN, token);
  });
  const auto ready = co_await poll;
  std::uint64_t count = 0;
  // Not the poll's outcome: the answer may be there although the wait for it was cancelled.
  if (::read(question->answered, &count, sizeof count) != sizeof count) {
    is_abandoned = true;
    co_return runtime::Unexpected{ready ? runtime::Error::from_errno(EIO) : ready.error()};
  }
  co_return std::move(question->answer);
}

bool look_up_abandoned() noexcept {
  return is_abandoned;
}

}  // namespace corelane::tools
