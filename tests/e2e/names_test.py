"""Names as users give them: of hosts, interfaces, channels, sockets and files.

Goal: a link-local address is reached by its interface, which no other host hears of; a name service or an address that
does not answer costs no more than the time limit, and the exit code says which; whatever a name is made of, it is taken
as given. Method: real processes in a network of their own with a link, a name service and a resolv.conf of the test's.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import namespaces                                         # noqa: E402
import tap                                                # noqa: E402
from corelane import PATIENCE_S, PROGRAM, Process, Server, run  # noqa: E402
from name_service import NameService                      # noqa: E402

OK, SERVER_ERROR, USAGE, NOT_CONNECTED, TIMEOUT = range(5)
NOT_ISOLATED = namespaces.isolate()
# The loopback interface stands for a link: kernels without any other kind of test interface have it.
LINK, LINK_ADDRESS = 'lo', 'fe80::c0:1'
# Longer than any test waits: the resolver itself does not give up.
RESOLV_CONF = 'nameserver 127.0.0.53\noptions timeout:30 attempts:5\n'


@unittest.skipIf(NOT_ISOLATED, NOT_ISOLATED)
class Links(unittest.TestCase):
    """A link-local address: of this host's interface, not of the peer's."""

    @classmethod
    def setUpClass(cls):
        problem = namespaces.add_address(LINK, LINK_ADDRESS)
        if problem:
            raise unittest.SkipTest(problem)
        cls.index = socket.if_nametoindex(LINK)

    def test_is_listened_on_by_name_and_number_and_printed_by_name(self):
        for zone in LINK, str(self.index):
            with Server(listen=f'[{LINK_ADDRESS}%{zone}]:0') as server:
                self.assertEqual(server.host, f'[{LINK_ADDRESS}%{LINK}]')

    def test_is_connected_to_in_every_spelling_and_sent_without_its_zone(self):
        with Server('--tcp-listen', f'[{LINK_ADDRESS}%{LINK}]:0', listen=f'[{LINK_ADDRESS}%{LINK}]:0') as server:
            tcp = server.out.find(r'^listening on \[.*\]:(\d+) \(2 cores, tcp\)')[0].group(1)
            for zone in LINK, f'25{LINK}', str(self.index), f'25{self.index}', f'25{LINK[:-1]}%{ord(LINK[-1]):x}':
                for url in (f'ws://[{LINK_ADDRESS}%{zone}]:{server.port}/', f'tcp://[{LINK_ADDRESS}%{zone}]:{tcp}',
                            f'WS://[{LINK_ADDRESS.upper()}%{zone}]:{server.port}'):
                    result = run('whoami', '--json', '-u', url)
                    self.assertEqual(result.returncode, OK, f'{url}: {result.stderr}')
                    # What the server tells another host has no interface of its own in it.
                    self.assertRegex(json.loads(result.stdout)['remote_address'], rf'^\[{LINK_ADDRESS}\]:\d+$')

    def test_has_no_zone_in_the_host_field(self):
        with socket.create_server((LINK_ADDRESS, 0, 0, self.index), family=socket.AF_INET6) as listener:
            port = listener.getsockname()[1]
            with Process('whoami', '-u', f'ws://[{LINK_ADDRESS}%25{LINK}]:{port}/'):
                listener.settimeout(PATIENCE_S)
                with listener.accept()[0] as stream:
                    stream.settimeout(PATIENCE_S)
                    head = stream.recv(4096).decode()
            self.assertIn(f'\r\nHost: [{LINK_ADDRESS}]:{port}\r\n', head)

    def test_without_a_zone_or_with_one_that_is_not_there_is_refused_with_what_to_write(self):
        for address, problem in ((f'[{LINK_ADDRESS}]', 'needs its interface'),
                                 (f'[{LINK_ADDRESS}%nowhere]', 'ip link'), ('[::1%lo]', 'only link-local')):
            for arguments in ['ping', '-u', f'ws://{address}:9/'], ['serve', '--listen', f'{address}:0']:
                result = run(*arguments)
                self.assertEqual(result.returncode, USAGE, result.stderr)
                self.assertIn(problem, result.stderr)

    def test_counts_for_its_own_host_in_a_limit_of_addresses(self):
        with Server('--max-connections-per-ip', '1', listen=f'[{LINK_ADDRESS}%{LINK}]:0') as server:
            with Process('sub', 'x', '-u', server.url) as subscriber:
                subscriber.err.find('^subscribed')
                self.assertNotEqual(run('ping', '-u', server.url).returncode, OK)


@unittest.skipIf(NOT_ISOLATED, NOT_ISOLATED)
class Hosts(unittest.TestCase):
    """A name that has to be looked up."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        folder = cls.stack.enter_context(tempfile.TemporaryDirectory())
        namespaces.replace_file('/etc/resolv.conf', RESOLV_CONF, folder)

    @classmethod
    def tearDownClass(cls):
        subprocess.run(['umount', str(pathlib.Path('/etc/resolv.conf').resolve())], check=True)
        cls.stack.close()

    def test_of_a_service_that_does_not_answer_costs_the_time_limit(self):
        with NameService(silent=True) as service:
            for url in 'ws://quiet.example:9/', 'tcp://quiet.example:9':
                started = time.monotonic()
                result = run('ping', '-u', url, '-t', '300ms')
                self.assertEqual((result.returncode, result.stdout), (TIMEOUT, ''), result.stderr)
                self.assertIn('name service', result.stderr)
                self.assertLess(time.monotonic() - started, PATIENCE_S / 2)
            self.assertTrue(service.asked.is_set())

    def test_of_a_service_that_does_not_answer_is_left_by_a_signal(self):
        for number in signal.SIGINT, signal.SIGTERM:
            with NameService(silent=True) as service, Process('ping', '-u', 'ws://quiet.example:9/') as ping:
                self.assertTrue(service.asked.wait(PATIENCE_S))
                ping.signal(number)
                self.assertEqual(ping.exit_code(), 128 + number)
                self.assertEqual(ping.err.text(), '')

    def test_that_nobody_knows_is_3(self):
        with NameService():
            result = run('ping', '-u', 'ws://nobody.example:9/')
            self.assertEqual(result.returncode, NOT_CONNECTED, result.stderr)
            self.assertIn('no address of nobody.example: the name is not known', result.stderr)

    def test_with_no_service_at_all_is_3(self):
        result = run('ping', '-u', 'ws://nobody.example:9/')
        self.assertEqual(result.returncode, NOT_CONNECTED, result.stderr)
        self.assertIn('resolv.conf', result.stderr)

    def test_of_two_addresses_is_the_one_that_answers(self):
        with Server() as server, socket.create_server(('127.0.0.2', server.port)):
            for addresses in ['127.0.0.2', '127.0.0.1'], ['127.0.0.1', '127.0.0.2'], ['127.0.0.3', '127.0.0.1']:
                with NameService({'two.example': addresses}), Process(
                        'sub', 'x', '-n', '1', '-u', f'ws://TWO.example:{server.port}/') as subscriber:
                    subscriber.err.find('^subscribed')
                    self.assertEqual(run('pub', 'x', 'data', '-u', server.url).returncode, OK)
                    self.assertEqual(subscriber.exit_code(), OK, subscriber.err.text())

    def test_of_addresses_that_are_all_silent_costs_the_time_limit(self):
        with socket.create_server(('127.0.0.2', 0)) as silent, NameService({'a.example': ['127.0.0.2'] * 3}):
            result = run('ping', '-u', f'ws://a.example:{silent.getsockname()[1]}/', '-t', '600ms')
            self.assertEqual(result.returncode, TIMEOUT, result.stderr)


class Texts(unittest.TestCase):
    """Names that some parser takes for its own notation."""

    NAMES = ['[a,b]', 'a,b', '[a]', '{}', '[]', '@name', '"a"', "'a'", '\\', 'a=b', '=', '%25', '++', '-5', '-', ',',
             '["a"]', '#a', 'true', '[', 'a b']

    def test_of_channels_and_data_are_taken_as_given(self):
        with Server() as server, contextlib.ExitStack() as stack:
            subscriber = stack.enter_context(Process(
                'sub', '--json', '-n', str(len(self.NAMES) + 1), '-u', server.url, '--', *self.NAMES, '-x'))
            subscriber.err.find('^subscribed')
            for name in self.NAMES:
                data = 'dash' if name == '-' else name
                result = run('pub', name, data, '-u', server.url)
                self.assertEqual(result.returncode, OK, f'{name}: {result.stderr}')
            self.assertEqual(run('pub', '-u', server.url, '--', '-x', '--json').returncode, OK)
            self.assertEqual(subscriber.exit_code(), OK, subscriber.err.text())
            got = [json.loads(line) for line in subscriber.out.lines]
            self.assertEqual([one['channel'] for one in got], [*self.NAMES, '-x'])
            self.assertEqual([one['data'] for one in got],
                             ['dash' if name == '-' else name for name in self.NAMES] + ['--json'])

    def test_that_begin_with_a_dash_are_refused_with_what_to_write(self):
        result = run('pub', 'news', '-x')
        self.assertEqual(result.returncode, USAGE)
        self.assertIn('-x is no flag; in front of a name or data that begins with a dash, write --', result.stderr)

    def test_of_sockets_and_files_are_taken_as_given(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ['a,b', '[a]', 'a=b', '"a"', 'a b', '@a', '-x', '#a', 'a\\']:
                path = f'{folder}/{name}'
                for arguments, environment in ((['--listen', f'unix:{path}'], {}),
                                               ([], {'CORELANE_SERVER_LISTEN': f'unix:{path}'})):
                    with Process('serve', '--cores', '1', *arguments,
                                 env={**os.environ, **environment}) as server:
                        server.out.find('^listening on')
                        self.assertEqual(server.out.lines[0], f'listening on unix:{path} (1 core)')
                        pathlib.Path(path).unlink()
                config = pathlib.Path(folder) / f'{name}.toml'
                config.write_text('[server]\ncores = 3\n')
                for words in ['--config', config.name], [f'--config={config.name}'], [f'-c{config.name}']:
                    result = run('serve', *words, '--print-config', cwd=folder, program=os.path.abspath(PROGRAM))
                    self.assertIn('cores = 3 ', result.stdout, result.stderr)


if __name__ == '__main__':
    tap.main()
