"""A processor that the build is not for.

Goal: every command of the program says which level it needs and ends with 6, before anything that the processor
cannot do. Method: the real program under qemu-user, as an Intel Nehalem (no AVX) and as a Haswell; skipped without
qemu-user, and for a build that a Nehalem is enough for.
"""

import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap   # noqa: E402

PROGRAM, LEVEL = sys.argv[1:3]
QEMU = shutil.which('qemu-x86_64-static') or shutil.which('qemu-x86_64')


def run_on(processor, *words):
    return subprocess.run([QEMU, '-cpu', processor, PROGRAM, *words], capture_output=True, text=True, check=False,
                          timeout=120, stdin=subprocess.DEVNULL)


@unittest.skipIf(QEMU is None, 'qemu-user-static is not installed')
class CpuLevel(unittest.TestCase):

    @unittest.skipIf(LEVEL != 'v3', 'this build is for less than x86-64-v3')
    def test_without_avx2_every_command_says_what_it_needs(self):
        for words in (['doctor'], ['doctor', '--json'], ['serve'], ['version'], []):
            run = run_on('Nehalem', *words)
            self.assertEqual(run.returncode, 6, (words, run))
            self.assertEqual(run.stdout, '')
            self.assertIn('corelane: this build needs an x86-64-v3 processor', run.stderr)
            self.assertIn('this one is x86-64-v2: it lacks', run.stderr)
            self.assertIn(' AVX2 ', run.stderr)
            self.assertIn('-Dcpu_level=v2', run.stderr)

    def test_the_least_processor_that_the_build_is_for_runs_it(self):
        run = run_on('Haswell' if LEVEL == 'v3' else 'Nehalem', 'version')
        self.assertEqual(run.returncode, 0, run)
        self.assertTrue(run.stdout.startswith('corelane '), run.stdout)


if __name__ == '__main__':
    tap.main()
