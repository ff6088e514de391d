"""Goal: the check that headers compile alone can fail, and takes the flags of the right folder. Method: a small tree
with a compile_commands.json of its own; the real check runs on it."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402

CHECK = ROOT / 'tests' / 'tidy' / 'headers_test.py'
COMPILER = sys.argv[1:] or ['clang++-19']


class HeadersAlone(unittest.TestCase):

    def run_check(self, files, flags):
        """The lines of TAP for a tree {path: text}, and the flags of each source file's folder."""
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            build = root / 'build'
            (build / 'meson-info').mkdir(parents=True)
            (build / 'meson-info' / 'intro-targets.json').write_text('[]', encoding='utf-8')
            commands = []
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding='utf-8')
                if path.endswith('.cpp'):
                    command = [*COMPILER, '-I..', *flags.get(path, []), '-o', 'x.o', '-c', '../' + path]
                    commands.append({'directory': str(build), 'file': '../' + path,
                                     'command': ' '.join(command)})
            (build / 'compile_commands.json').write_text(json.dumps(commands), encoding='utf-8')
            run = subprocess.run([sys.executable, '-B', CHECK, build, '--root', root], text=True,
                                 capture_output=True, check=False)
        self.assertEqual(run.stderr, '')
        lines = [line for line in run.stdout.splitlines() if 'ok ' in line and not line.startswith('#')]
        self.assertEqual(run.returncode, 1 if any(line.startswith('not') for line in lines) else 0)
        return lines

    def test_a_header_that_lacks_an_include_fails_and_its_neighbour_passes(self):
        self.assertEqual(self.run_check({
            'net/a.cpp': '',
            'net/good.hpp': '#pragma once\n#include <vector>\ninline std::vector<int> f() { return {}; }\n',
            'net/lacking.hpp': '#pragma once\ninline std::vector<int> f() { return {}; }\n',
        }, {}), ['ok 1 - net/good.hpp', 'not ok 2 - net/lacking.hpp'])

    def test_a_header_without_a_guard_fails(self):
        self.assertEqual(self.run_check({'net/a.cpp': '', 'net/a.hpp': 'struct A {};\n'}, {}),
                         ['not ok 1 - net/a.hpp'])

    def test_a_header_takes_the_flags_of_its_own_folder(self):
        files = {'net/a.cpp': '', 'net/http/b.cpp': '',
                 'net/a.hpp': '#pragma once\n#ifndef NET\n#error\n#endif\n',
                 'net/http/b.hpp': '#pragma once\n#ifndef HTTP\n#error\n#endif\n'}
        flags = {'net/a.cpp': ['-DNET'], 'net/http/b.cpp': ['-DHTTP']}
        self.assertEqual(self.run_check(files, flags), ['ok 1 - net/a.hpp', 'ok 2 - net/http/b.hpp'])

    def test_a_header_that_a_source_file_includes_first_is_left_to_that(self):
        self.assertEqual(self.run_check({
            'net/a.cpp': '// comment\n#include "net/a.hpp"\n#include "net/b.hpp"\n',
            'net/a.hpp': '#pragma once\n',
            'net/b.hpp': '#pragma once\n',
        }, {}), ['ok 1 - net/b.hpp'])

    def test_a_header_that_no_folder_builds_fails(self):
        self.assertEqual(self.run_check({'net/a.cpp': '', 'ws/a.hpp': '#pragma once\n'}, {}),
                         ['not ok 1 - ws/a.hpp'])


if __name__ == '__main__':
    tap.main()
