#pragma once
// Passing errors up in one line.
//
//   Task<Result<std::size_t>> copy(std::string from, std::string to) {
//     RT_TRY(File source, co_await File::open(from, O_RDONLY));
//     RT_TRY_VOID(co_await source.sync());
//     ...
//
// RT_TRY(declaration, expression) evaluates an expression that gives a Result; if it holds an
// error, the coroutine ends with it, else the declaration gets the value, which is moved out of an
// rvalue. RT_TRY_VOID(expression) is for a Result whose value is of no interest. Both stand in a
// block, as statements. In a function that is no coroutine: RT_TRY_RETURN, RT_TRY_RETURN_VOID.
//
// A declaration has no comma: give std::pair<int, int> a name by `using`, or write `auto`.
//
// Clean-up on the way out is left to destructors: a local File closes in the background. A group is
// no such thing: an RT_TRY between the spawn() and the join() of a TaskGroup or a ResultGroup ends
// the process when it fails, for the group is left with running tasks. Use in_group(), which joins.

#include <utility>

#include "runtime/result.hpp"

#define RT_TRY_CONCATENATED(left, right) left##right
#define RT_TRY_NAME_AT(line) RT_TRY_CONCATENATED(rt_try_result_, line)
#define RT_TRY_NAME RT_TRY_NAME_AT(__LINE__)

// The result is named in a statement of its own: g++ 12 mistakes a co_await in a condition
// (runtime/task.hpp).
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration, a keyword and a name take none
#define RT_TRY_VOID_BY(leave, name, ...)    \
  auto&& name = (__VA_ARGS__);              \
  if (!name) [[unlikely]]                   \
    leave ::corelane::runtime::Unexpected { \
      name.error()                          \
    }
#define RT_TRY_BY(leave, declaration, name, ...) \
  RT_TRY_VOID_BY(leave, name, __VA_ARGS__);      \
  declaration = *std::forward<decltype(name)>(name)
// NOLINTEND(bugprone-macro-parentheses)

#define RT_TRY(declaration, ...) RT_TRY_BY(co_return, declaration, RT_TRY_NAME, __VA_ARGS__)
#define RT_TRY_VOID(...) RT_TRY_VOID_BY(co_return, RT_TRY_NAME, __VA_ARGS__)
#define RT_TRY_RETURN(declaration, ...) RT_TRY_BY(return, declaration, RT_TRY_NAME, __VA_ARGS__)
#define RT_TRY_RETURN_VOID(...) RT_TRY_VOID_BY(return, RT_TRY_NAME, __VA_ARGS__)
