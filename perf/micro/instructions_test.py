"""Goal: the comparison of instructions fails on what costs more, passes what costs less, and says what to do. Method:
it judges made-up counts, reads made-up dumps, and writes and reads a table in a folder of its own."""

import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..'))
from tests.support import tap  # noqa: E402

import instructions  # noqa: E402


class Judging(unittest.TestCase):
    def verdict(self, recorded, counted):
        (ok, _, remark), = instructions.judge({'a/b': recorded}, {'a/b': counted})
        return ok, remark

    def test_three_percent_more_is_accepted_and_anything_above_fails(self):
        self.assertTrue(self.verdict(100.0, 103.0)[0])
        ok, remark = self.verdict(100.0, 103.1)
        self.assertFalse(ok)
        self.assertIn('+3.1 %', remark)
        self.assertIn('perf/micro/record', remark)

    def test_an_improvement_passes_and_asks_for_recording(self):
        ok, remark = self.verdict(100.0, 90.0)
        self.assertTrue(ok)
        self.assertIn('perf/micro/record', remark)

    def test_no_change_asks_for_nothing(self):
        self.assertNotIn('perf/micro/record', self.verdict(100.0, 99.0)[1])

    def test_one_more_instruction_in_ten_fails(self):
        self.assertFalse(self.verdict(10.0, 11.0)[0])

    def test_a_case_on_one_side_only_fails(self):
        verdicts = list(instructions.judge({'gone': 1.0}, {'new': 1.0}))
        self.assertEqual([(False, 'gone'), (False, 'new')], [verdict[:2] for verdict in verdicts])


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / 'file'

    def test_a_dump_tells_case_operations_and_instructions(self):
        self.path.write_text('# callgrind format\ndesc: Trigger: Client Request: task/call/suspends:1 2000\n\n'
                             'events: Ir\nsummary: 190945\n', encoding='utf-8')
        self.assertEqual(('task/call/suspends:1', 2000, 190945), instructions.read_dump(self.path))

    def test_a_dump_of_anything_else_is_no_case(self):
        self.path.write_text('# callgrind format\ndesc: Trigger: Program termination\nsummary: 1\n', encoding='utf-8')
        self.assertIsNone(instructions.read_dump(self.path))

    def test_what_is_written_is_read_again(self):
        before, instructions.TABLE = instructions.TABLE, self.path
        self.addCleanup(setattr, instructions, 'TABLE', before)
        instructions.write_table('release, clang 19', {'b': 2.0, 'a': 1.25})
        self.assertEqual(('release, clang 19', {'a': 1.25, 'b': 2.0}), instructions.read_table())


class Skipping(unittest.TestCase):
    def test_another_preset_is_skipped_and_named(self):
        self.assertIn('debugoptimized', instructions.why_skip('debugoptimized, clang 19.1.7, lto off'))

    def test_the_recorded_table_names_what_it_holds_for(self):
        recorded, counts = instructions.read_table()
        self.assertTrue(recorded.startswith(instructions.NEEDED_BUILD))
        self.assertGreater(len(counts), 50)


if __name__ == '__main__':
    tap.main()
