"""Goal: a test that fails and ends costs no time, and one that fails and hangs ends soon, with its name. Method: a test
program with cases that are disabled but here."""

import os
import pathlib
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402


def run(name, **environment):
    begin = time.monotonic()
    selected = f'--gtest_filter=Liveness.DISABLED_{name}'
    result = subprocess.run([sys.argv[1], '--gtest_also_run_disabled_tests', selected],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                            env=os.environ | environment, timeout=120)
    return result, time.monotonic() - begin


class Liveness(unittest.TestCase):

    def test_a_test_that_fails_and_ends_is_not_waited_for(self):
        result, seconds = run('FailsTwice', CORELANE_TEST_DEADLINE='100')
        self.assertEqual(result.returncode, 1)
        self.assertNotIn('it hangs', result.stdout)
        self.assertLess(seconds, 50)

    def test_one_that_fails_and_does_not_end_is_aborted_soon(self):
        result, seconds = run('FailsAndHangs', CORELANE_TEST_DEADLINE='100')
        self.assertLess(result.returncode, 0)
        self.assertIn('DISABLED_FailsAndHangs has failed, and not ended for', result.stdout)
        self.assertLess(seconds, 90)

    def test_one_that_does_not_end_is_aborted_at_its_deadline(self):
        result, _ = run('Hangs', CORELANE_TEST_DEADLINE='1')
        self.assertLess(result.returncode, 0)
        self.assertIn('DISABLED_Hangs has not ended for 1 s', result.stdout)


if __name__ == '__main__':
    tap.main()
