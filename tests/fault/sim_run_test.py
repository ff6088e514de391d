"""corelane-sim-run over programs with planted bugs.

Goal: it finds the seeds that fail, shrinks the first one to the few decisions that matter, and what it prints repeats
the failure byte for byte. Method: sim_run_case.cpp with each of its bugs, and shell scripts for what no C++ is needed
for. The argument is the program.
"""

import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/support'))
import tap   # noqa: E402

TOOL = ROOT / 'tools/sim_run.py'
PROGRAM = pathlib.Path(sys.argv[1]).resolve()


class SimRun(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def run_tool(self, *arguments):
        """The exit code and what is printed; in a folder of its own."""
        run = subprocess.run([sys.executable, '-B', TOOL, *arguments], cwd=self.folder, text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
        return run.returncode, run.stdout

    def run_command(self, line):
        """A command that the tool printed, as a person pastes it."""
        run = subprocess.run(['sh', '-c', line], cwd=self.folder, text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
        return run.returncode, run.stdout

    def script(self, text):
        path = self.folder / 'script'
        path.write_text('#!/bin/sh\n' + text, encoding='utf-8')
        path.chmod(0o755)
        return path

    def schedule(self):
        path, = self.folder.glob('*.schedule')
        lines = path.read_text(encoding='utf-8').splitlines()
        return path, [line for line in lines if not line.startswith('#')]

    def test_a_correct_program_passes_all_seeds(self):
        for faults in ('quiet', 'swarm', 'breaking', 'harsh'):
            code, output = self.run_tool('--seeds', '40', '--faults', faults, PROGRAM, 'correct')
            self.assertEqual((code, output.split(' (')[0]), (0, '40 of 40 seeds run, 40 passed, 0 failed'))

    def test_a_lost_wake_up_is_found_and_shrunk_to_a_late_completion(self):
        code, output = self.run_tool('--seeds', '300', '--faults', 'quiet', PROGRAM, 'lost_wake_up')
        self.assertEqual(code, 0, output)
        code, output = self.run_tool('--seeds', '300', '--keep-going', PROGRAM, 'lost_wake_up')
        self.assertEqual(code, 1, output)
        found = re.match(r'300 of 300 seeds run, (\d+) passed, (\d+) failed', output)
        self.assertIn(int(found[2]), range(1, 100), output)
        self.assertEqual(int(found[1]) + int(found[2]), 300)
        first = re.search(r'^seed (\d+): SIGABRT: simulation failed: deadlock', output, re.MULTILINE)
        self.assertIsNotNone(first, output)
        path, decisions = self.schedule()
        self.assertEqual(path.name, f'sim_run_case.seed-{first[1]}.schedule')
        self.assertIn(len(decisions), range(1, 5), output)
        self.assertTrue(any(' ns' in line for line in decisions), output)
        for line in decisions:
            self.assertIn(line, output)

        for command in re.findall(r'repeat: (.*)', output):
            code, again = self.run_command(command)
            self.assertIn('simulation failed: deadlock', again, command)
        self.assertIn('CORELANE_SCHEDULE=', command)
        # Each of them is needed.
        for left_out in decisions:
            path.write_text('\n'.join(line for line in decisions if line != left_out), encoding='utf-8')
            self.assertEqual(self.run_command(command)[0], 0, left_out)

    def test_a_failure_that_needs_two_events_keeps_both_and_repeats_byte_for_byte(self):
        code, output = self.run_tool('--seeds', '300', PROGRAM, 'two_slow_writes')
        self.assertEqual(code, 1, output)
        self.assertIn('writes were slow: this has failed', output)
        _, decisions = self.schedule()
        self.assertEqual(len(decisions), 2, output)
        command = re.findall(r'repeat: (.*)', output)[-1]
        once, again = self.run_command(command), self.run_command(command)
        self.assertEqual(once, again)
        self.assertEqual(once[0], 3)
        self.assertRegex(once[1], r'trace 0x[0-9a-f]+')

    def test_the_first_failing_seed_ends_the_run_whatever_the_number_of_jobs(self):
        outputs = set()
        for jobs in ('1', '3', '8'):
            code, output = self.run_tool('--jobs', jobs, '--first', '5', '--shrink-seconds', '0', PROGRAM,
                                         'two_slow_writes')
            self.assertEqual(code, 1)
            outputs.add(re.sub(r' \([\d.]+ s\)', '', output))
        self.assertEqual(len(outputs), 1, outputs)

    def test_a_program_that_does_not_end_is_ended_and_reported(self):
        code, output = self.run_tool('--seeds', '4', '--keep-going', '--timeout', '3', PROGRAM, 'hangs')
        self.assertEqual(code, 1, output)
        self.assertIn('3 passed, 1 failed', output)
        self.assertIn('seed 3: hangs: it did not end within 3 s\n', output)
        self.assertIn('\n0 of ', output)   # no decision matters

    def test_a_program_that_hangs_without_its_output_is_ended(self):
        program = self.script('exec >&- 2>&-; exec sleep 1000\n')
        code, output = self.run_tool('--seeds', '1', '--timeout', '1', '--shrink-seconds', '0', program)
        self.assertEqual(code, 1, output)
        self.assertIn('seed 1: hangs: it did not end within 1 s\n', output)

    def test_the_end_of_a_long_output_is_kept(self):
        program = self.script('head -c 5000000 /dev/zero | tr "\\0" "\\n"; echo "error: at the end"; exit 1\n')
        _, output = self.run_tool('--seeds', '1', '--shrink-seconds', '0', program)
        self.assertIn('seed 1: exit code 1: error: at the end\n', output)

    def test_a_real_time_signal_has_a_number(self):
        program = self.script('kill -40 $$\n')
        _, output = self.run_tool('--seeds', '1', '--shrink-seconds', '0', program)
        self.assertIn('seed 1: signal 40: nothing was printed\n', output)

    def test_a_failure_of_every_run_needs_no_decision(self):
        code, output = self.run_tool(PROGRAM, 'crashes')
        self.assertEqual(code, 1)
        self.assertIn('1 of 100 seeds run, 0 passed, 1 failed', output)
        self.assertRegex(output, r'\n0 of \d+ random decisions make seed 1 fail')
        self.assertEqual(self.schedule()[1], [])

    def test_a_report_of_a_sanitizer_is_a_failure_although_the_program_ends_with_0(self):
        program = self.script('[ "$CORELANE_SEED" != 2 ] || echo "a.cpp:1:2: runtime error: signed integer overflow"\n')
        code, output = self.run_tool('--seeds', '3', program)
        self.assertEqual(code, 1)
        self.assertIn('seed 2: report of a sanitizer: a.cpp:1:2: runtime error: signed integer overflow', output)
        self.assertIn('it wrote no decisions', output)

    def test_a_failure_that_does_not_repeat_is_told(self):
        program = self.script('[ $CORELANE_SEED != 1 ] || [ -e there ] || { touch there; echo once; exit 4; }\n')
        code, output = self.run_tool('--seeds', '3', program)
        self.assertEqual(code, 1)
        self.assertIn('exit code 4: once', output)
        self.assertIn('seed 1 does not fail alike twice', output)

    def test_the_first_line_that_says_why_is_shown(self):
        for printed, shown in {
                'starting\\nerror: no luck\\ndone': 'error: no luck',
                'x_test.cpp:7: Failure\\nExpected: 1\\nactual: 2': 'x_test.cpp:7: Failure Expected: 1 actual: 2',
                'one\\nlast': 'last', '': 'nothing was printed'}.items():
            program = self.script(f'printf "{printed}"; exit 1\n')
            _, output = self.run_tool('--seeds', '1', '--shrink-seconds', '0', program)
            self.assertIn(f'seed 1: exit code 1: {shown}\n', output)

    def test_wrong_use_has_an_exit_code_of_its_own(self):
        for arguments in (['/no/such/program'], [], ['--seeds', '0', PROGRAM], ['--faults', 'some', PROGRAM],
                          ['--first', '-1', PROGRAM], ['--out', 'missing', PROGRAM]):
            self.assertEqual(self.run_tool(*arguments)[0], 2, arguments)

    def test_when_it_is_stopped_its_programs_end(self):
        program = self.script('echo $$ > running; exec sleep 1000\n')
        os.mkfifo(self.folder / 'running')
        # Open for writing too, so that it has no end, and that opening it waits for nobody.
        running = os.open(self.folder / 'running', os.O_RDWR)
        self.addCleanup(os.close, running)
        numbers = b''
        with subprocess.Popen([sys.executable, '-B', TOOL, '--jobs', '2', program], cwd=self.folder) as tool:
            while numbers.count(b'\n') < 2:
                self.assertTrue(select.select([running], [], [], 100)[0], 'no program has begun')
                numbers += os.read(running, 100)
            tool.send_signal(signal.SIGTERM)
            self.assertEqual(tool.wait(), 130)
        for number in numbers.split():
            with self.assertRaises(ProcessLookupError):
                os.kill(int(number), 0)


if __name__ == '__main__':
    tap.main()
