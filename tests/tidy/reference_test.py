"""The reference of the public headers.

Goal: Doxygen makes it without a warning, and what the comments say stands in it. Method: tools/docs/reference.py into a
temporary folder; the text of some pages. Without Doxygen this skips.
"""

import html
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / 'tools/docs'))
from tests.support import tap  # noqa: E402
import reference               # noqa: E402

# (page, what stands on it)
PAGES = [
    ('classcorelane_1_1net_1_1TcpStream.html', 'Half-closes: the peer reads everything, then the end; this side reads'),
    ('classcorelane_1_1net_1_1TcpStream.html', 'The same for a line, without its "\\n" or "\\r\\n".'),
    ('classcorelane_1_1runtime_1_1TaskGroup.html', 'A group must be joined before it is destroyed; nothing runs'),
    ('task__group_8hpp.html', 'group.spawn( "session", serve_session, std::move(socket), limits);'),
    ('structcorelane_1_1net_1_1Network_1_1Counters.html', 'receives that found no buffer'),
]
PATH = re.compile(r'(?<![\w/.])(?:runtime|net|ws|services|protocol|tests|tools)/[\w/]+\.(?:hpp|cpp|md|py|toml)\b')


def words(page):
    text = re.sub(r'<script.*?</script>|<[^>]+>', ' ', page, flags=re.DOTALL)
    return re.sub(r'\s+([,.;:)])', r'\1', re.sub(r'\s+', ' ', html.unescape(text)))


class Reference(unittest.TestCase):
    @unittest.skipUnless(shutil.which('doxygen'), 'no doxygen (Debian: doxygen)')
    def test_it_is_made_without_a_warning_and_says_what_the_comments_say(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(reference.write_reference(pathlib.Path(folder), reference.public_headers()), '')
            for page, text in PAGES:
                self.assertIn(text, words((pathlib.Path(folder) / 'html' / page).read_text(encoding='utf-8')), page)

    @unittest.skipUnless(shutil.which('doxygen'), 'no doxygen (Debian: doxygen)')
    def test_a_broken_reference_is_a_problem(self):
        with tempfile.TemporaryDirectory() as folder:
            page = '/** \\mainpage\nSee \\ref nowhere.hpp. */\n'
            problems = reference.write_reference(pathlib.Path(folder), [], page)
            self.assertIn("unable to resolve reference to 'nowhere.hpp'", problems)

    def test_each_public_header_begins_with_what_it_is_and_names_files_that_are_there(self):
        names = list(reference.public_headers())
        self.assertGreater(len(names), 50)
        for name in names:
            text = (ROOT / name).read_text(encoding='utf-8')
            self.assertIn('/// \\file\n/// ', reference.documented(text, name), name)
            comments = '\n'.join(re.findall(r'//.*', text))
            self.assertEqual([path for path in PATH.findall(comments) if not (ROOT / path).exists()], [], name)

    def test_comments_of_declarations_are_taken_and_others_are_not(self):
        header = '''#pragma once
// Head.
namespace a {
// --- Part

// Of f: <1>.
int f();
class B {
 public:
  // Of g.
  void g() {
    // Within.
    h();  // behind
  }
  int x = 0;  // of x
};
}  // namespace a
'''
        taken = [line.strip() for line in reference.documented(header, 'a.hpp').split('\n') if '///' in line]
        self.assertEqual(taken, ['/// \\file', '/// Head.', '/// Of f: \\<1\\>.', '///',
                                 '/// See \\ref corelane/a.hpp.', '/// Of g.', 'int x = 0;  ///< of x'])


if __name__ == '__main__':
    tap.main()
