"""Goal: corelane-load measures an honest server without complaint and convicts one that lies. Method: it runs against
the raw epoll echo, and against small servers here that damage, swap or swallow messages or hang up."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

# Not as perf.load: Debian's kernel tools bring a module of the name perf.
sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), '..', '..')]
import lying_servers  # noqa: E402
from tests.support import tap  # noqa: E402

LOAD = sys.argv[1] if len(sys.argv) > 1 else ''
RAW_ECHO = sys.argv[2] if len(sys.argv) > 2 else ''
CORELANE = sys.argv[3] if len(sys.argv) > 3 else ''
TIMEOUT_S = 60
SIZE = 32


class Load(unittest.TestCase):

    def run_load(self, *arguments):
        done = subprocess.run([LOAD, *arguments, '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=TIMEOUT_S, check=False)
        report = json.loads(done.stdout)
        self.assertEqual('fault' in report, done.returncode == 1)
        self.assertEqual('FAULTY SERVER' in done.stderr, done.returncode == 1)
        return done.returncode, report

    def echo(self, port, *arguments, seconds=0.2):
        return self.run_load('echo', '--url', f'tcp://127.0.0.1:{port}', '--seconds', str(seconds), '--warmup',
                             '0.05', '--size', str(SIZE), '--connections', '3', *arguments)

    def start_raw_echo(self):
        process = subprocess.Popen([RAW_ECHO], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        port = int(re.fullmatch(r'listening (\d+)\n', process.stdout.readline())[1])
        return process, port

    def lying(self, lie):
        server = lying_servers.Echo(SIZE, lie)
        self.addCleanup(server.close)
        return self.echo(server.port, '--depth', '4')

    def test_measures_an_honest_server(self):
        process, port = self.start_raw_echo()
        for depth in (1, 16):
            status, report = self.echo(port, '--depth', str(depth), '--server-pid', str(process.pid))
            self.assertEqual(status, 0)
            self.assertEqual(report['errors'], {'wrong': 0, 'closed': 0, 'lost': 0})
            self.assertGreater(report['messages'], 0)
            self.assertGreaterEqual(report['messages_total'], report['messages'])
            self.assertGreater(report['server']['cpu_ns_per_message'], 0)
            latency = report['latency_ns']
            self.assertLessEqual(latency['p50'], latency['p99'])
            self.assertLessEqual(latency['p99'], latency['max'])

    def test_sends_whole_batches_once_the_one_before_is_back(self):
        process, port = self.start_raw_echo()
        status, report = self.echo(port, '--depth', '8', '--batch', '--server-pid', str(process.pid))
        self.assertEqual(status, 0)
        self.assertEqual(report['errors'], {'wrong': 0, 'closed': 0, 'lost': 0})
        self.assertGreater(report['messages_total'], 0)
        self.assertEqual(report['messages_total'] % 8, 0, 'a batch was cut')

    def test_reads_the_memory_of_a_server_with_idle_connections(self):
        process, port = self.start_raw_echo()
        status, report = self.run_load('idle', '--url', f'tcp://127.0.0.1:{port}', '--connections',
                                       '200', '--hold', '0', '--server-pid', str(process.pid))
        self.assertEqual(status, 0)
        self.assertEqual(report['connections'], 200)
        self.assertGreater(report['server']['rss_bytes_before'], 0)

    def idle_with_descriptors(self, limit, connections):
        """Under a limit that the load may not raise: for that root must be without a capability."""
        process, port = self.start_raw_echo()
        bounded = ['setpriv', '--bounding-set', '-sys_resource'] if os.geteuid() == 0 else []
        return subprocess.run([*bounded, 'prlimit', f'--nofile={limit}', LOAD, 'idle', '--url',
                               f'tcp://127.0.0.1:{port}', '--connections', str(connections), '--hold', '0',
                               '--server-pid', str(process.pid), '--json'],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)

    def test_holds_idle_connections_in_as_many_processes_as_descriptors_ask_for(self):
        done = self.idle_with_descriptors(80, 100)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertEqual(json.loads(done.stdout)['connections'], 100)

    def test_says_so_when_there_are_no_descriptors_for_connections(self):
        for limit in (64, 40):
            done = self.idle_with_descriptors(limit, 100)
            self.assertEqual((done.returncode, done.stdout), (3, ''))
            self.assertIn('corelane-load: ', done.stderr)

    def test_says_nothing_of_a_python_server_that_does_not_lie(self):
        status, report = self.lying(lambda messages, _: messages)
        self.assertEqual(status, 0)
        self.assertGreater(report['messages_total'], 0)

    def test_convicts_a_server_that_changes_one_byte(self):
        def lie(messages, echoed):
            if echoed <= 20 < echoed + len(messages):
                good = messages[20 - echoed]
                messages[20 - echoed] = good[:-1] + bytes([good[-1] ^ 1])
            return messages
        status, report = self.lying(lie)
        self.assertEqual(status, 1)
        self.assertEqual(report['errors']['wrong'], 3)

    def test_convicts_a_server_that_swallows_messages(self):
        status, report = self.lying(lambda messages, echoed: messages[1:] if echoed >= 20 else messages)
        self.assertEqual(status, 1)
        self.assertGreater(report['errors']['wrong'] + report['errors']['lost'], 0)

    def test_convicts_a_server_that_doubles_messages(self):
        status, report = self.lying(lambda messages, _: messages + messages)
        self.assertEqual(status, 1)
        self.assertEqual(report['errors']['wrong'], 3)

    def test_convicts_a_server_that_hangs_up(self):
        def lie(messages, echoed):
            if echoed > 20:
                raise ConnectionError
            return messages
        status, report = self.lying(lie)
        self.assertEqual(status, 1)
        self.assertEqual(report['errors']['closed'], 3)

    def test_counts_the_answers_that_come_with_a_goodbye(self):
        server = lying_servers.WebSocketEcho(5)
        self.addCleanup(server.close)
        status, report = self.run_load('echo', '--url', f'ws://127.0.0.1:{server.port}/', '--connections', '1',
                                       '--depth', '2', '--size', str(SIZE), '--seconds', '0.1', '--warmup', '0')
        self.assertEqual((status, report['errors']['closed']), (1, 1))
        self.assertEqual(report['messages_total'], 5)

    def test_follows_a_fixed_rate_and_says_when_it_is_not_reached(self):
        _, port = self.start_raw_echo()
        for rate in (2000, 50_000_000):
            status, report = self.echo(port, '--rate', str(rate))
            self.assertEqual((status, report['mode'], report['open']['rate_wanted']), (0, 'open', rate))
            self.assertGreater(report['messages'], 0)
            # Nothing is sent before it is due; whether 2,000 a second are reached is up to the machine.
            began_late = report['open']['lag_ns']['max'] / 1e9
            self.assertLessEqual(report['open']['rate_sent'], 1.01 * rate * (1 + began_late / report['seconds']))
            if report['open']['rate_reached']:
                self.assertGreaterEqual(report['open']['rate_sent'], 0.99 * rate)
        self.assertFalse(report['open']['rate_reached'])

    def start_corelane(self, *arguments):
        process = subprocess.Popen([CORELANE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        listeners = sum('listen' in one for one in arguments)
        ports = [int(re.search(r':(\d+) ', process.stdout.readline())[1]) for _ in range(listeners)]
        return process, ports

    def test_echoes_through_compression_and_says_so_where_there_is_none(self):
        echo = ('echo', '--cores', '1', '--listen', '127.0.0.1:0')
        _, (deflating,) = self.start_corelane(*echo, '--deflate')
        _, (plain,) = self.start_corelane(*echo)
        compressed = ('echo', '--compressed', '--connections', '3', '--depth', '4', '--seconds', '0.2', '--warmup', '0')
        for size in (64, 1000, 70_000):
            status, report = self.run_load(*compressed, '--size', str(size), '--url', f'ws://127.0.0.1:{deflating}/')
            self.assertEqual(status, 0, report)
            self.assertGreater(report['messages_total'], 0)
        for url, wanted in ((f'ws://127.0.0.1:{plain}/', 3), (f'tcp://127.0.0.1:{plain}', 2)):
            done = subprocess.run([LOAD, *compressed, '--url', url], stderr=subprocess.PIPE, text=True,
                                  timeout=TIMEOUT_S, check=False)
            self.assertEqual(done.returncode, wanted, url)
            self.assertRegex(done.stderr, 'permessage-deflate|--compressed')

    def test_runs_every_workload_against_our_own_server(self):
        process, ports = self.start_corelane('serve', '--cores', '1', '--listen', '127.0.0.1:0', '--tcp-listen',
                                             '127.0.0.1:0')
        web, http, tcp = (f'ws://127.0.0.1:{ports[0]}/', f'http://127.0.0.1:{ports[0]}/healthz',
                          f'tcp://127.0.0.1:{ports[1]}')
        short = ('--seconds', '0.2', '--warmup', '0.05', '--server-pid', str(process.pid))
        opcode = ('fanout', '--protocol', 'opcode', '--subscribers', '5', '--size', '64', *short, '--url')
        for command in (('ping', *short, '--connections', '4', '--depth', '3', '--url', web),
                        ('ping', *short, '--connections', '4', '--rate', '500', '--url', tcp),
                        ('send', *short, '--connections', '3', '--depth', '2', '--url', web),
                        ('send', *short, '--connections', '3', '--url', tcp),
                        ('mixed', *short, '--connections', '7', '--depth', '3', '--members', '3', '--url', web),
                        ('mixed', *short, '--connections', '3', '--rate', '300', '--script', 'publish=1', '--url', tcp),
                        ('http', *short, '--connections', '4', '--depth', '2', '--url', http),
                        ('connect', *short, '--connections', '4', '--source-addresses', '3', '--url', web),
                        ('connect', *short, '--connections', '4', '--ramp', '500', '--url', tcp),
                        (*opcode, web, '--in-flight', '8', '--stalled', '1', '--slow', '1'),
                        (*opcode, web, '--in-flight', '9', '--channels', '2', '--publishers', '3', '--stalled', '1'),
                        (*opcode, tcp, '--rate', '500', '--channels', '5'),
                        (*opcode, tcp, '--rate', '300', '--system-calls')):
            with self.subTest(command=command[0], url=command[-1]):
                status, report = self.run_load(*command)
                self.assertEqual(status, 0, report)
                self.assertEqual(report['load'], command[0])
                self.assertGreater(report['messages'], 0)
                self.assertEqual(report['messages'], sum(row['messages'] for row in report['series']))
                self.assertGreater(report['server']['cpu_ns_per_message'], 0)
        for protocol in ('raw', 'opcode'):
            status, report = self.run_load('idle', '--url', web, '--connections', '100', '--protocol', protocol,
                                           '--hold', '0', '--source-addresses', '2', '--server-pid',
                                           str(process.pid))
            self.assertEqual((status, report['connections'], report['closed_early']), (0, 100, 0))

    def test_a_mixed_script_does_what_its_weights_say(self):
        _, (port,) = self.start_corelane('serve', '--cores', '1', '--listen', '127.0.0.1:0')
        mixed = ('mixed', '--url', f'ws://127.0.0.1:{port}/', '--connections', '4', '--depth', '2')
        status, report = self.run_load(*mixed, '--seconds', '0.3', '--warmup', '0', '--script', 'ping=3,send=1')
        counts = {name: report['mixed'][name]['count'] for name in ('ping', 'publish', 'send')}
        self.assertEqual((status, counts['publish'], sum(counts.values())), (0, 0, report['messages']))
        self.assertGreater(counts['ping'], counts['send'])
        self.assertGreater(counts['send'], 0)
        for wrong in (('--script', 'ping=1,jump=2'), ('--script', 'ping=0'), ('--size', '15')):
            done = subprocess.run([LOAD, *mixed, *wrong], stderr=subprocess.PIPE, timeout=TIMEOUT_S, check=False)
            self.assertEqual(done.returncode, 2, wrong)

    def test_writes_its_report_and_its_seconds_to_files(self):
        _, port = self.start_raw_echo()
        with tempfile.TemporaryDirectory() as folder:
            files = [os.path.join(folder, name) for name in ('report.json', 'seconds.csv')]
            status, report = self.echo(port, '--output', files[0], '--csv', files[1], '--name', 'a "name"', seconds=1.2)
            self.assertEqual(status, 0)
            with open(files[0], encoding='utf-8') as file:
                self.assertEqual(json.load(file), report)
            with open(files[1], encoding='utf-8') as file:
                rows = list(csv.DictReader(file))
        self.assertEqual(report['name'], 'a "name"')
        self.assertEqual([int(row['messages']) for row in rows], [row['messages'] for row in report['series']])
        self.assertEqual(len(rows), 2)

    def test_convicts_fan_out_servers_that_lie(self):
        def damaged(number, message):
            return [message[:-1] + bytes([message[-1] ^ 1])] if number == 20 else [message]

        def lost(number, message):
            return [] if number == 20 else [message]

        def doubled(number, message):
            return [message, message] if number == 20 else [message]

        kept = []

        def swapped(number, message):
            if number == 20:
                kept.append(message)
                return []
            return [message, kept.pop()] if kept else [message]

        for websocket in (False, True):
            with self.subTest(websocket=websocket):
                status, report = self.fan_out(lambda _, message: [message], websocket)
                self.assertEqual(status, 0, report)
                self.assertGreater(report['messages'], 0)
                self.assertGreater(report['messages_total'], 3 * 20)
                for lie in (damaged, lost, doubled, swapped):
                    status, report = self.fan_out(lie, websocket)
                    self.assertEqual((status, report['errors']['wrong']), (1, 1), lie.__name__)

    def test_convicts_a_fan_out_server_that_falls_silent(self):
        status, report = self.fan_out(lambda number, message: [] if number >= 20 else [message], False)
        self.assertEqual((status, report['errors']['lost']), (1, 4))
        self.assertEqual(report['fault'], 'message 20 never came to 1 of 3 subscribers')

    def fan_out(self, lie, websocket):
        server = lying_servers.FanOut(SIZE, lie, websocket)
        self.addCleanup(server.close)
        scheme = 'ws' if websocket else 'tcp'
        return self.run_load('fanout', '--url', f'{scheme}://127.0.0.1:{server.port}', '--subscribers', '3',
                             '--in-flight', '4', '--size', str(SIZE), '--seconds', '0.3', '--warmup', '0')

    def test_acknowledges_each_delivery_also_where_a_subscriber_has_spoken_before(self):
        _, (port,) = self.start_corelane('serve', '--cores', '1', '--listen', '127.0.0.1:0')
        proxy = lying_servers.Proxy(port)
        status, report = self.run_load('fanout', '--protocol', 'opcode', '--url', f'ws://127.0.0.1:{proxy.port}/',
                                       '--subscribers', '1', '--size', str(SIZE), '--seconds', '0.3', '--warmup', '0')
        proxy.close()
        self.assertEqual(status, 0, report)
        pieces, segments_in = max(proxy.clients)  # the other one is the publisher
        self.assertGreaterEqual(pieces, report['messages_total'])
        self.assertGreater(segments_in, 0.9 * pieces)  # of a conversation: half as many

    def test_publishes_one_by_one_in_writes_of_their_own(self):
        _, (port,) = self.start_corelane('serve', '--cores', '1', '--listen', '127.0.0.1:0')
        proxy = lying_servers.Proxy(port)
        status, report = self.run_load('fanout', '--protocol', 'opcode', '--url', f'ws://127.0.0.1:{proxy.port}/',
                                       '--subscribers', '1', '--size', str(SIZE), '--in-flight', '8', '--one-by-one',
                                       '--seconds', '0.3', '--warmup', '0')
        proxy.close()
        self.assertEqual(status, 0, report)
        _, segments_in = min(proxy.clients)  # of the publisher; eight in one write: an eighth
        self.assertGreater(segments_in, 0.7 * report['messages_total'])

    def test_refuses_channels_and_publishers_that_a_protocol_cannot_tell_apart(self):
        for arguments in (('--channels', '2'), ('--publishers', '2'),
                          ('--protocol', 'nats', '--publishers', '2', '--size', '7'),
                          ('--protocol', 'nats', '--channels', '4', '--subscribers', '3')):
            done = subprocess.run([LOAD, 'fanout', '--url', 'tcp://127.0.0.1:1', *arguments], stderr=subprocess.PIPE,
                                  text=True, timeout=TIMEOUT_S, check=False)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertRegex(done.stderr, '--(channels|publishers): ')

    def test_says_so_when_nobody_listens_or_the_url_is_wrong(self):
        with socket.create_server(('127.0.0.1', 0)) as unused:
            port = unused.getsockname()[1]
        for url, status in ((f'tcp://127.0.0.1:{port}', 3), ('http://127.0.0.1:1', 2), ('ws://name:1', 2)):
            done = subprocess.run([LOAD, 'echo', '--url', url], stderr=subprocess.PIPE, text=True,
                                  timeout=TIMEOUT_S, check=False)
            self.assertEqual(done.returncode, status, url)
            self.assertIn('corelane-load:', done.stderr)


if __name__ == '__main__':
    tap.main()
