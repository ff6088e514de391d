"""Goal: the totals that tools/test prints are true: each case counts once, and what went wrong never counts as passed.
Method: records as Meson writes them, one per way to end, are given to the real program."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402

PROGRAM = ROOT / 'tools' / 'test_report.py'


ENDS = {'OK': '       OK ', 'FAILED': '  FAILED  ', 'SKIPPED': '  SKIPPED '}


def gtest(*cases, summary=True):
    """gtest's output for (name, end) pairs; the end None is a case that never ended."""
    lines = [f'[==========] Running {len(cases)} tests from 1 test suite.']
    for name, end in cases:
        lines.append(f'[ RUN      ] {name}')
        lines.append(f'output of {name}')
        if end:
            lines.append(f'[{ENDS[end]}] {name} (0 ms)')
    if summary:
        lines.append(f'[==========] {len(cases)} tests from 1 test suite ran. (0 ms total)')
        lines += [f'[  FAILED  ] {name}' for name, end in cases if end == 'FAILED']
    return '\n'.join(lines) + '\n'


def record(stdout='', result='OK', code=0, kind='exitcode', stderr=''):
    return {'name': f'corelane:unit / {kind}', 'stdout': stdout, 'result': result, 'duration': 0.1,
            'returncode': code, 'command': ['./program'], 'stderr': stderr}


class Totals(unittest.TestCase):

    def report(self, *records, status=0, listed=True):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, 'meson-logs', 'testlog.json')
            log.parent.mkdir()
            listing = pathlib.Path(folder, 'meson-info', 'intro-tests.json')
            listing.parent.mkdir()
            if listed:
                listing.write_text(json.dumps([{'name': kind, 'protocol': kind}
                                               for kind in ('gtest', 'tap', 'exitcode')]), encoding='utf-8')
            if records:
                log.write_text(''.join(json.dumps(line) + '\n' for line in records), encoding='utf-8')
            run = subprocess.run([sys.executable, PROGRAM, log, '--runner-status', str(status)],
                                 capture_output=True, text=True, check=False)
        self.assertEqual(run.stderr, '')
        last = run.stdout.splitlines()[-1]
        self.assertEqual(run.returncode, 0 if ' 0 failed' in last else 1)
        return last, run.stdout

    def test_gtest_cases_count_one_by_one(self):
        last, out = self.report(
            record(gtest(('A.one', 'OK'), ('A.two', 'OK')), kind='gtest'),
            record(gtest(('A.three', 'OK'), ('A.four', 'FAILED'), ('A.five', 'SKIPPED')), 'FAIL', 1, 'gtest'),
            status=1)
        self.assertEqual(last, '3 passed, 1 failed, 1 skipped')
        self.assertIn('output of A.four', out)
        self.assertNotIn('output of A.three', out)

    def test_value_parameterised_and_typed_names_count(self):
        stdout = ('[ RUN      ] All/Sizes.hold/0\n[       OK ] All/Sizes.hold/0 (0 ms)\n'
                  '[ RUN      ] All/Sizes.hold/1\n'
                  '[  FAILED  ] All/Sizes.hold/1, where GetParam() = 4 (0 ms)\n'
                  '[ RUN      ] Typed/0.holds\nprogress without an end of line[       OK ] Typed/0.holds (0 ms)\n')
        self.assertEqual(self.report(record(stdout, 'FAIL', 1, 'gtest'), status=1)[0], '2 passed, 1 failed')

    def test_a_crash_is_one_failure_beside_what_passed_before_it(self):
        last, out = self.report(
            record(gtest(('A.one', 'OK'), ('A.two', None), summary=False), 'FAIL', -11, 'gtest', 'a trace'),
            status=1)
        self.assertEqual(last, '1 passed, 1 failed')
        self.assertIn('A.two: never ended: killed by signal 11', out)
        self.assertIn('a trace', out)

    def test_a_crash_before_the_first_case_is_one_failure(self):
        self.assertEqual(self.report(record('', 'FAIL', -6, 'gtest'), status=1)[0], '0 passed, 1 failed')

    def test_a_time_out_is_a_failure(self):
        self.assertEqual(self.report(record(gtest(('A.one', None), summary=False), 'TIMEOUT', -9, 'gtest'),
                                     status=1)[0], '0 passed, 1 failed')
        self.assertEqual(self.report(record('', 'TIMEOUT', -9), status=1)[0], '0 passed, 1 failed')

    def test_a_bad_end_after_good_cases_is_a_failure(self):
        self.assertEqual(self.report(record(gtest(('A.one', 'OK')), 'FAIL', 23, 'gtest', 'leak'), status=1)[0],
                         '1 passed, 1 failed')

    def test_a_gtest_executable_that_ran_nothing_is_a_failure(self):
        self.assertEqual(self.report(record(gtest(), kind='gtest'))[0], '0 passed, 1 failed')

    def test_a_gtest_executable_whose_output_is_gone_is_a_failure(self):
        self.assertEqual(self.report(record('', kind='gtest'))[0], '0 passed, 1 failed')

    def test_without_the_list_of_tests_the_output_tells_the_protocol(self):
        self.assertEqual(self.report(record(gtest(('A.one', 'OK'), ('A.two', 'OK'))),
                                     record('TAP version 13\n1..2\nok 1\nok 2\n'), record('x'),
                                     listed=False)[0], '5 passed, 0 failed')

    def test_the_report_counts_a_real_gtest_program(self):
        # Guards against made-up records: what gtest prints, and what Meson logs of it.
        program = sys.argv[1] if len(sys.argv) > 1 else ''
        if not program:
            self.skipTest('no gtest program was given')
        run = subprocess.run([program], capture_output=True, text=True, check=False)
        listed = subprocess.run([program, '--gtest_list_tests'], capture_output=True, text=True, check=False)
        cases = sum(line.startswith('  ') and not line.startswith('  DISABLED_') for line in listed.stdout.splitlines())
        self.assertGreater(cases, 1)
        for listing in (True, False):
            self.assertEqual(self.report(record(run.stdout, kind='gtest'), listed=listing)[0],
                             f'{cases} passed, 0 failed')

    def test_a_gtest_case_that_its_output_hides_is_a_failure(self):
        stdout = gtest(('A.one', 'OK')).replace('1 tests from', '2 tests from')
        self.assertEqual(self.report(record(stdout, kind='gtest'))[0], '1 passed, 1 failed')

    def test_tap_lines_count_one_by_one(self):
        stdout = 'TAP version 13\n1..3\nok 1 - a\nnot ok 2 - b\n# why b\nok 3 - c # SKIP no kernel feature\n'
        last, out = self.report(record(stdout, 'FAIL', 1, 'tap'), status=1)
        self.assertEqual(last, '1 passed, 1 failed, 1 skipped')
        self.assertIn('# why b', out)

    def test_tap_that_stops_before_its_plan_is_a_failure(self):
        for stdout in ('TAP version 13\n1..3\nok 1 - a\n', 'TAP version 13\nok 1 - a\n', 'TAP version 13\n'):
            with self.subTest(stdout=stdout):
                last = self.report(record(stdout, 'ERROR', 1, 'tap'), status=1)[0]
                self.assertEqual(last, f'{stdout.count("ok 1")} passed, 1 failed')

    def test_any_other_executable_is_one_case(self):
        self.assertEqual(self.report(record(), record('1..2 is a range\n'), record('', 'SKIP', 77))[0],
                         '2 passed, 0 failed, 1 skipped')
        self.assertEqual(self.report(record('x', 'FAIL', 3), status=1)[0], '0 passed, 1 failed')

    def test_a_build_that_failed_is_a_failure(self):
        self.assertEqual(self.report(status=1)[0], '0 passed, 1 failed')
        self.assertEqual(self.report(record(), status=2)[0], '1 passed, 1 failed')


if __name__ == '__main__':
    tap.main()
