"""Goal: operators see a server with the tools that they have: Prometheus takes what it answers, its health is told
while it is busy, its figures are on a listener of their own where one is given, and `metrics` and `top` show them.
Method: real servers with promtool, a Prometheus that scrapes, curl and the corelane program."""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                     # noqa: E402
from corelane import PATIENCE_S, PROGRAM, Process, Server, run   # noqa: E402
from listening import free_address                             # noqa: E402


def get(address, path, **headers):
    request = urllib.request.Request(f'http://{address}{path}', headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.status, answer.read().decode()


def status_of(address, path):
    try:
        return get(address, path)[0]
    except urllib.error.HTTPError as error:
        return error.code


PINGS = 101


def use(server):
    """Something of everything that is counted by kind."""
    run('ping', '--url', server.url, '-n', '100')     # pub sends one more, to know that it was heard
    run('pub', '--url', server.url, 'news', 'hello')
    run('send', '--url', server.url, '33333333-3333-3333-3333-333333333333', 'hello')
    status_of(server.address, '/nowhere')


class Prometheus(unittest.TestCase):
    def setUp(self):
        if not shutil.which('promtool') or not shutil.which('prometheus'):
            self.skipTest('prometheus is not installed')

    def test_promtool_has_nothing_to_say(self):
        with Server() as server:
            use(server)
            page = get(server.address, '/metrics')[1]
            for name in 'messages_received_total{core="0",opcode="Ping"}', 'runtime_turns_total{core="1"}':
                self.assertIn(name.partition('{')[0], page)
            checked = subprocess.run(['promtool', 'check', 'metrics'], input=page, capture_output=True, text=True,
                                     timeout=PATIENCE_S)
            self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, '', ''))

    def test_a_prometheus_scrapes_all_cores(self):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(Server('--admin-listen', '127.0.0.1:0'))
            admin = server.out.find(r'^listening on (\S+) \(2 cores, admin\)')[0].group(1)
            use(server)
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / 'prometheus.yml').write_text(
                'global: {scrape_interval: 1s}\n'
                f'scrape_configs: [{{job_name: corelane, static_configs: [{{targets: ["{admin}"]}}]}}]\n')
            address = free_address()
            stack.enter_context(Process(
                f'--config.file={folder}/prometheus.yml', f'--storage.tsdb.path={folder}/data',
                f'--web.listen-address={address}', program='prometheus'))

            def ask(query):
                url = f'/api/v1/query?{urllib.parse.urlencode({"query": query})}'
                return json.loads(get(address, url)[1])['data']['result']

            until = time.monotonic() + PATIENCE_S
            found = []
            while not found and time.monotonic() < until:
                with contextlib.suppress(OSError):     # it has not begun to listen
                    found = ask('sum(corelane_messages_received_total{opcode="Ping"})')
                time.sleep(0.1)                        # between two looks
            self.assertEqual(found[0]['value'][1], str(PINGS))
            self.assertEqual({one['metric']['core'] for one in ask('corelane_runtime_turns_total')}, {'0', '1'})
            self.assertEqual(ask('up{job="corelane"}')[0]['value'][1], '1')
            times = ask('histogram_quantile(0.5, corelane_handler_seconds_bucket{opcode="Ping"})')
            self.assertGreater(float(times[0]['value'][1]), 0)

    def test_openmetrics_are_for_those_who_ask_for_them(self):
        with Server() as server:
            page = get(server.address, '/metrics', Accept='application/openmetrics-text; version=1.0.0')[1]
            self.assertTrue(page.endswith('\n# EOF\n'))
            self.assertNotIn('# EOF', get(server.address, '/metrics', Accept='text/html')[1])


class Operators(unittest.TestCase):
    def test_they_have_a_listener_of_their_own(self):
        with Server('--admin-listen', '127.0.0.1:0') as server:
            admin = server.out.find(r'^listening on (\S+) \(2 cores, admin\)')[0].group(1)
            self.assertEqual([status_of(admin, path) for path in ('/metrics', '/healthz', '/readyz', '/')],
                             [200, 200, 200, 404])
            self.assertEqual([status_of(server.address, path) for path in ('/metrics', '/healthz', '/readyz')],
                             [404, 200, 200])

    def test_health_is_told_while_the_cores_are_busy(self):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(Server())
            loads = [stack.enter_context(Process('ping', '--url', server.url, '-n', '100000000', '--bytes', '60000',
                                                 stdin=subprocess.DEVNULL)) for _ in range(4)]
            for load in loads:
                load.out.find('.')
            for path in ('/healthz', '/readyz', '/metrics') * 5:
                self.assertEqual(status_of(server.address, path), 200)


class CommandLine(unittest.TestCase):
    def test_metrics_prints_cores_opcodes_and_figures(self):
        with Server('--node-name', 'node-7') as server:
            use(server)
            text = run('metrics', '--url', server.url)
            self.assertEqual(text.returncode, 0, text.stderr)
            self.assertRegex(text.stdout, r'^node-7  \d+\.\d+\.\d+\S*  up ')
            self.assertRegex(text.stdout, rf'\nPing +{PINGS} ')
            self.assertRegex(text.stdout, r'\npubsub_published_total 1\n')
            some = run('metrics', '--url', server.url, '--figures', 'pubsub_').stdout
            self.assertIn('pubsub_published_total 1\n', some)
            self.assertNotIn('net_connections', some)
            found = json.loads(run('metrics', '--url', server.url, '--json').stdout)
            opcodes = {one['name']: one for one in found['opcodes']}
            self.assertEqual(opcodes['Ping']['received'], str(PINGS))
            self.assertEqual(opcodes['Pong']['sent'], str(PINGS))
            self.assertEqual([core['core'] for core in found['cores']], [0, 1])
            figures = {one['name'] + one['labels']: one['values'] for one in found['figures']}
            self.assertEqual(sum(figures['pubsub_published_total']), 1)

    def test_top_shows_a_screen_of_80_columns(self):
        with Server() as server:
            use(server)
            once = run('top', '--url', server.url, '--once')
            self.assertEqual(once.returncode, 0, once.stderr)
            self.assertNotIn('\x1b', once.stdout)
            self.assertRegex(once.stdout, rf'\nPing +{PINGS} ')
            for line in once.stdout.splitlines():
                self.assertLessEqual(len(line), 80, line)
            with Process('top', '--url', server.url, '--json') as live:
                live.out.find('series', 3)
                points = json.loads(live.out.lines[2])['series'][0]['points']
                self.assertGreater(len(points), 0)
                for point in points:
                    self.assertLessEqual(point['cpu_permille'], 1200)

    def test_a_terminal_gets_one_screen_over_the_other(self):
        with Server() as server:
            live = run('script', '--quiet', '--return', '--command',
                       f'timeout --signal=INT 3 {PROGRAM} top --url {server.url}',
                       '/dev/null', program='/usr/bin/env')
            self.assertGreaterEqual(live.stdout.count('\x1b[H'), 2, live.stdout + live.stderr)
            screens = re.split('\x1b\\[H', live.stdout)
            for line in screens[-1].splitlines():
                self.assertLessEqual(len(re.sub('\x1b\\[[JK]', '', line).rstrip('\r')), 80, line)


if __name__ == '__main__':
    tap.main()
