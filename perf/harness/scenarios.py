"""The scenarios of perf/scenarios/*.toml: what is measured, between which sides, with which goals."""

import tomllib
from dataclasses import dataclass, field

from harness.servers import ROOT

FOLDER = ROOT / 'perf' / 'scenarios'
OURS = 'ours'
KEYS = {'like', 'groups', 'load', 'ours', 'reach', 'options', 'small', 'vs', 'variants', 'goals', 'counts', 'fresh',
        'server_cpus', 'beside', 'metric', 'metrics', 'program'}
DEFAULT_OURS = 'corelane-echo'
SMALL = {'connections': 8, 'subscribers': 8}   # unless a scenario says otherwise
BESIDE_SMALL = 20


@dataclass
class Side:
    """One of the compared: a server and the load on it."""
    name: str
    server: str
    load: str
    reach: str               # which way of the server's it takes; mostly named like the load
    options: dict
    beside: dict = field(default_factory=dict)   # clients held while the load runs: harness/beside.py
    server_cpus: str = '0'
    program: str = ''        # of the build folder, run instead of a load: it needs no server


@dataclass
class Goal:
    """Of a scenario: a ratio to another side (theirs / ours where less is better), or a figure of ours."""
    metric: str
    vs: str = ''
    minus: str = ''          # a side whose figure is taken off ours first
    at_least: float | None = None
    at_most: float | None = None

    def text(self):
        bound = f'≥ {self.at_least:g}' if self.at_least is not None else f'≤ {self.at_most:g}'
        what = f' over {self.minus}' if self.minus else ''
        return f'{bound} × {self.vs}{what}' if self.vs else bound + what

    def is_met(self, value):
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass
class Scenario:
    name: str
    groups: list
    ours: Side
    variants: list           # sides of our own to compare with
    vs: list                 # names of servers to compare with, unless others are asked for
    metric: str              # what is compared and shown first
    metrics: list            # what is shown beside
    goals: list
    counts: list             # 'allocations', 'system_calls', 'copies': counted on our side, apart from the rounds
    fresh: bool              # a new server for each run

    def peer_side(self, server):
        side = self.ours
        return Side(server, server, side.load, side.reach, peer_options(side.options), side.beside, side.server_cpus)


def peer_options(options):
    """Without what the server's own way to be reached decides."""
    return {name: value for name, value in options.items() if name != 'protocol'}


def read_scenarios():
    """All of them, by name, in the order of the files."""
    tables = {}
    for path in sorted(FOLDER.glob('*.toml')):
        for name, table in tomllib.loads(path.read_text(encoding='utf-8')).items():
            if unknown := set(table) - KEYS:
                raise ValueError(f'{path.name}: [{name}] has unknown keys: {", ".join(sorted(unknown))}')
            if name in tables:
                raise ValueError(f'{path.name}: [{name}] is there twice')
            tables[name] = table
    return tables


def resolved(tables, name):
    """The table of a scenario over the one it is like; options are merged, everything else is replaced."""
    table = tables[name]
    if 'like' not in table:
        return table
    base = resolved(tables, table['like'])
    merged = {**base, **table}
    for key in ('options', 'small', 'beside'):
        merged[key] = {**base.get(key, {}), **table.get(key, {})}
    return merged


def make_side(name, table, base, small):
    options = {**base.get('options', {}), **table.get('options', {})}
    beside = {**base.get('beside', {}), **table.get('beside', {})}
    if small:
        limits = {**base.get('small', {}), **table.get('small', {})}
        options = shrunk(options, limits)
        beside = {name: min(count, BESIDE_SMALL) for name, count in beside.items()}
    both = {**base, **table}
    if 'load' in table:   # a variant of a program that is none
        both.pop('program', None)
    if 'program' in both:
        return Side(name, '', '', '', options, program=both['program'])
    return Side(name, both.get('ours', DEFAULT_OURS), both['load'], both.get('reach', both['load']), options,
                {name: count for name, count in beside.items() if count}, both.get('server_cpus', '0'))


def shrunk(options, limits):
    """With each named number brought down to its limit, and the limit itself where there was no such option."""
    result = {**limits, **options}
    for name, limit in {**SMALL, **limits}.items():
        if name in result:
            result[name] = min(result[name], limit)
    return result


def make_scenario(tables, name, small=False):
    table = resolved(tables, name)
    metric = table.get('metric', 'cpu')
    variants = [make_side(variant, each, table, small) for variant, each in table.get('variants', {}).items()]
    goals = [Goal(metric=goal.get('metric', metric), **{key: value for key, value in goal.items() if key != 'metric'})
             for goal in table.get('goals', [])]
    return Scenario(name, table.get('groups', []), make_side(OURS, {}, table, small), variants,
                    table.get('vs', []), metric, table.get('metrics', ['throughput', 'p50', 'p99']), goals,
                    table.get('counts', []), table.get('fresh', False))


def chosen(tables, names):
    """The names of the scenarios that the given names of scenarios and groups stand for, once each."""
    result = []
    for name in names:
        if name == 'all':
            found = list(tables)
        elif name in tables:
            found = [name]
        else:
            found = [each for each in tables if name in resolved(tables, each).get('groups', [])]
        if not found:
            raise KeyError(name)
        result += [each for each in found if each not in result]
    return result
