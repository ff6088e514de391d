"""Goal: perf/run judges as it says: a ratio above 1 means that we are ahead, a goal without a figure is not met,
medians and pairs are what they are called. Method: made-up reports, no servers."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..'))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from harness import metrics, report, rounds, scenarios, servers  # noqa: E402
from tests.support import tap  # noqa: E402


def costing(*nanoseconds):
    """A round each: that CPU a message, and a throughput that fits."""
    return [{'server': {'cpu_ns_per_message': each}, 'messages_per_second': 1e9 / each,
             'latency_ns': {'p50': each * 10}} for each in nanoseconds]


def outcome_of(goals, **reports):
    ours = scenarios.Side('ours', 'corelane-echo', 'echo', 'echo', {})
    scenario = scenarios.Scenario('made-up', ['P0'], ours, [], ['raw-epoll', 'bun', 'beast'], 'cpu', ['throughput'],
                                  goals, [], False)
    return rounds.Outcome(scenario, reports={name.replace('_', '-'): each for name, each in reports.items()})


class Judging(unittest.TestCase):

    def value(self, goal, **reports):
        return report.Verdict(goal, outcome_of([goal], **reports))

    def test_above_one_is_ahead_whatever_is_better(self):
        for metric in ('cpu', 'throughput'):
            found = metrics.ratio(metric, costing(100, 120), costing(150, 200))
            self.assertAlmostEqual(found.of_best, 1.5)

    def test_the_paired_ratio_is_the_median_of_the_rounds(self):
        # A slow phase in the second round hits both, and falls out.
        found = metrics.ratio('cpu', costing(100, 200, 100), costing(150, 300, 160))
        self.assertAlmostEqual(found.paired, 1.5)

    def test_best_and_median_and_spread(self):
        reports = costing(100, 110, 140)
        self.assertEqual(metrics.best('cpu', reports), 100)
        self.assertEqual(metrics.median('cpu', reports), 110)
        self.assertAlmostEqual(metrics.spread('cpu', reports), 40 / 110)
        self.assertAlmostEqual(metrics.best('throughput', reports), 1e4)

    def test_a_goal_is_met_from_its_bound_on(self):
        goal = scenarios.Goal('cpu', 'bun', at_least=1.5)
        self.assertTrue(self.value(goal, ours=costing(100), bun=costing(150)).is_met)
        self.assertFalse(self.value(goal, ours=costing(100), bun=costing(149)).is_met)
        self.assertFalse(self.value(scenarios.Goal('cpu', at_most=99), ours=costing(100)).is_met)

    def test_a_goal_without_a_figure_is_not_met(self):
        verdict = self.value(scenarios.Goal('cpu', 'bun', at_least=0.1), ours=costing(100), bun=[])
        self.assertIsNone(verdict.is_met)
        self.assertIn('not measured', verdict.text())

    def test_the_best_peer_is_the_one_hardest_to_beat_and_no_yardstick(self):
        verdict = self.value(scenarios.Goal('cpu', 'best', at_least=1.1), ours=costing(100), raw_epoll=costing(50),
                             bun=costing(120), beast=costing(300))
        self.assertAlmostEqual(verdict.value, 1.2)

    def test_minus_takes_the_medians_apart(self):
        goal = scenarios.Goal('p50', vs='wakeup', minus='one', at_least=0.8)
        verdict = self.value(goal, ours=costing(300), one=costing(100), wakeup=costing(180))
        self.assertAlmostEqual(verdict.value, 0.9)

    def test_minus_gives_no_figure_where_nothing_was_added(self):
        goal = scenarios.Goal('p50', minus='one', at_most=1)
        self.assertIsNone(self.value(goal, ours=costing(100), one=costing(101)).is_met)

    def test_the_table_names_what_was_skipped_and_what_failed(self):
        outcome = outcome_of([], ours=costing(100), bun=costing(150))
        outcome.commands['ours'] = 'corelane-load echo'
        outcome.skipped['ws'] = 'node is not installed'
        text = report.scenario_text(outcome)
        self.assertIn('| bun | 150 (150 ± 0%) | 6,667 | – | 1.50 (1.50) |', text)
        self.assertIn('- skipped ws: node is not installed', text)


class Reading(unittest.TestCase):

    def test_a_scenario_that_is_like_another_merges_options(self):
        tables = {'a': {'load': 'echo', 'options': {'size': 20, 'depth': 1}, 'vs': ['bun']},
                  'b': {'like': 'a', 'options': {'depth': 16}}}
        scenario = scenarios.make_scenario(tables, 'b')
        self.assertEqual(scenario.ours.options, {'size': 20, 'depth': 16})
        self.assertEqual(scenario.vs, ['bun'])

    def test_a_variant_differs_only_in_what_it_says(self):
        tables = {'a': {'load': 'echo', 'options': {'size': 20}, 'beside': {'connections': 5},
                        'variants': {'alone': {'beside': {'connections': 0}}}}}
        scenario = scenarios.make_scenario(tables, 'a')
        self.assertEqual(scenario.ours.beside, {'connections': 5})
        self.assertEqual((scenario.variants[0].beside, scenario.variants[0].options), ({}, {'size': 20}))

    def test_small_brings_numbers_down_and_never_up(self):
        tables = {'a': {'load': 'echo', 'options': {'connections': 64, 'depth': 2}, 'small': {'depth': 4}}}
        options = scenarios.make_scenario(tables, 'a', small=True).ours.options
        self.assertEqual((options['connections'], options['depth']), (8, 2))

    def test_groups_stand_for_their_scenarios_once(self):
        tables = {'a': {'groups': ['P1']}, 'b': {'like': 'a'}, 'c': {'groups': ['P2']}}
        self.assertEqual(scenarios.chosen(tables, ['P1', 'b', 'P2']), ['a', 'b', 'c'])
        self.assertRaises(KeyError, scenarios.chosen, tables, ['P3'])

    def test_every_scenario_names_servers_that_there_are_and_what_it_compares_with(self):
        kinds = servers.read_kinds(servers.ROOT)
        tables = scenarios.read_scenarios()
        for name in tables:
            scenario = scenarios.make_scenario(tables, name)
            variants = [variant.name for variant in scenario.variants]
            for side in (scenario.ours, *scenario.variants):
                self.assertTrue(side.program or side.reach in kinds[side.server].reach, f'{name}: {side.name}')
                self.assertNotEqual(bool(side.program), bool(side.load), f'{name}: {side.name}')
            for peer in scenario.vs:
                self.assertIn(scenario.ours.reach, kinds[peer].reach, f'{name}: {peer}')
            for goal in scenario.goals:
                self.assertIn(goal.metric, metrics.METRICS, name)
                self.assertIn(goal.vs, ['', 'best', *scenario.vs, *variants], name)
                self.assertIn(goal.minus, ['', *scenario.vs, *variants], name)


if __name__ == '__main__':
    tap.main()
