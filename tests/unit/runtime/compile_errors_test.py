#!/usr/bin/env python3
"""Goal: mistakes with the runtime's coroutines are refused at compile time, in few lines that name the remedy, and code
that looks like one of them compiles. Method: each snippet is the body of a coroutine in a file of its own.

    compile_errors_test.py ROOT COMPILER...
"""

import subprocess
import sys

PROLOGUE = '''
#include <vector>
#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/generator.hpp"
#include "runtime/task_group.hpp"
#include "runtime/this_task.hpp"
using namespace corelane::runtime;
[[maybe_unused]] static Task<int> number() { co_return 1; }
[[maybe_unused]] static Task<void> nothing(int) { co_return; }
'''
LINES_MAX = 30

# (what, the coroutine's type, its body, a part of the message or None if it compiles)
CASES = [
    ('an error is returned as it is, a named task is awaited, tasks are collected', 'Result<int>',
     'Error error{}; std::vector<Task<int>> all; all.push_back(number()); auto task = number();'
     'if (const int n = co_await task; n > co_await all[0]) co_return error; co_return ErrorCode::closed;', None),
    ('a spawned function that returns a value', 'void',
     'TaskGroup group("group"); group.spawn("n", number); co_return;',
     'a spawned function returns Task<void>'),
    ('a spawned lambda with captures', 'void',
     'TaskGroup group("group"); int n = 0; group.spawn("n", [&n]() -> Task<void> { ++n; co_return; }); co_return;',
     'a lambda without captures'),
    ('arguments that do not fit', 'void', 'TaskGroup group("group"); group.spawn("n", nothing, "text"); co_return;',
     'cannot be called with these arguments'),
    ('a duration without a unit', 'void', 'co_await sleep_for(10);', 'deleted'),
    ('something that cannot be awaited', 'void', 'co_await when_all(number(), 5); co_return;', 'AwaitableAndMoved'),
    ('something with a deadline that cannot be awaited', 'void', 'co_await with_timeout(kSecond, 5); co_return;',
     'Awaitable'),
    ('a registration in a generator', 'void',
     'auto source = []() -> AsyncGenerator<int> { const auto told = co_await this_task::on_cancel([] {});'
     'co_yield 1; }(); co_await source.next();', 'a generator has another scope in each next()'),
    ('a generator that asks for its name', 'void',
     'auto source = []() -> AsyncGenerator<const char*> { co_yield co_await this_task::name(); }();'
     'co_await source.next();', None),
]


def compile_body(compiler, root, kind, body):
    text = f'{PROLOGUE}Task<{kind}> body();\nTask<{kind}> body() {{ {body} }}\n'
    command = [*compiler, '-std=c++20', '-fsyntax-only', '-fdiagnostics-color=never', '-I', root, '-x', 'c++', '-']
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def main():
    root, *compiler = sys.argv[1:]
    compiler = [word for word in compiler if not word.endswith('ccache')]
    failures = 0
    for what, kind, body, message in CASES:
        done = compile_body(compiler, root, kind, body)
        lines = done.stderr.splitlines()
        if message is None:
            problem = '' if done.returncode == 0 else 'it does not compile'
        elif done.returncode == 0:
            problem = 'it compiles'
        elif message not in done.stderr:
            problem = f'no "{message}" in the message'
        elif len(lines) > LINES_MAX:
            problem = f'{len(lines)} lines'
        else:
            problem = ''
        if problem:
            failures += 1
            print(f'{what}: {problem}\n' + '\n'.join(lines[:40]))
    print(f'{len(CASES)} snippets, {failures} failed')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
