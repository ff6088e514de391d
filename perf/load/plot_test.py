"""Goal: perf/plot draws what corelane-load reports, with every name and unit on it, and all of it can be read. Method:
reports of a fixed shape are drawn as each kind; the SVG's text and the PNG's head are read back; the box of each text
in a figure is compared with all others. Skipped where matplotlib is not installed."""

import importlib.machinery
import importlib.util
import itertools
import json
import os
import pathlib
import re
import shlex
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
        self.assertGreater(min(struct.unpack('>II', head[16:])), 300)
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


README_PIXELS = 800   # the width at which a README shows a plot
TEXT_PIXELS_MIN = 10


@unittest.skipUnless(importlib.util.find_spec('matplotlib'), 'python3-matplotlib is not installed')
class Layout(unittest.TestCase):
    """Boxes as the renderer measures them, in pixels of the figure."""

    @classmethod
    def setUpClass(cls):
        loader = importlib.machinery.SourceFileLoader('plot', str(PLOT))
        cls.plot = importlib.util.module_from_spec(importlib.util.spec_from_loader('plot', loader))
        loader.exec_module(cls.plot)

    def figure_of(self, reports, *arguments):
        figure = self.plot.figure_of(self.plot.parser().parse_args([*arguments, '--output', 'none', 'none']), reports)
        self.addCleanup(self.plot.plt.close, figure)
        return figure

    def check(self, figure):
        from matplotlib.text import Text
        renderer = figure.canvas.get_renderer()
        undrawn = self.undrawn_labels(figure)
        texts = [text for text in figure.findobj(Text)
                 if text.get_visible() and text.get_text().strip() and text not in undrawn]
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
        self.assertGreater(len(boxes), 5)
        for (one, its_box), (other, other_box) in itertools.combinations(boxes, 2):
            self.assertFalse(self.plot.boxes_overlap(its_box, other_box), f'{one!r} overlaps {other!r}')
        drawn = list(self.marks(figure))
        for text, box in boxes:
            self.assertTrue(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1,
                            f'{text!r} leaves the figure')
            for mark in drawn:
                self.assertFalse(self.plot.boxes_overlap(box, mark), f'{text!r} lies on what is drawn')
        for text in texts:
            pixels = text.get_fontsize() / 72 / figure.get_size_inches()[0] * README_PIXELS
            self.assertGreaterEqual(pixels, TEXT_PIXELS_MIN, f'{text.get_text()!r} is too small in a README')
        return {text for text, _ in boxes}

    @staticmethod
    def undrawn_labels(figure):
        """A tick outside of the axis' limits is not drawn, whatever its label says."""
        labels = set()
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            drawn = axis._update_ticks()
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                labels |= {tick.label2} if tick in drawn else {tick.label1, tick.label2}
        return labels

    @staticmethod
    def marks(figure):
        """Boxes of the bars, of the lines on them, of each piece of a line plot."""
        from matplotlib.transforms import Bbox
        for axes in figure.axes:
            for bar in axes.patches:   # on a logarithmic scale it begins far outside
                yield Bbox.intersection(bar.get_window_extent(), axes.get_window_extent())
            for collection in axes.collections:
                for path in collection.get_paths():
                    yield Bbox(axes.transData.transform(path.vertices)[[0, -1]])
            for line in axes.lines if not axes.patches else ():
                points = axes.transData.transform(line.get_xydata())
                yield from (Bbox([min_of, max_of]) for min_of, max_of in
                            ((pair.min(axis=0), pair.max(axis=0)) for pair in
                             (points[at:at + 2] for at in range(len(points) - 1))))

    def test_no_text_of_the_plots_lying_in_results_overlaps(self):
        results = ROOT / 'perf' / 'results'
        rows = re.findall(r'^\| \[(.+?)\]\(.+?\.svg\) \| `(.+)` \|$', (results / 'README.md').read_text(), re.M)
        self.assertGreater(len(rows), 3)
        for name, command in rows:
            with self.subTest(name):
                options = self.plot.parser().parse_args([*shlex.split(command), '--output', 'none'])
                reports = self.plot.read_reports([ROOT / report for report in options.reports], options.scenario)
                self.check(self.plot.figure_of(options, reports))

    def test_many_long_names_and_titles_do_not_overlap(self):
        names = [f'a server with a long name, build {number:02d}, of the branch_without_any_space_{number:02d}'
                 for number in range(14)]
        reports = [report(name, depth, 1 + index / 1000) for depth in (1, 16, 64) for _ in range(2)
                   for index, name in enumerate(names)]
        title = 'A title that goes on and on: ' + 'CPU a delivery, ' * 8
        for kind in (('latency',), ('series',), ('bars',), ('bars', '--log'), ('bars', '--group', 'depth', '--log')):
            with self.subTest(kind):
                said = self.check(self.figure_of(reports, *kind, '--title', title))
                said = {text.replace('\n', '').replace(' ', '') for text in said}
                for name in names:
                    self.assertIn(name.replace(' ', ''), said)

    def test_extreme_values_leave_room_for_their_numbers(self):
        for scales in ((1, 1), (1, 1000), (1, 1e9), (0.001, 1)):
            reports = [report(f'side {index}', 1, scale) for index, scale in enumerate(scales) for _ in range(3)]
            reports += [report('side 1', 1, 2 * scales[1])]
            for kind in (('latency',), ('series',), ('bars',), ('bars', '--log')):
                with self.subTest((scales, kind)):
                    self.check(self.figure_of(reports, *kind))

    def test_more_names_than_colours_stay_apart(self):
        reports = [report(f'side {index}', 1, 1) for index in range(12)]
        styles = [(style['color'], style['linestyle']) for style in self.plot.styles_of(reports)]
        self.assertEqual(len(set(styles)), 12)


if __name__ == '__main__':
    tap.main()
