"""Goal: no two tests share a name. Method: Meson's own list is searched. gtest writes its report into NAME.xml, so two
tests of one name that run at once would read each other's half-written file."""

import collections
import json
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402


def problems(tests):
    """What is wrong with the names of tests, as Meson's introspection lists them."""
    count = collections.Counter(test['name'] for test in tests)
    yield from (f'{number} tests are named "{name}"' for name, number in count.items() if number > 1)
    yield from (f'"{name}" must not contain a slash' for name in count if '/' in name)


class Names(unittest.TestCase):

    def test_names_of_tests_are_unique_and_fit_a_file(self):
        listing = pathlib.Path(sys.argv[1], 'meson-info', 'intro-tests.json')
        self.assertEqual(list(problems(json.loads(listing.read_text(encoding='utf-8')))), [])

    def test_a_name_used_twice_and_a_slash_are_found(self):
        self.assertEqual(list(problems([{'name': 'a'}, {'name': 'b'}, {'name': 'a'}, {'name': 'c/d'}])),
                         ['2 tests are named "a"', '"c/d" must not contain a slash'])


if __name__ == '__main__':
    tap.main()
