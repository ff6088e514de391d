"""Goal: every entry of tests/mutations still fits the tree: its text is there exactly once, and the tests that it names
exist. Method: the catalogue's own check, over the tree as it is and over entries with one fault each."""

import dataclasses
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT))
from tests.mutations import catalogue  # noqa: E402
from tests.support import tap  # noqa: E402


class Mutations(unittest.TestCase):

    def test_every_entry_fits_the_tree(self):
        self.assertEqual(list(catalogue.problems(catalogue.read())), [])

    def test_there_are_as_many_as_promised(self):
        self.assertGreaterEqual(sum(not mutation.equivalent for mutation in catalogue.read()), 60)

    def test_each_fault_of_an_entry_is_found(self):
        good = catalogue.read()[0]
        for change, problem in (
                ({'file': 'runtime/nothing.cpp'}, 'there is no file'),
                ({'old': 'text that no file holds'}, 'its old text is 0 times'),
                ({'old': 'core'}, 'not once'),
                ({'old': ''}, 'its old text is 0 times'),
                ({'new': good.old}, 'it changes nothing'),
                ({'tests': ()}, 'no test is named'),
                ({'tests': (('unit_nothing', ''),)}, 'an executable unit_nothing'),
                ({'tests': ((good.tests[0][0], 'No.Such*'),)}, 'no test fits')):
            with self.subTest(change=change):
                found = list(catalogue.problems([dataclasses.replace(good, **change)]))
                self.assertTrue(any(problem in each for each in found), found)
        self.assertTrue(any('used twice' in each for each in catalogue.problems([good, good])))

    def test_a_filter_has_to_select_something_with_each_of_its_parts(self):
        names = {'Lanes.Wake', 'Lanes.Sleep'}
        self.assertTrue(catalogue.filter_fits('Lanes.*:Lanes.Wake', names))
        self.assertFalse(catalogue.filter_fits('Lanes.*:Rings.*', names))


if __name__ == '__main__':
    tap.main()
