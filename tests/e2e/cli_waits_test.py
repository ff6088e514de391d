"""Client commands while they wait: for input, for answers, for a reader of their output.

Goal: whatever comes first is acted on, with the documented exit code; a reader that pauses costs neither the
connection nor a message, and memory stays bounded. Method: real processes. Their standard input stays open and their
output is not read until the test says so. To know that the server would have missed a pong by now, a WebSocket that
never answers one is opened: the server closes it after the same time.
"""

import base64
import contextlib
import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                                  # noqa: E402
from corelane import PATIENCE_S, PROGRAM, Process, Server, Subscriber, run  # noqa: E402

OK, SERVER_ERROR, USAGE, NOT_CONNECTED, TIMEOUT, LOST, UNAVAILABLE, OUTPUT_FAILED = range(8)
REFUSED = 'x' * 256   # a channel name that the server refuses
HASTE = ['--ping-interval', '2s', '--pong-timeout', '2s']


class OpenInput(Process):
    """A command whose standard input stays open until finish()."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, stdin=subprocess.PIPE, **keywords)

    def write(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def finish(self):
        self.process.stdin.close()


class Unread(contextlib.AbstractContextManager):
    """A command whose stdout is a pipe that nobody reads; its stderr is read, or is the same pipe."""

    def __init__(self, *arguments, stderr=subprocess.PIPE, **keywords):
        self.reading, writing = os.pipe()
        errors = writing if stderr == subprocess.STDOUT else stderr
        self.process = subprocess.Popen([PROGRAM, *arguments], stdout=writing, stderr=errors, text=True, **keywords)
        os.close(writing)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self.stop_reading()
        if self.process.stderr:
            self.process.stderr.close()

    def stop_reading(self):
        if self.reading >= 0:
            os.close(self.reading)
        self.reading = -1

    def subscribed(self):
        line = self.process.stderr.readline()
        if 'subscribed' not in line:
            raise AssertionError(line)

    def read_all(self):
        """Everything up to the end of the process."""
        data = b''
        while piece := os.read(self.reading, 1 << 20):
            data += piece
        return data.decode()

    def read_lines(self, count):
        data = b''
        while data.count(b'\n') < count:
            piece = os.read(self.reading, 1 << 20)
            if not piece:
                raise AssertionError(f'{data.count(chr(10).encode())} of {count} lines')
            data += piece
        return data.decode().splitlines()

    def most_memory(self):
        return most_memory(self.process.pid)


def most_memory(pid):
    """Bytes that the process has had resident at most."""
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) * 1024


def wait_until_a_pong_is_missed(server):
    with socket.create_connection((server.host, server.port), PATIENCE_S) as silent:
        key = base64.b64encode(bytes(16)).decode()
        silent.sendall(f'GET / HTTP/1.1\r\nHost: {server.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                       f'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n'.encode())
        while silent.recv(65536):
            pass


def published(server, channel, lines):
    result = run('pub', channel, '-', '--url', server.url, input='\n'.join(lines))
    if result.returncode != OK:
        raise AssertionError(result.stderr)


class WhateverComesFirst(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(Server())
        cls.url = cls.server.url

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_a_refused_line_ends_a_command_whose_input_goes_on(self):
        nobody = '33333333-3333-3333-3333-333333333333'
        for arguments in (['pub', REFUSED, '-'], ['pub', REFUSED, '-', '--ack'], ['send', nobody, '-']):
            for as_json in [], ['--json']:
                with OpenInput(*arguments, *as_json, '-u', self.url) as command:
                    command.write('a line\n')
                    self.assertEqual(command.exit_code(), SERVER_ERROR, arguments)
                    told = command.out if as_json else command.err
                    self.assertEqual(len(told.text().splitlines()), 1, arguments)

    def test_a_refused_line_among_many_ends_the_command(self):
        with OpenInput('pub', REFUSED, '-', '-u', self.url) as command:
            with contextlib.suppress(BrokenPipeError):
                command.write('a line\n' * 100_000)
            self.assertEqual(command.exit_code(), SERVER_ERROR)
            with contextlib.suppress(BrokenPipeError):
                command.finish()

    def test_a_server_that_goes_away_ends_a_command_that_waits_for_input(self):
        for arguments in ['pub', 'x', '-'], ['pub', 'x', '-', '--ack'], ['broadcast', '-'], ['send', 'subscriber', '-']:
            with Server() as server, Subscriber(server.url, 'x') as subscriber:
                arguments = [subscriber.session if one == 'subscriber' else one for one in arguments]
                with OpenInput(*arguments, '-u', server.url) as command:
                    command.write('here\n')
                    subscriber.out.find('here')
                    server.signal(signal.SIGKILL)
                    self.assertEqual(command.exit_code(), LOST, arguments)
                    self.assertIn('connection', command.err.text())

    def test_the_end_of_a_plain_stream_is_5_with_its_reason(self):
        with Server('--tcp-listen', '127.0.0.1:0') as server:
            tcp = server.out.find(r'^listening on (127\S+) \(2 cores, tcp\)')[0].group(1)
            with Subscriber(f'tcp://{tcp}', 'x') as subscriber:
                with OpenInput('pub', 'x', '-', '-u', f'tcp://{tcp}') as command:
                    command.write('here\n')
                    subscriber.out.find('here')
                    server.signal(signal.SIGTERM)
                    self.assertEqual(command.exit_code(), LOST)
                    self.assertRegex(command.err.text(), 'the server closed the connection: draining')
                    self.assertEqual(subscriber.exit_code(), LOST)

    def test_a_connection_that_ends_is_noticed_ahead_of_the_end_of_input(self):
        with socket.create_server(('127.0.0.1', 0)) as listener:
            url = f'tcp://127.0.0.1:{listener.getsockname()[1]}'
            for arguments in ['pub', 'x', '-', '--whole'], ['pub', 'x', '-'], ['broadcast', '-', '--whole']:
                with OpenInput(*arguments, '-u', url) as command:
                    listener.accept()[0].close()
                    self.assertEqual(command.exit_code(), LOST, arguments)

    def test_a_reader_that_goes_away_ends_a_command_that_has_nothing_to_print(self):
        with Unread('sub', 'silence', '-u', self.url) as command:
            command.subscribed()
            command.stop_reading()
            self.assertEqual(command.process.wait(PATIENCE_S), OUTPUT_FAILED)
            self.assertIn('stdout', command.process.stderr.read())
        with Unread('pub', 'x', '-', '--ack', '-u', self.url, stdin=subprocess.PIPE) as command:
            command.process.stdin.write('a line\n')
            command.process.stdin.flush()
            self.assertEqual(command.read_lines(1), ['delivered to 0'])
            command.stop_reading()
            self.assertEqual(command.process.wait(PATIENCE_S), OUTPUT_FAILED)
            command.process.stdin.close()

    def test_a_command_that_prints_nothing_needs_no_reader(self):
        with Subscriber(self.url, 'quiet') as subscriber:
            with Unread('pub', 'quiet', '-', '-u', self.url, stdin=subprocess.PIPE) as command:
                command.stop_reading()
                for line in 'one', 'two':
                    command.process.stdin.write(line + '\n')
                    command.process.stdin.flush()
                    subscriber.out.find(line)
                command.process.stdin.close()
                self.assertEqual(command.process.wait(PATIENCE_S), OK)

    def test_a_signal_ends_a_command_that_waits_for_input(self):
        with Subscriber(self.url, 'signals') as subscriber:
            for arguments in ['pub', 'signals', '-'], ['pub', 'signals', '-', '--ack'], ['broadcast', '-']:
                with OpenInput(*arguments, '-u', self.url) as command:
                    command.write(f'from {" ".join(arguments)}\n')
                    subscriber.out.find(f'from {" ".join(arguments)}$')
                    command.signal(signal.SIGINT)
                    self.assertEqual(command.exit_code(), 128 + signal.SIGINT, arguments)

    def test_any_kind_of_standard_input_is_read(self):
        master, terminal = pty.openpty()
        with Subscriber(self.url, 'kinds') as subscriber, open('/dev/null', 'rb') as null:
            self.assertEqual(run('pub', 'kinds', '-', '-u', self.url, stdin=null).returncode, OK)
            closed = subprocess.run(['sh', '-c', '"$0" pub kinds - -u "$1" <&-', PROGRAM, self.url],
                                    timeout=PATIENCE_S)
            self.assertEqual(closed.returncode, OK)
            folder = os.open('/', os.O_RDONLY)
            self.assertEqual(run('pub', 'kinds', '-', '-u', self.url, stdin=folder).returncode, USAGE)
            os.close(folder)
            with Process('pub', 'kinds', '-', '-u', self.url, stdin=terminal) as command:
                os.write(master, b'typed\n')
                subscriber.out.find(' typed$')
                os.write(master, b'\x04')   # the end, from a keyboard
                self.assertEqual(command.exit_code(), OK)
            self.assertEqual(len(subscriber.out.lines), 1)
        os.close(master)
        os.close(terminal)


class APauseInTheOutput(unittest.TestCase):
    def check(self, printed, lines):
        data = [line.split(' ', 2)[2] for line in printed]
        self.assertEqual([one[:10] for one in data], [one[:10] for one in lines])
        self.assertTrue(data == lines)   # without a comparison of megabytes for people

    def test_pings_are_answered_while_stdout_is_full(self):
        lines = [f'{i} '.ljust(1000, '.') for i in range(1000)]
        with Server(*HASTE) as server, Unread('sub', 'x', '-u', server.url, '-n', '1001') as subscriber:
            subscriber.subscribed()
            published(server, 'x', lines)
            wait_until_a_pong_is_missed(server)
            published(server, 'x', ['the last'])
            got = subscriber.read_all().splitlines()
            self.check(got, [*lines, 'the last'])
            self.assertEqual(subscriber.process.wait(PATIENCE_S), OK)

    def test_nor_does_a_full_stderr_hold_it(self):
        lines = [f'{i} '.ljust(1000, '.') for i in range(1000)]
        with Server(*HASTE) as server, Subscriber(server.url, 'x') as other:
            with Unread('sub', 'x', '-u', server.url, stderr=subprocess.STDOUT) as subscriber:
                self.assertIn('subscribed', subscriber.read_lines(1)[0])
                published(server, 'x', lines)
                other.out.find('^x', len(lines))
                wait_until_a_pong_is_missed(server)
                self.assertIsNone(subscriber.process.poll())
                subscriber.process.send_signal(signal.SIGTERM)
                self.assertEqual(subscriber.process.wait(PATIENCE_S), 128 + signal.SIGTERM)

    def test_more_than_waits_in_memory_waits_in_the_connection(self):
        lines = [f'{i} '.ljust(100_000, '.') for i in range(200)]   # 20 MB
        with Server(*HASTE, '--write-stall-timeout', '1h') as server:
            with Unread('sub', 'x', '-u', server.url, '-n', '201') as subscriber:
                subscriber.subscribed()
                for at in range(0, len(lines), 10):   # so that the server's queue is no slow reader's
                    published(server, 'x', lines[at:at + 10])
                wait_until_a_pong_is_missed(server)
                wait_until_a_pong_is_missed(server)
                published(server, 'x', ['the last'])   # only to a connection that still lives
                got = subscriber.read_all().splitlines()
                self.check(got, [*lines, 'the last'])
                self.assertEqual(subscriber.process.wait(PATIENCE_S), OK)

    def test_what_was_received_is_printed_before_the_end(self):
        lines = [f'{i} '.ljust(1000, '.') for i in range(500)]
        with Server() as server, Unread('sub', 'x', '-u', server.url) as subscriber:
            subscriber.subscribed()
            with Subscriber(server.url, 'x') as other:
                published(server, 'x', lines)
                other.out.find('^x', len(lines))
                server.signal(signal.SIGTERM)
                self.assertEqual(server.exit_code(), OK)
                got = subscriber.read_all().splitlines()
                self.check(got, lines)
                self.assertEqual(subscriber.process.wait(PATIENCE_S), LOST)

    def test_a_signal_does_not_wait_for_a_reader_and_says_what_is_lost(self):
        lines = [f'{i} '.ljust(1000, '.') for i in range(500)]
        with Server() as server, Unread('sub', 'x', '-u', server.url, '-n', '500') as subscriber:
            subscriber.subscribed()
            published(server, 'x', lines)
            with Subscriber(server.url, 'x') as other:   # the server has ended what it does for the other one
                self.assertTrue(other.session)
            subscriber.process.send_signal(signal.SIGTERM)
            self.assertEqual(subscriber.process.wait(PATIENCE_S), 128 + signal.SIGTERM)
            self.assertRegex(subscriber.process.stderr.read(), r'\d+ lines are lost')

    def test_a_reader_that_goes_away_in_a_pause_is_7(self):
        with Server() as server, Unread('sub', 'x', '-u', server.url) as subscriber:
            subscriber.subscribed()
            published(server, 'x', ['.' * 1000] * 1000)
            subscriber.stop_reading()
            self.assertEqual(subscriber.process.wait(PATIENCE_S), OUTPUT_FAILED)


class Memory(unittest.TestCase):
    """Of 40 MB that a command receives it keeps what is on its way, or its backlog."""

    MESSAGE = 'B' * 1_000_000
    COUNT = 40

    def flood(self, server):
        broadcasts = '\n'.join([self.MESSAGE] * 10)
        for _ in range(self.COUNT // 10):
            result = run('broadcast', '-', '--ack', '-u', server.url, input=broadcasts)
            self.assertEqual(result.returncode, OK, result.stderr)

    def test_broadcasts_that_nobody_wants_are_dropped(self):
        for ack in [], ['--ack']:
            with Server() as server, OpenInput('pub', 'x', '-', *ack, '-u', server.url) as command:
                with Subscriber(server.url, 'x') as subscriber:
                    command.write('before\n')
                    subscriber.out.find('before')
                before = most_memory(command.process.pid)
                self.flood(server)
                with Subscriber(server.url, 'x') as subscriber:
                    command.write('after\n')
                    subscriber.out.find('after')
                    if ack:   # it comes behind all that was broadcast before
                        command.out.find('delivered', 2)
                self.assertLess(most_memory(command.process.pid) - before, 16_000_000, ack)
                command.finish()
                self.assertEqual(command.exit_code(), OK)

    def test_a_reader_that_never_reads_costs_the_backlog(self):
        with Server() as server, Unread('sub', 'x', '-u', server.url) as subscriber:
            subscriber.subscribed()
            before = subscriber.most_memory()
            for _ in range(2):
                self.flood(server)
            self.assertLess(subscriber.most_memory() - before, 40_000_000)
            self.assertIsNone(subscriber.process.poll())


if __name__ == '__main__':
    tap.main()
