"""What a run says: a Markdown table, and JSON with every round."""

import datetime
import os
import pathlib
import re
import subprocess

from harness import metrics
from harness.scenarios import OURS
from harness.servers import ROOT


def first_line(command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
                              check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ''


def machine(build):
    model = re.search(r'^model name\s*: (.*)$', pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8'),
                      re.MULTILINE)
    congestion = pathlib.Path('/proc/sys/net/ipv4/tcp_congestion_control').read_text(encoding='ascii').strip()
    changed = ' with changes' if first_line(['git', 'status', '--porcelain', '-uno']) else ''
    return {'machine': f'{model[1] if model else "unknown"}, {os.cpu_count()} CPUs',
            'kernel': f'{os.uname().release}, congestion control {congestion}',
            'compiler': f'{first_line(["clang++-19", "--version"])}, preset {build.name}',
            'commit': f'{first_line(["git", "rev-parse", "--short=12", "HEAD"]) or "unknown"}{changed}',
            'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
            'other load, 1 min': f'{os.getloadavg()[0]:.1f}'}


class Verdict:
    """A goal held against an outcome: text for the table, and whether it is met; None if it could not be measured."""

    def __init__(self, goal, outcome):
        self.goal = goal
        self.value = self.measured(outcome)
        self.is_met = None if self.value is None else goal.is_met(self.value)

    def measured(self, outcome):
        ours = outcome.reports.get(OURS, [])
        if self.goal.minus:
            return self.measured_above(outcome, ours)
        if not self.goal.vs:
            return metrics.best(self.goal.metric, ours)
        names = [self.goal.vs]
        if self.goal.vs == 'best':   # of the servers, not the yardsticks without a protocol
            names = [name for name in outcome.reports if name in outcome.scenario.vs and not name.startswith('raw')]
        ratios = [found.of_best for name in names
                  if (found := metrics.ratio(self.goal.metric, ours, outcome.reports.get(name, [])))]
        return min(ratios, default=None)

    def measured_above(self, outcome, ours):
        """From medians: the difference of two best rounds would be that of two lucky ones. Where ours is not above the
        other at all, the two differ in more than what was to be measured, and there is no figure."""
        median, less = (metrics.median(self.goal.metric, reports)
                        for reports in (ours, outcome.reports.get(self.goal.minus, [])))
        if median is None or less is None or median <= less:
            return None
        above = median - less
        if not self.goal.vs:
            return above
        other = metrics.median(self.goal.metric, outcome.reports.get(self.goal.vs, []))
        return None if other is None else other / above

    def text(self):
        metric = '' if self.goal.metric == 'cpu' else f'{metrics.METRICS[self.goal.metric].title} '
        verdict = {None: 'not measured', True: 'met', False: 'MISSED'}[self.is_met]
        value = '' if self.value is None else f' ({self.value:.3g})'
        return f'{metric}{self.goal.text()}: {verdict}{value}'


def verdicts(outcome):
    return [Verdict(goal, outcome) for goal in outcome.scenario.goals]


def number(figure):
    if figure is None:
        return '–'
    if figure >= 1000:
        return f'{figure:,.0f}'
    return f'{figure:.0f}' if figure >= 100 else f'{figure:.3g}'


def side_row(outcome, name):
    scenario = outcome.scenario
    reports = outcome.reports[name]
    metric = scenario.metric
    cells = [name]
    if not reports:
        return f'| {name} | {outcome.failed.get(name, "no round")} |'
    spread = metrics.spread(metric, reports)
    cells.append(f'{number(metrics.best(metric, reports))} ({number(metrics.median(metric, reports))}'
                 + (f' ± {spread / 2:.0%})' if spread is not None else ')'))
    cells += [number(metrics.median(each, reports)) for each in scenario.metrics]
    shares = [report['client']['cpu_share'] for report in reports if 'client' in report]
    cells.append(f'{max(shares):.0%}' if shares else '–')
    ratio = None if name == OURS else metrics.ratio(metric, outcome.reports[OURS], reports)
    cells.append(f'{ratio.of_best:.2f} ({ratio.paired:.2f})' if ratio else '')
    return '| ' + ' | '.join(cells) + ' |'


def scenario_text(outcome):
    scenario = outcome.scenario
    head = metrics.METRICS[scenario.metric]
    titles = [f'{head.heading()}: best (median)']
    titles += [metrics.METRICS[each].heading() for each in scenario.metrics]
    lines = [f'### {scenario.name}' + (f' ({", ".join(scenario.groups)})' if scenario.groups else ''), '']
    if OURS in outcome.commands:
        lines += [f'`{outcome.commands[OURS]}`', '']
        lines += ['| side | ' + ' | '.join(titles) + ' | client busy | theirs / ours: best (paired) |',
                  '|---|' + '---|' * (len(titles) + 2)]
        lines += [side_row(outcome, name) for name in outcome.reports]
        lines.append('')
    figures = outcome.reports.get(OURS) or [{}]
    lines += [f'- {metrics.METRICS[name].title}: {metrics.value(name, figures[0]):.5f}' for name in scenario.counts
              if metrics.value(name, figures[0]) is not None]
    lines += [f'- goal {verdict.text()}' for verdict in verdicts(outcome)]
    lines += [f'- skipped {name}: {why}' for name, why in outcome.skipped.items()]
    lines += [f'- failed {name}: {why}' for name, why in outcome.failed.items()]
    return '\n'.join(lines) + '\n'


def heading(build, settings, names):
    method = (f'{settings.rounds} rounds of {settings.seconds:g} s, the sides taking turns; loopback; load on CPU '
              f'{settings.client_cpu}. A ratio is that of the best rounds, in brackets the median of the ratios '
              'within each round; above 1 we are ahead.')
    lines = [f'# perf/run {" ".join(names)}', '', method, '']
    return '\n'.join(lines + [f'- {name}: {value}' for name, value in machine(build).items()]) + '\n'


def without_curves(figures):
    """Of a load's report what a comparison needs: a tenth of its bytes."""
    return {name: value for name, value in figures.items() if name not in ('series', 'latency_curve')}


def as_json(build, settings, outcomes, with_curves=False):
    kept = dict if with_curves else without_curves
    return {'host': machine(build), 'settings': vars(settings), 'scenarios': [{
        'name': outcome.scenario.name, 'groups': outcome.scenario.groups, 'metric': outcome.scenario.metric,
        'sides': [{'name': name, 'server': outcome.servers.get(name), 'command': outcome.commands.get(name),
                   'rounds': [kept(each) for each in reports]} for name, reports in outcome.reports.items()],
        'goals': [{**vars(verdict.goal), 'value': verdict.value, 'met': verdict.is_met}
                  for verdict in verdicts(outcome)],
        'skipped': outcome.skipped, 'failed': outcome.failed} for outcome in outcomes]}
