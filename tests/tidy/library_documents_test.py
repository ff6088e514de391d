"""The documents for users of the library.

Goal: what they name is there. Method: the Markdown files of tools/docs: links and their anchors, the line counts of the
cookbook, and the tests that the comparison names.
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402

DOCUMENTS = ROOT / 'tools/docs'
GTEST = re.compile(r'^(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)', re.MULTILINE)


def lines_of_code(text):
    """Lines that are neither blank nor a comment."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith('//'))


def anchors(text):
    """The anchors of the headings, as GitHub makes them."""
    for heading in re.findall(r'^#+ (.*)$', text, re.MULTILINE):
        yield re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def broken_links(path, text):
    for target in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'```.*?```', '', text, flags=re.DOTALL)):
        if re.match(r'\w+:', target):
            continue
        file, _, anchor = target.partition('#')
        there = (path.parent / file).resolve() if file else path
        if not there.exists():
            yield f'{path.name}: there is no {target}'
        elif anchor and anchor not in anchors(there.read_text(encoding='utf-8')):
            yield f'{path.name}: {target}: no such heading'


def tests_there():
    """(file from tests/ on, name) of each test, and the names of each file's tests of Python as well."""
    for path in sorted((ROOT / 'tests').rglob('*')):
        relative = path.relative_to(ROOT / 'tests').as_posix()
        if path.suffix == '.cpp':
            for suite, name in GTEST.findall(path.read_text(encoding='utf-8')):
                yield relative, f'{suite}.{name}'
        elif path.name.endswith('_test.py'):
            for name in re.findall(r'^    def (test_\w+)', path.read_text(encoding='utf-8'), re.MULTILINE):
                yield relative, name


def features(text):
    """(feature, our mark, the column of tests, the others' marks) of each row of the comparison."""
    for row in re.findall(r'^\|(.*)\|$', text, re.MULTILINE):
        cells = [cell.strip() for cell in row.split('|')]
        if len(cells) == 9 and cells[1] in '+~-?' and cells[1]:
            yield cells[0], cells[1], cells[2], cells[3:]


class LibraryDocuments(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for path in sorted(DOCUMENTS.glob('*.md')):
            self.assertEqual(list(broken_links(path, path.read_text(encoding='utf-8'))), [])

    def test_the_cookbook_counts_lines_right(self):
        text = (DOCUMENTS / 'cookbook.md').read_text(encoding='utf-8')
        ours = re.findall(r'^\| \[\w+\]\((\S+)\) \|[^|]*\| (\d+) \|', text, re.MULTILINE)
        others = [(path, count) for count, path in re.findall(r'\[(\d+)\]\((\S+)\)', text)]
        listen = re.findall(r'\[asio_listen\.hpp\]\((\S+)\) \((\d+) lines\)', text)
        self.assertGreaterEqual(len(ours), 8)
        self.assertEqual((len(others), len(listen)), (4, 1))
        for path, count in ours + others + listen:
            self.assertEqual(int(count), lines_of_code((DOCUMENTS / path).read_text(encoding='utf-8')), path)

    def test_the_comparison_names_a_test_that_is_there_for_each_of_our_features(self):
        rows = list(features((DOCUMENTS / 'comparison.md').read_text(encoding='utf-8')))
        self.assertGreaterEqual(len(rows), 30)
        there = set(tests_there())
        files = {path.relative_to(ROOT / 'tests').as_posix() for path in (ROOT / 'tests').rglob('*_test.*')}
        for feature, mark, shown_by, others in rows:
            with self.subTest(feature):
                self.assertTrue(set(others) <= set('+~-?'))
                if mark == '-':
                    self.assertEqual(shown_by, '')
                    continue
                file, _, name = shown_by.strip('`').partition(': ')
                self.assertIn(file, files)
                if name:
                    self.assertIn((file, name), there)

    def test_broken_links_and_lines_are_found(self):
        links = '[a](nowhere.md) [b](library.md#install) [c](library.md#no)'
        self.assertEqual(list(broken_links(DOCUMENTS / 'a.md', links)), ['a.md: there is no nowhere.md',
                                                                        'a.md: library.md#no: no such heading'])
        self.assertEqual(lines_of_code('int a;\n\n  // no\nint b;  // yes\n'), 2)


if __name__ == '__main__':
    tap.main()
