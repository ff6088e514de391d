"""The client commands against a server of two cores.

Goal: what one command sends another one prints, over WebSocket, TCP and Unix sockets, and exit codes tell scripts what
happened. Method: real processes; `sub` says on stderr when it is subscribed, nothing else synchronises.
"""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                                  # noqa: E402
from corelane import PATIENCE_S, PROGRAM, Process, Server, Subscriber, run  # noqa: E402

OK, SERVER_ERROR, USAGE, NOT_CONNECTED, TIMEOUT, LOST, UNAVAILABLE, OUTPUT_FAILED = range(8)


class Messaging(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        folder = cls.stack.enter_context(tempfile.TemporaryDirectory())
        cls.unix_url = f'unix:{folder}/corelane.sock'
        cls.server = cls.stack.enter_context(
            Server('--tcp-listen', '127.0.0.1:0', '--tcp-listen', cls.unix_url, '--max-message', '1MiB'))
        tcp = cls.server.out.find(r'^listening on (127\S+) \(2 cores, tcp\)')[0].group(1)
        cls.urls = {'websocket': cls.server.url, 'tcp': f'tcp://{tcp}', 'unix': cls.unix_url}
        cls.url = cls.server.url

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def command(self, *arguments, expect=OK, **keywords):
        result = run(*arguments, '--url', self.url, **keywords)
        self.assertEqual(result.returncode, expect, f'{arguments}: {result.stdout}{result.stderr}')
        return result.stdout

    def test_what_is_published_arrives(self):
        with Subscriber(self.url, 'quick', '--count', '1') as subscriber:
            self.command('pub', 'quick', 'hello world')
            self.assertEqual(subscriber.exit_code(), OK)
            self.assertRegex(subscriber.out.text(), r'^quick \d+ hello world$')

    def test_all_transports_exchange_messages(self):
        for number, (name, url) in enumerate(self.urls.items()):
            for publisher in self.urls.values():
                with Subscriber(url, f'over-{name}', '-n', '1', '--json') as subscriber:
                    self.assertEqual(run('pub', f'over-{name}', f'n{number}', '-u', publisher).returncode, OK)
                    self.assertEqual(subscriber.exit_code(), OK)
                    self.assertEqual(json.loads(subscriber.out.text())['data'], f'n{number}')

    def test_lines_of_stdin_are_messages_in_order(self):
        lines = [f'line {i} ' + 'x' * (i % 700) for i in range(2000)]
        with Subscriber(self.url, 'lines', '--count', '2000') as subscriber:
            self.command('pub', 'lines', '-', input='\n'.join(lines))
            self.assertEqual(subscriber.exit_code(), OK)
            got = [line.split(' ', 2) for line in subscriber.out.text().split('\n')]
            self.assertEqual([data for _, _, data in got], lines)
            offsets = [int(offset) for _, offset, _ in got]
            self.assertEqual(offsets, list(range(offsets[0], offsets[0] + 2000)))

    def test_stdin_may_be_a_file_and_one_message(self):
        with tempfile.TemporaryFile('w+') as file, Subscriber(self.url, 'whole', '-n', '1', '--json') as subscriber:
            file.write('first\nsecond\n')
            file.seek(0)
            self.command('pub', 'whole', '-', '--whole', stdin=file)
            self.assertEqual(subscriber.exit_code(), OK)
            self.assertEqual(json.loads(subscriber.out.text())['data'], 'first\nsecond\n')

    def test_an_ack_counts_the_subscribers(self):
        with Subscriber(self.url, 'count'), Subscriber(self.url, 'count'), Subscriber(self.urls['tcp'], 'count'):
            ack = json.loads(self.command('pub', 'count', 'x', '--ack', '--json'))
            self.assertEqual((ack['kind'], ack['delivered'], ack['level']), ('ack', 3, 'accepted'))
        self.assertEqual(self.command('pub', 'nobody', 'x', '--ack'), 'delivered to 0\n')

    def test_a_message_of_almost_the_limit_passes_and_one_above_it_is_refused(self):
        with Subscriber(self.url, 'large', '-n', '1', '--json') as subscriber:
            large = 'L' * (1024 * 1024 - 512)
            self.command('pub', 'large', '-', '--whole', input=large)
            self.assertEqual(subscriber.exit_code(), OK)
            self.assertEqual(len(json.loads(subscriber.out.text())['data']), len(large))
        result = run('pub', 'large', '-', '--whole', '--url', self.url, input='L' * (1024 * 1024 + 1))
        self.assertEqual(result.returncode, LOST)
        self.assertIn('1009', result.stderr)

    def test_send_reaches_one_session_and_broadcast_all(self):
        with Subscriber(self.url, 'a') as first, Subscriber(self.urls['tcp'], 'b') as second:
            self.assertEqual(self.command('send', first.session, 'psst', '--ack'), 'delivered to 1\n')
            first.out.find(r'^direct [0-9a-f-]{36} psst$')
            delivered = int(self.command('broadcast', 'to all', '--ack').split()[-1])
            self.assertGreaterEqual(delivered, 2)
            for subscriber in first, second:
                subscriber.out.find(r'^broadcast [0-9a-f-]{36} to all$')
            self.assertEqual(len(second.out.lines), 1)

    def test_errors_of_the_server_are_told(self):
        nobody = '33333333-3333-3333-3333-333333333333'
        self.command('send', nobody, 'x', expect=SERVER_ERROR)
        error = json.loads(self.command('send', nobody, 'x', '--json', expect=SERVER_ERROR))
        self.assertEqual((error['kind'], error['code'], error['number']), ('error', 'unknown_session', 300))
        for names, what in ((['x' * 256], 'channel_name_invalid: a channel name has'),
                            ([''], '"": channel_name_invalid'),
                            (['ok', 'b\x1b[2J'], r'"b\x1b[2J": channel_name_invalid: a channel name has'),
                            (['a', 'a'], '"a": already_subscribed: it is named twice')):
            refused = run('sub', *names, '--url', self.url)
            self.assertEqual(refused.returncode, SERVER_ERROR, names)
            self.assertIn(what, refused.stderr)
        self.command('pub', 'x' * 256, 'data', expect=SERVER_ERROR)
        self.command('pub', 'x' * 256, 'data', '--ack', expect=SERVER_ERROR)

    def test_binary_data_keeps_lines_whole(self):
        with Subscriber(self.url, 'raw', '-n', '1') as text, Subscriber(self.url, 'raw', '-n', '1', '-j') as machine:
            self.command('pub', 'raw', 'a\nb\x1b[2Jü\udcff')
            self.assertEqual(text.exit_code(), OK)
            self.assertRegex(text.out.text(), r'^raw \d+ a\\x0ab\\x1b\[2Jü\\xff$')
            self.assertEqual(machine.exit_code(), OK)
            self.assertEqual(json.loads(machine.out.text())['data_base64'], 'YQpiG1sySsO8/w==')

    def test_whoami_and_ping_answer(self):
        for name, url in self.urls.items():
            who = json.loads(run('whoami', '--json', '-u', url).stdout)
            self.assertEqual(who['transport'], {'unix': 'unix_stream'}.get(name, name))
            self.assertRegex(who['session'], '^[0-9a-f-]{36}$')
            self.assertIn(who['core'], (0, 1))
        pongs = self.command('ping', '--count', '3', '--bytes', '100000').splitlines()
        self.assertEqual(len(pongs), 3)
        self.assertTrue(all(re.match(r'pong in [\d.]+ ms, 100000 bytes$', line) for line in pongs))

    def test_localhost_is_resolved(self):
        self.assertEqual(run('ping', '-u', f'ws://localhost:{self.server.port}/').returncode, OK)


class ExitCodes(unittest.TestCase):
    def test_wrong_arguments_are_2(self):
        for arguments in (['pub', 'only-a-channel'], ['sub'], ['ping', '--timeout', 'soon'], ['ping', '--nope'],
                          ['ping', '--timeout', ''], ['ping', '--timeout='], ['ping', '-t', '0s'],
                          ['send', 'no-uuid', 'x'], ['ping', '-u', 'http://127.0.0.1/'], ['ping', '-u', 'wss://h/'],
                          ['ping', '-n', '-1'], ['sub', 'x', '-n', '-1'], ['ping', '--bytes', '-1']):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (USAGE, ''), arguments)
            self.assertIn(f'corelane {arguments[0]}: ', result.stderr)

    def test_nobody_there_is_3(self):
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))   # bound, so that nobody else gets the port; not listening
            result = run('ping', '-u', f'ws://127.0.0.1:{unused.getsockname()[1]}/')
        self.assertEqual(result.returncode, NOT_CONNECTED)
        self.assertIn('is `corelane serve` running', result.stderr)

    def test_a_server_that_does_not_answer_is_4(self):
        with socket.create_server(('127.0.0.1', 0)) as silent:
            port = silent.getsockname()[1]
            for url in f'ws://127.0.0.1:{port}/', f'tcp://127.0.0.1:{port}':
                self.assertEqual(run('ping', '-u', url, '--timeout', '200ms').returncode, TIMEOUT, url)

    def test_a_server_that_does_not_answer_is_not_waited_for_again(self):
        # It would not answer a close either. Of five the quickest: that only a wait of two seconds is longer.
        with socket.create_server(('127.0.0.1', 0)) as silent:
            quickest = PATIENCE_S
            for _ in range(5):
                begin = time.monotonic()
                result = run('ping', '-u', f'tcp://127.0.0.1:{silent.getsockname()[1]}', '--timeout', '100ms')
                self.assertEqual(result.returncode, TIMEOUT)
                quickest = min(quickest, time.monotonic() - begin)
                if quickest < 1.5:
                    break
            self.assertLess(quickest, 1.5)

    def test_an_http_listener_is_named_to_a_client_of_plain_streams(self):
        with tempfile.TemporaryDirectory() as folder, Server('--listen', f'unix:{folder}/http') as server:
            for url in f'tcp://127.0.0.1:{server.port}', f'unix:{folder}/http':
                for arguments in ['whoami'], ['sub', 'x'], ['pub', 'x', 'y'], ['pub', 'x', 'y', '--ack']:
                    result = run(*arguments, '-u', url)
                    self.assertEqual(result.returncode, LOST, f'{arguments}: {result.stderr}')
                    self.assertIn('an HTTP listener answered: tcp:// and unix: are', result.stderr)

    def test_no_message_in_time_is_4(self):
        with Server() as server:
            result = run('sub', 'silence', '-u', server.url, '--timeout', '300ms')
            self.assertEqual((result.returncode, result.stdout), (TIMEOUT, ''))

    def test_a_server_that_goes_away_is_5(self):
        with Server() as server, Subscriber(server.url, 'x') as subscriber:
            server.signal(signal.SIGTERM)
            self.assertEqual(subscriber.exit_code(), LOST)
            self.assertIn('1001', subscriber.err.text())
            self.assertEqual(server.exit_code(), 0)
        with Server() as server, Subscriber(server.url, 'x') as subscriber:
            server.signal(signal.SIGKILL)
            self.assertEqual(subscriber.exit_code(), LOST)

    def test_a_message_that_cannot_be_written_is_7(self):
        with Server() as server, open('/dev/full', 'wb') as full:
            with subprocess.Popen([PROGRAM, 'sub', 'x', '-u', server.url], stdout=full, stderr=subprocess.PIPE,
                                  text=True) as subscriber, contextlib.ExitStack() as stack:
                stack.callback(subscriber.kill)
                self.assertIn('subscribed', subscriber.stderr.readline())
                self.assertEqual(run('pub', 'x', 'lost', '-u', server.url).returncode, OK)
                self.assertEqual(subscriber.wait(PATIENCE_S), OUTPUT_FAILED)
                self.assertIn('stdout', subscriber.stderr.read())

    def test_a_stderr_that_takes_nothing_changes_no_exit_code(self):
        with Server() as server, open('/dev/full', 'wb') as full:
            silence = ['sub', 'x', '--timeout', '300ms']
            for arguments, expected in (['pub', 'only-a-channel'], USAGE), (silence, TIMEOUT):
                result = subprocess.run([PROGRAM, *arguments, '-u', server.url], stderr=full, timeout=PATIENCE_S)
                self.assertEqual(result.returncode, expected, arguments)

    def test_a_signal_closes_properly_and_is_128_and_its_number(self):
        with Server() as server, Subscriber(server.url, 'x') as subscriber:
            subscriber.signal(signal.SIGINT)
            self.assertEqual(subscriber.exit_code(), 128 + signal.SIGINT)
            read, write = os.pipe()
            with Process('pub', 'x', '-', '-u', server.url, stdin=read) as publisher:
                os.write(write, b'one line\n')
                os.close(read)
                publisher.signal(signal.SIGTERM)
                # Before its first instruction the signal just kills it.
                self.assertIn(publisher.exit_code(), (128 + signal.SIGTERM, -signal.SIGTERM))
            os.close(write)

    def test_output_that_cannot_be_written_is_7_whatever_the_command(self):
        for arguments in ['version'], ['help'], ['help', 'pub'], ['serve', '--help'], ['serve', '--print-config']:
            with open('/dev/full', 'wb') as full:
                result = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.DEVNULL,
                                        timeout=PATIENCE_S)
                self.assertEqual(result.returncode, OUTPUT_FAILED, arguments)
            read, write = os.pipe()
            os.close(read)
            result = subprocess.run([PROGRAM, *arguments], stdout=write, stderr=subprocess.PIPE, timeout=PATIENCE_S)
            os.close(write)
            self.assertEqual((result.returncode, result.stderr), (OUTPUT_FAILED, b''), arguments)


class Limits(unittest.TestCase):
    """What the host lets a command have may be too little: that is said, and never an abort."""

    LIKE_NAME_AND_ADDRESS = ['ping', '-u', 'ws://localhost:9/'], ['ping', '-u', 'ws://127.0.0.1:9/']

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o755)
        cls.program = shutil.copy(PROGRAM, folder)      # the build folder may be closed to others

    def command(self, limit, value, *arguments):
        def confine():
            resource.setrlimit(limit, (value, value))
            if os.getuid() == 0:      # to root most limits do not apply
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=PATIENCE_S,
                              preexec_fn=confine)

    def test_of_threads_is_1_with_what_to_raise(self):
        result = self.command(resource.RLIMIT_NPROC, 1, *self.LIKE_NAME_AND_ADDRESS[0])
        self.assertEqual(result.returncode, SERVER_ERROR, result.stderr)
        self.assertRegex(result.stderr, r'^corelane ping: .*ulimit -u, now 1.*pids\.max\n$')
        result = self.command(resource.RLIMIT_NPROC, 1, *self.LIKE_NAME_AND_ADDRESS[1])
        self.assertEqual(result.returncode, NOT_CONNECTED, result.stderr)   # an address needs no thread

    def test_of_files_is_1_with_what_to_raise(self):
        codes = set()
        for files in range(3, 12):
            result = self.command(resource.RLIMIT_NOFILE, files, *self.LIKE_NAME_AND_ADDRESS[files % 2])
            if result.returncode == 127:    # the loader could not open a library
                continue
            codes.add(result.returncode)
            self.assertIn(result.returncode, (SERVER_ERROR, NOT_CONNECTED), f'{files}: {result.stderr}')
            if result.returncode == SERVER_ERROR:
                self.assertRegex(result.stderr, rf'^corelane ping: .*limit of open files is {files}: raise .*\n$')
        self.assertEqual(codes, {SERVER_ERROR, NOT_CONNECTED})

    COMMANDS = (['version'], ['help'], ['doctor', '--json'], *LIKE_NAME_AND_ADDRESS, ['serve', '--print-config'],
                ['serve', '--listen', 'nowhere'], ['echo', '--help'])

    def low_memory(self, limit, megabytes, arguments, name):
        result = self.command(limit, megabytes * 1_000_000, *arguments)
        case = f'{name} {megabytes} MB, {arguments}: {result.returncode} {result.stderr}'
        if result.returncode == 127:
            self.assertIn('error while loading shared libraries', result.stderr, case)
        elif result.returncode == SERVER_ERROR and 'doctor' not in arguments:
            self.assertRegex(result.stderr, rf'^corelane[^\n]*limit of {name} is \d+ MiB: raise it[^\n]*\n$', case)
        return result.returncode, case

    def test_of_memory_is_1_with_what_to_raise(self):
        """Also where the allocator refuses the first static initialiser of the program."""
        for limit, name, sweep in ((resource.RLIMIT_AS, 'the address space', (12, 30, *range(40, 120, 10))),
                                   (resource.RLIMIT_DATA, 'data', (1, 5, 20, 35, 40, 60))):
            codes = set()
            for megabytes in sweep:
                for arguments in self.COMMANDS:
                    code, case = self.low_memory(limit, megabytes, arguments, name)
                    self.assertIn(code, (OK, SERVER_ERROR, USAGE, NOT_CONNECTED, UNAVAILABLE, 127), case)
                    codes.add(code)
            self.assertLessEqual({OK, SERVER_ERROR, NOT_CONNECTED}, codes)


if __name__ == '__main__':
    tap.main()
