"""Goal: perf/plot draws what corelane-load reports, with every name and unit on it. Method: reports of a fixed shape
are drawn as each kind; the SVG's text and the PNG's head are read back. Skipped where matplotlib is not installed."""

import importlib.util
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402

PLOT = ROOT / 'perf' / 'plot'


def report(name, depth, scale):
    return {'load': 'echo', 'name': name, 'url': 'ws://127.0.0.1:1/', 'mode': 'closed', 'connections': 64,
            'depth': depth, 'payload_bytes': 125, 'messages': 100000, 'messages_per_second': 50000.0 * scale,
            'latency_ns': {'p50': 100000, 'p99.9': 900000 * scale, 'max': 1000000 * scale, 'count': 100000},
            'latency_curve': [[0.1, 50000], [50, 100000], [99, 300000 * scale], [99.9, 900000 * scale],
                              [100, 1000000 * scale]],
            'series': [{'at': at, 'seconds': 1.0, 'messages': 50000 + at, 'p50': 1, 'p99': 2, 'max': 3}
                       for at in (0.0, 1.0)],
            'server': {'cpu_ns_per_message': 250.0 * scale}}


@unittest.skipUnless(importlib.util.find_spec('matplotlib'), 'python3-matplotlib is not installed')
class Plot(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def plot(self, kind, *arguments, reports=None):
        source = self.folder / 'reports.json'
        reports = reports or [report(name, depth, scale) for name, scale in (('ours', 1), ('theirs', 2))
                              for depth in (1, 16) for _ in range(2)]
        source.write_text('\n'.join(json.dumps(one) for one in reports), encoding='utf-8')
        output = self.folder / kind
        done = subprocess.run([sys.executable, PLOT, kind, source, '--output', output, *arguments],
                              stderr=subprocess.PIPE, text=True, check=False,
                              env={**os.environ, 'MPLCONFIGDIR': str(self.folder)})
        if done.returncode != 0:
            return done.stderr
        head = pathlib.Path(f'{output}.png').read_bytes()[:24]
        self.assertEqual(head[:8], b'\x89PNG\r\n\x1a\n')
        self.assertGreater(min(struct.unpack('>II', head[16:])), 500)
        return pathlib.Path(f'{output}.svg').read_text(encoding='utf-8')

    def test_each_kind_names_its_axes_and_reports(self):
        for kind, words in (('latency', ('99.9 %', 'latency (log scale)', 'percentile of messages')),
                            ('series', ('messages a second', 'time (s)')),
                            ('bars', ('server CPU a message (ns)', '250', '500'))):
            svg = self.plot(kind)
            for word in (*words, 'ours', 'theirs'):
                self.assertIn(f'>{word}<', svg, kind)

    def test_bars_compare_any_field_by_any_group(self):
        svg = self.plot('bars', '--field', 'latency_ns.p99.9', '--group', 'depth', '--title', 'A title')
        for word in ('A title', 'depth 1', 'depth 16', 'latency p99.9 (µs)', '1,800'):
            self.assertIn(f'>{word}<', svg)

    def test_draws_the_rounds_of_scenarios(self):
        compared = {'scenarios': [{'name': name, 'sides': [
            {'name': side, 'rounds': [report('none', 1, scale)]} for side, scale in (('ours', 1), ('a peer', 2))]}
            for name in ('echo-a', 'echo-b', 'echo-c')]}
        svg = self.plot('bars', '--group', 'scenario', '--scenario', 'echo-a', 'echo-b', reports=[compared])
        for word in ('ours', 'a peer', 'echo-a', 'echo-b', '500'):
            self.assertIn(f'>{word}<', svg)
        self.assertNotIn('echo-c', svg)

    def test_says_what_a_report_lacks(self):
        self.assertIn('has no server.cpu_share', self.plot('bars', '--field', 'server.cpu_share'))


if __name__ == '__main__':
    tap.main()
