"""Runs a scenario: starts its servers, lets them take turns at the load, and keeps what each round said."""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

from harness import counts
from harness.beside import held
from harness.scenarios import OURS
from harness.servers import NotRun, Server

LOAD_SECONDS_MORE = 120   # what a load may take beyond its measured interval
TIMED = ('seconds', 'warmup')
REDIS_BENCHMARK = 'redis-benchmark'   # a load of its own, by a program of its own


@dataclass
class Settings:
    rounds: int
    seconds: float
    warmup: float
    client_cpu: str


@dataclass
class Outcome:
    """Of one scenario. reports: side -> the JSON of each round; skipped: side -> why it took no part."""
    scenario: object
    reports: dict = field(default_factory=dict)
    commands: dict = field(default_factory=dict)
    servers: dict = field(default_factory=dict)
    skipped: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)


class Runner:

    def __init__(self, kinds, build, settings):
        self.kinds = kinds
        self.load = str(build / 'perf' / 'load' / 'corelane-load')
        self.build = build
        self.settings = settings
        said = subprocess.run([self.load, '--help'], stdout=subprocess.PIPE, text=True, check=False).stdout
        self.loads = set(re.findall(r'^  (\w+) ', said.partition('Subcommands:')[2], re.MULTILINE))
        self.loads.add(REDIS_BENCHMARK)

    def run(self, scenario, peers):
        outcome = Outcome(scenario)
        sides = [scenario.ours, *scenario.variants, *(scenario.peer_side(peer) for peer in peers)]
        with contextlib.ExitStack() as running:
            servers = {}
            for side in sides:
                try:
                    servers[side.name] = None
                    if not side.program:
                        kind = self.usable(side)
                        outcome.servers[side.name] = kind.what
                        if not scenario.fresh:
                            servers[side.name] = running.enter_context(Server(kind, side.server_cpus))
                    outcome.reports[side.name] = []
                except NotRun as reason:
                    outcome.skipped[side.name] = str(reason)
                    if side.name == OURS:
                        return outcome
            sides = [side for side in sides if side.name in outcome.reports]
            for number in range(self.settings.rounds):
                for side in sides:
                    if side.name not in outcome.failed:
                        self.run_round(outcome, side, servers[side.name], number)
            if scenario.counts and OURS not in outcome.failed:
                self.count(outcome)
        return outcome

    def usable(self, side):
        if side.server not in self.kinds:
            raise NotRun(f'there is no server {side.server}')
        kind = self.kinds[side.server]
        if missing := kind.missing():
            raise NotRun(missing)
        if side.load == REDIS_BENCHMARK and not shutil.which(REDIS_BENCHMARK):
            raise NotRun(f'{REDIS_BENCHMARK} is not installed (perf/peers/setup)')
        if side.load not in self.loads:
            raise NotRun(f'corelane-load has no load {side.load}')
        if side.reach not in kind.reach:
            raise NotRun(f'{side.server} does not serve {side.reach}')
        return kind

    def run_round(self, outcome, side, server, number):
        try:
            with contextlib.ExitStack() as own:
                if server is None and not side.program:
                    server = own.enter_context(Server(self.kinds[side.server], side.server_cpus))
                if side.beside:
                    own.enter_context(held(side.beside, self, server))
                command = self.command(side, server)
                report = run_json(command, self.settings.seconds + LOAD_SECONDS_MORE)
        except NotRun as reason:
            outcome.failed[side.name] = str(reason)
            print(f'  {side.name}: {reason}', file=sys.stderr)
            return
        outcome.reports[side.name].append(report)
        outcome.commands[side.name] = shown(command)
        if sys.stderr.isatty():
            print(f'  round {number + 1} of {self.settings.rounds}, {side.name:20}', end='\r', file=sys.stderr)

    def command(self, side, server, **more):
        """The load's command line; --server-pid always, so that CPU and memory are told."""
        options = dict(side.options)
        if side.program:
            return [str(self.build / side.program), '--seconds', str(self.settings.seconds), *as_arguments(options)]
        if side.load != 'idle':
            options = {'seconds': self.settings.seconds, 'warmup': self.settings.warmup, **options}
        load = [self.load, side.load]
        if side.load == REDIS_BENCHMARK:
            load = [str(pathlib.Path(__file__).with_name('redis_benchmark.py'))]
        return [*load, *server.reach(side.reach), '--cpu', self.settings.client_cpu,
                '--server-pid', str(server.pid), '--json', *as_arguments({**options, **more})]

    def count(self, outcome):
        """What is counted, not timed, on a server of its own; goes into our first report."""
        scenario = outcome.scenario
        counters = {'allocations': counts.allocations, 'system_calls': counts.system_calls, 'copies': counts.copies}
        for name in scenario.counts:
            try:
                figure = counters[name](self, scenario.ours)
                outcome.reports[OURS][0][f'{name}_per_message'] = figure
            except NotRun as reason:
                outcome.skipped[name] = str(reason)


def as_arguments(options):
    arguments = []
    for name, each in options.items():
        if each is True:
            arguments.append(f'--{name}')
        elif each is not False:
            arguments += [f'--{name}', str(each)]
    return arguments


def shown(command):
    """The command line without what changes from run to run."""
    text = ' '.join([command[0].rpartition('/')[2], *command[1:]]).replace(' --json', '')
    return re.sub(r'(?<=--server-pid )\d+', 'PID', re.sub(r'(?<=:)\d+', 'PORT', text, count=1))


def run_json(command, seconds):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=seconds)
    except subprocess.TimeoutExpired:
        raise NotRun(f'no end within {seconds:g} s: {" ".join(command)}') from None
    if done.returncode != 0:
        said = (done.stdout.strip() + ' ' + done.stderr.strip()).strip()
        raise NotRun(f'status {done.returncode} of {" ".join(command)}: {said[-600:]}')
    return json.loads(done.stdout)
