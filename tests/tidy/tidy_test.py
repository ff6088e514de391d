"""Goal: each rule of tools/tidy.py can fail, names the place, and leaves correct code alone. Method: small trees in
temporary folders hold one planted violation beside its correct twin."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402
from tools import tidy  # noqa: E402

PROGRAM = ROOT / 'tools' / 'tidy.py'


class Planted(unittest.TestCase):
    """Runs one rule over a tree given as {path: text}."""

    def findings(self, rule, files):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in files.items():
                target = pathlib.Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text.encode())
            tree = tidy.Tree(folder)
            return [f'{path}:{line}: {message}' for path, line, message in getattr(tidy, rule)(tree)]

    def check(self, rule, bad, good=None):
        """`bad` maps path to (text, lines found); `good` maps path to text that must pass beside it."""
        files = {path: text for path, (text, _) in bad.items()} | (good or {})
        expected = sorted(f'{path}:{line}' for path, (_, lines) in bad.items() for line in lines)
        found = self.findings(rule, files)
        self.assertEqual(sorted(':'.join(line.split(':')[:2]) for line in found), expected,
                         '\n'.join(found))
        return found

    def test_every_rule_has_a_planted_violation_here(self):
        for rule in tidy.RULES:
            self.assertTrue(any(name.startswith(f'test_{rule.__name__}') for name in dir(self)), rule)

    def test_include_direction(self):
        self.check('include_direction', {
            'runtime/a.hpp': ('#include "net/a.hpp"\n', [1]),
            'net/a.hpp': ('#include "runtime/a.hpp"\n#include "ws/a.hpp"\n', [2]),
            'net/http/a.hpp': ('#include "net/a.hpp"\n#include "net/http/b.hpp"\n', [1]),
            'ws/a.hpp': ('#include "net/a.hpp"\n#include "services/a.hpp"\n#include "protocol/a.hpp"\n', [2, 3]),
            'protocol/a.hpp': ('#include <vector>\n#include "runtime/a.hpp"\n', [2]),
            'services/a.hpp': ('#include "ws/a.hpp"\n#include "tools/a.hpp"\n', [2]),
            'perf/a.cpp': ('#include "services/a.hpp"\n#include "tests/a.hpp"\n', [2]),
        }, {'net/http/server.hpp': '#include "net/a.hpp"\n', 'net/http/client_pool.hpp': '#include "net/a.hpp"\n',
            'tests/a.cpp': '#include "tools/a.hpp"\n#include "runtime/a.hpp"\n',
            'tools/a.hpp': '#include "services/a.hpp"\n'})

    def test_include_direction_sees_angle_brackets_too(self):
        self.check('include_direction', {'runtime/a.hpp': ('#include <net/a.hpp>\n', [1])})

    def test_service_surface(self):
        self.check('service_surface', {
            'services/cache/cache.cpp': ('#include "services/cache/table.hpp"\n'
                                         '#include "services/pubsub/pubsub.hpp"\n'
                                         '#include "services/pubsub/messages.hpp"\n'
                                         '#include "services/limits.hpp"\n'
                                         '#include "services/pubsub/table.hpp"\n', [5]),
        }, {'services/node.cpp': '#include "services/pubsub/table.hpp"\n'})

    def test_rooted_includes(self):
        found = self.check('rooted_includes', {
            'ws/a.cpp': ('#include "a.hpp"\n#include "../ws/a.hpp"\n#include <ws/a.hpp>\n#include "ws/a.hpp"\n'
                         '#include "protocol/schema_generated.h"\n#include <vector>\n', [1, 2, 3]),
        }, {'ws/a.hpp': '', 'tools/examples/a.cpp': '#include <framework.hpp>\n#include "a.hpp"\n'})
        self.assertIn('write #include "ws/a.hpp"', '\n'.join(found))

    def test_banned_call_in_every_folder(self):
        for call in ('int x = rand();', 'srand(1);', 'std::random_device device;', 'auto t = time(nullptr);',
                     'auto t = std::chrono::steady_clock::now();', 'clock_gettime(CLOCK_MONOTONIC, &t);',
                     'std::this_thread::sleep_for(1ms);', 'usleep(5);', 'std::format("{}", 1);',
                     '#include <format>', 'std::expected<int, int> x;', 'strcpy(a, b);', 'sprintf(a, b);',
                     'int x = atoi(text);', 'out << std::endl;', '#if 0', 'std::atomic_thread_fence(order);'):
            for folder in ('services', 'tests', 'tools', 'perf'):
                with self.subTest(call=call, folder=folder):
                    self.check('banned_call', {f'{folder}/a.cpp': (f'\n{call}\n', [2])})

    def test_banned_call_in_the_server_folders(self):
        for call in ('std::mutex lock;', 'std::lock_guard guard(lock);', 'std::condition_variable wake;',
                     'std::shared_ptr<int> x;', 'auto x = std::make_shared<int>();', '#include <iostream>',
                     'std::cout << 1;', 'std::regex x;',
                     'auto x = *reinterpret_cast<const uint32_t*>(bytes);',
                     'auto x = *reinterpret_cast<std::uint16_t const*>(bytes);'):
            for folder in tidy.SERVER_FOLDERS:
                with self.subTest(call=call, folder=folder):
                    self.check('banned_call', {f'{folder}/a.cpp': (f'\n{call}\n', [2])},
                               {'tests/a.cpp': call + '\n'})

    def test_banned_call_has_places_where_each_is_at_home(self):
        self.check('banned_call', {
            'net/a.cpp': ('std::thread worker;\nstd::atomic<int> count;\nassert(count);\n', [1, 2, 3]),
            'perf/a.cpp': ('std::jthread worker;\n', [1]),
            'protocol/a.cpp': ('assert(true);\n', [1]),
        }, {'runtime/a.cpp': 'std::thread worker;\nstd::atomic<int> count;\n'
                             'auto now = std::chrono::steady_clock::now();\n',
            'tests/a.cpp': 'std::thread worker;\n',
            'services/metrics/a.cpp': 'std::atomic<int> count;\n'})

    def test_banned_call_leaves_look_alikes_alone(self):
        self.check('banned_call', {}, {'services/a.cpp': (
            '// rand() and time(nullptr) in prose\n'
            '/* std::mutex\n   std::format( */\n'
            'auto text = "strcpy(";\n'
            'auto raw = R"x(std::mutex " rand() )x";\n'
            'auto n = 1\'000\'000; char quote = \'"\'; auto after = "rand()";\n'
            'static_assert(true);\n'
            'timer.time(now); operand(1); co_await runtime::sleep_for(5ms); fmt::format("{}", 1);\n'
            'auto cores = std::thread::hardware_concurrency();\n'
            'auto lanes = reinterpret_cast<const __m256i*>(bytes);\n')})

    def test_banned_call_is_allowed_by_a_comment_that_says_why(self):
        self.check('banned_call', {
            'net/c.cpp': ('// tidy: allow banned_call:\nint x = rand();\n', [2]),
            'net/d.cpp': ('// tidy: allow columns: another rule\nint x = rand();\n', [2]),
            'net/e.cpp': ('int y;  // tidy: allow banned_call: for that line alone\nint x = rand();\n', [2]),
        }, {
            'net/a.cpp': 'int x = rand();  // tidy: allow banned_call: a reason\n',
            'net/b.cpp': '// tidy: allow banned_call: a reason\nint x = rand();\n',
        })

    def test_leftover(self):
        todo, fixme = 'TO' + 'DO', 'FIX' + 'ME'
        self.check('leftover', {
            'net/a.cpp': (f'// {fixme}\n// {todo}: later\n// {todo}(#12): when the kernel has it\n'
                          f'// {todo}(name): x\n', [1, 2, 4]),
            'meson.build': (f'# {fixme} this\n', [1]),
        })

    def test_pragma_once(self):
        self.check('pragma_once', {
            'net/a.hpp': ('// Head.\n#include <vector>\n#pragma once\n', [1]),
            'net/b.hpp': ('', [1]),
        }, {'net/c.hpp': '// Head, two lines,\n// and a word on #pragma twice.\n#pragma once\nint x;\n',
            'net/c.cpp': 'int x;\n'})

    def test_growth_of_files(self):
        self.check('growth', {'net/a.cpp': ('int x;\n' * 601, [1])}, {'net/b.cpp': 'int x;\n' * 600})

    def test_growth_of_functions(self):
        def function(lines, head='int f(int x)'):
            return f'{head} {{\n' + '  ++x;\n' * (lines - 2) + '}\n'

        method = 'class C {\n public:\n' + function(81, '  int f(int x) const') + '};\n'
        nested = 'namespace a {\n' + function(81, 'template <class T>\nint C<T>::f(int x)')
        lambda_body = 'int f(int x) {\n  auto g = [&](int y) {\n' + '    ++x;\n' * 80 + '  };\n}\n'
        self.check('growth', {
            'net/a.cpp': (function(81), [1]),
            'net/b.hpp': (method, [3]),
            'net/c.cpp': (nested + '}\n', [2]),
            'net/d.cpp': (lambda_body, [1]),
            'tests/e_test.cpp': (function(121, 'TEST(A, b)'), [1]),
        }, {
            'net/f.cpp': function(80) + function(80) + 'constexpr int kTable[] = {\n' + '  1,\n' * 200 + '};\n',
            'net/g.cpp': 'enum class Code : int {\n' + '  a,\n' * 200 + '};\n',
            'net/h.hpp': 'class C {\n' + '  int f() { return 1; }\n' * 100 + '};\n',
            'tests/g_test.cpp': function(120, 'TEST(A, b)'),
        })

    def test_growth_lets_the_recorded_shrink_only(self):
        long_file = 'int x;\n' * 650
        for size, place in ((650, None), (649, 'net/a.cpp:1'), (651, f'{tidy.RATCHET}:2')):
            with self.subTest(recorded=size):
                found = self.findings('growth', {'net/a.cpp': long_file,
                                                 tidy.RATCHET: f'# head\n{size} net/a.cpp\n'})
                self.assertEqual([line.startswith(place) for line in found], [True] if place else [])
        found = self.findings('growth', {'net/b.cpp': '', tidy.RATCHET: '700 net/a.cpp\n'})
        self.assertIn('is gone', found[0])

    def test_columns(self):
        self.check('columns', {
            'net/a.cpp': ('/' * 100 + '\n' + '/' * 101 + '\n', [2]),
            'tools/a.py': ('#' * 120 + '\n' + '#' * 121 + '\n', [2]),
        }, {'README.md': 'x' * 300 + '\n', 'net/b.cpp': '// https://' + 'x' * 200 + '\n',
            'net/c.cpp': 'é' * 100 + '\n'})

    def test_text_form(self):
        self.check('text_form', {
            'net/a.cpp': ('int x;', [1]),
            'net/b.cpp': ('int x;\n\n', [2]),
            'net/c.cpp': ('int x; \nint y;\r\n\tint z;\n', [1, 2, 3]),
        }, {'net/d.cpp': 'int x;\n', 'net/meson.build': '\n', 'notes.md': 'a break  \n\tb\n'})

    def test_folder_readme(self):
        self.check('folder_readme', {}, {'net/README.md': '# net\n', 'net/a.cpp': ''})
        found = self.findings('folder_readme', {'net/a.cpp': '', 'README.md': ''})
        self.assertEqual([line.split(':')[0] for line in found], ['net/README.md'])

    def test_machine_path(self):
        place = '/' + 'work' + '/'
        self.check('machine_path', {
            'tools/a.sh': (f'cd {place}main\n', [1]),
            'README.md': (f'see `{place}x`\n', [1]),
        }, {'tools/b.sh': 'cd "$here/' + 'work' + '/x" && ls ./home/x && ls frame/' + 'work/y\n'})

    def test_the_program_reports_each_rule_in_tap_and_fails_if_one_does(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, 'net').mkdir()
            pathlib.Path(folder, 'net', 'a.hpp').write_text('int x;\n', encoding='utf-8')
            command = [sys.executable, PROGRAM, '--root', folder]
            both = subprocess.run(command + ['pragma_once', 'columns'], capture_output=True, text=True,
                                  check=False)
            good = subprocess.run(command + ['columns'], capture_output=True, text=True, check=False)
        self.assertEqual(both.stdout.splitlines(), [
            'TAP version 13', '1..2', 'not ok 1 - pragma_once',
            '# net/a.hpp:1: the first line of code must be #pragma once', 'ok 2 - columns'])
        self.assertEqual(both.returncode, 1)
        self.assertEqual(good.returncode, 0)

    def test_an_unknown_rule_is_an_error(self):
        run = subprocess.run([sys.executable, PROGRAM, 'no_such_rule'], capture_output=True, text=True,
                             check=False)
        self.assertEqual(run.returncode, 2)
        self.assertIn('no_such_rule', run.stderr)


if __name__ == '__main__':
    tap.main()
