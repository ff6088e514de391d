"""Goal: whatever clients do, what the server holds stays within its budget and 64 MiB, and a client that behaves gets
its answers. Method: perf/memory, every case small. Argument: the program."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..'))
from tests.support import tap  # noqa: E402

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else 'build/dev/tools/corelane'
MEMORY = os.path.join(os.path.dirname(__file__), '..', 'memory')


class Memory(unittest.TestCase):

    def stays_within(self, case):
        done = subprocess.run(['/usr/bin/python3', '-B', MEMORY, '--small', '--program', PROGRAM, case],
                              capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f'| {case} |', done.stdout)

    def test_messages_that_are_left_unfinished(self):
        self.stays_within('unfinished')

    def test_clients_that_read_nothing(self):
        self.stays_within('deaf')

    def test_slow_bodies(self):
        self.stays_within('bodies')

    def test_large_publishes_to_another_core(self):
        self.stays_within('publishes')


if __name__ == '__main__':
    tap.main()
