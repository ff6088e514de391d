"""Goal: no scenario rots: each one runs, its goals can be judged, and the report says so. Method: perf/run's own code
runs them in their small setting against our server, its variants and the peers that are always built."""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..'))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from harness import beside, report, rounds, scenarios, servers  # noqa: E402
from tests.support import tap  # noqa: E402

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else 'build/dev').resolve()
TIMEOUT_S = 120
YARDSTICKS = ('raw-epoll', 'raw-idle', 'raw-uring', 'raw-epoll-fanout', 'raw-uring-fanout')


def is_sanitized():
    options = json.loads((BUILD / 'meson-info' / 'intro-buildoptions.json').read_text(encoding='utf-8'))
    return next(option['value'] for option in options if option['name'] == 'b_sanitize') != 'none'


def two_cpus():
    return {0, 1} <= os.sched_getaffinity(0)


@unittest.skipUnless(two_cpus(), 'needs CPUs 0 and 1')
class Scenarios(unittest.TestCase):

    def run_small(self, name, peers, counts=()):
        scenario = scenarios.make_scenario(scenarios.read_scenarios(), name, small=True)
        scenario.counts = counts   # most need root
        runner = rounds.Runner(servers.read_kinds(BUILD), BUILD, rounds.Settings(1, 0.1, 0.05, '1'))
        return runner.run(scenario, peers)

    def check(self, name):
        scenario = scenarios.make_scenario(scenarios.read_scenarios(), name)
        vs = scenario.vs
        if scenario.ours.load == rounds.REDIS_BENCHMARK and not shutil.which(rounds.REDIS_BENCHMARK):
            self.skipTest('redis-benchmark is not installed')
        outcome = self.run_small(name, [peer for peer in vs if peer in YARDSTICKS])
        self.assertEqual(outcome.failed, {})
        self.assertEqual(outcome.skipped, {})
        metric = outcome.scenario.metric
        for side, reports in outcome.reports.items():
            self.assertIsNotNone(report.metrics.best(metric, reports), f'{side} has no {metric}')
        text = report.scenario_text(outcome)
        self.assertIn(f'### {name}', text)
        self.assertIn('| ours |', text)

    @unittest.skipUnless(shutil.which('valgrind'), 'needs valgrind')
    def test_copies_of_payloads_are_counted(self):
        if is_sanitized():
            self.skipTest('valgrind runs no program with a sanitizer')
        outcome = self.run_small('copies-1k-d16', [], ['copies'])
        if 'debuginfo' in outcome.skipped.get('copies', ''):
            self.skipTest("valgrind cannot read this build's debug information")
        self.assertEqual((outcome.failed, outcome.skipped), ({}, {}))
        # Whatever the server does: one that copies each payload once or not at all, and starts up.
        self.assertLess(report.metrics.value('copies', outcome.reports['ours'][0]), 3)

    def test_a_server_that_is_missing_is_skipped_and_named(self):
        outcome = self.run_small('echo-20-d1', ['no-such-server'])
        self.assertEqual(outcome.skipped, {'no-such-server': 'there is no server no-such-server'})
        self.assertIn('skipped no-such-server', report.scenario_text(outcome))

    def test_a_server_that_does_not_say_where_it_listens_is_given_up(self):
        for command, why in ((['sleep', '600'], 'does not say'), (['true'], 'ended before it listened')):
            silent = servers.Kind('silent', {'what': 'says nothing', 'command': command}, BUILD)
            with mock.patch.object(servers, 'START_SECONDS', 0.1 if 'sleep' in command else TIMEOUT_S):
                self.assertRaisesRegex(servers.NotRun, why, servers.Server(silent, '0').__enter__)

    def test_what_was_held_beside_is_gone_when_the_block_ends(self):
        kinds = servers.read_kinds(BUILD)
        runner = rounds.Runner(kinds, BUILD, rounds.Settings(1, 0.1, 0.05, '1'))
        with servers.Server(kinds['raw-epoll'], '0') as server:
            with beside.held({'connections': 20}, runner, server):
                holders = [pid for pid in map(int, children_of(os.getpid())) if name_of(pid) == 'corelane-load']
                held_by = [int(pid) for pid in children_of(holders[0])]
                self.assertEqual([beside.sockets(pid) for pid in held_by], [20])
            self.assertEqual(beside.sockets(held_by[0]), 0)

    def test_an_interrupt_ends_the_servers(self):
        run = [sys.executable, '-B', str(servers.ROOT / 'perf' / 'run'), 'echo-20-d1', '--vs', 'raw-epoll', '--build',
               str(BUILD), '--seconds', '60', '--no-output']
        with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                children = self.wait_for_children(process)
                process.send_signal(signal.SIGINT)
                process.wait(TIMEOUT_S)
            finally:
                process.kill()
        self.assertEqual(process.returncode, 130)
        for pid in children:
            self.wait_for_end(pid)

    def wait_for_end(self, pid):
        """A descriptor of the process, if there still is one, becomes readable when it ends."""
        try:
            process = os.pidfd_open(int(pid))
        except ProcessLookupError:
            return
        ended, _, _ = select.select([process], [], [], TIMEOUT_S)
        os.close(process)
        self.assertTrue(ended, pid)

    def wait_for_children(self, process):
        """Until both servers and the load are there."""
        while process.poll() is None:
            children = children_of(process.pid)
            if {'corelane', 'raw_epoll_echo', 'corelane-load'} <= {name_of(pid) for pid in children}:
                return children
        self.fail('perf/run ended')


def children_of(pid):
    return pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text(encoding='ascii').split()


def name_of(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/comm').read_text(encoding='ascii').strip()
    except OSError:
        return ''   # it has ended


def add_cases():
    for name in scenarios.read_scenarios():
        setattr(Scenarios, f'test_{name.replace("-", "_")}_runs', lambda self, name=name: self.check(name))


add_cases()

if __name__ == '__main__':
    tap.main()
