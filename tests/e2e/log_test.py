"""Goal: the log is one line an event in the form that is asked for, goes to a file that can be renamed, and names each
session that has ended; SIGHUP takes over what can be. Method: real servers, the corelane program and
a raw WebSocket client; lines of the log are the only synchronisation."""

import json
import os
import pathlib
import re
import signal
import socket
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                            # noqa: E402
from corelane import PATIENCE_S, PROGRAM, Server, run   # noqa: E402

TIME = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z'


def wait_for(found):
    """The first thing that is true; looks again and again."""
    until = time.monotonic() + PATIENCE_S
    while not (result := found()):
        if time.monotonic() > until:
            raise AssertionError('it has not come')
        time.sleep(0.01)
    return result


def end_with(server, path, code):
    """A WebSocket on this path that says this code."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE_S) as client:
        client.sendall(f'GET {path} HTTP/1.1\r\nHost: {server.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                       'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'.encode())
        answer = b''
        while b'\r\n\r\n' not in answer:
            answer += client.recv(1)
        assert answer.startswith(b'HTTP/1.1 101 '), answer
        client.sendall(b'\x89\x80\0\0\0\0')
        assert client.recv(2) == b'\x8a\0'    # a turn or two have passed: the address is known
        client.sendall(b'\x88\x88\0\0\0\0' + code.to_bytes(2, 'big') + b'"bye"\n')
        while client.recv(100):
            pass


def handshake(server, fields=''):
    """The status of the answer to a handshake."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE_S) as client:
        client.sendall(f'GET /ws HTTP/1.1\r\nHost: {server.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                       f'{fields}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
                       .encode())
        return client.recv(12).decode().split()[1]


class Form(unittest.TestCase):
    def log_of(self, *arguments):
        with Server(*arguments) as server:
            server.signal(signal.SIGTERM)
            self.assertEqual(server.exit_code(), 0)
        return server.err.text().splitlines()

    def test_is_text_unless_another_is_asked_for(self):
        self.assertIn('corelane: info: stopped', self.log_of())

    def test_is_logfmt(self):
        lines = self.log_of('--log-format', 'logfmt')
        self.assertRegex(lines[-1], f'^time={TIME} level=info program="corelane" msg="stopped"$')

    def test_is_json(self):
        for line in self.log_of('--log-format', 'json'):
            event = json.loads(line)
            self.assertRegex(event.pop('time'), f'^{TIME}$')
        self.assertEqual(event, {'level': 'info', 'program': 'corelane', 'msg': 'stopped'})

    def test_levels_choose_the_lines(self):
        self.assertEqual(self.log_of('--log-level', 'error'), [])


class Connections(unittest.TestCase):
    def test_are_logged_with_how_they_ended(self):
        with Server('--log-connections', '--log-format', 'json', '--tcp-listen', '127.0.0.1:0') as server:
            end_with(server, '/ws?token=secret', 4711)
            event = json.loads(server.err.find('connection closed')[0].string)
            self.assertEqual((event['path'], event['code'], event['reason'], event['transport']),
                             ('/ws', 4711, '"bye"\n', 'websocket'))
            self.assertRegex(event['address'], r'^127\.0\.0\.1:\d+$')
            self.assertLess(event['duration_ms'], PATIENCE_S * 1000)
            # Neither the query nor the half of the session's name that is a secret.
            self.assertNotIn('secret', '\n'.join(server.err.lines))
            self.assertRegex(event['session'], r'^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}$')
            tcp = server.out.find(r'^listening on (\S+) \(2 cores, tcp\)')[0].group(1)
            self.assertEqual(run('ping', '--url', f'tcp://{tcp}', '-n', '3').returncode, 0)
            event = json.loads(server.err.find('connection closed', 2)[1].string)
            self.assertEqual(event['transport'], 'tcp')
            self.assertGreater(event['received_bytes'], 3 * 32)
            self.assertGreater(event['sent_bytes'], 3 * 32)

    def test_are_not_logged_unless_asked_for(self):
        with Server() as server:
            end_with(server, '/ws', 1000)
            server.signal(signal.SIGTERM)
            self.assertEqual(server.exit_code(), 0)
        self.assertNotIn('connection closed', server.err.text())


class File(unittest.TestCase):
    def test_is_opened_again_after_it_was_renamed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'corelane.log'
            with Server('--log-file', str(path)) as server:
                server.signal(signal.SIGHUP)
                wait_for(lambda: 'was read again' in path.read_text())
                os.rename(path, f'{path}.1')
                server.signal(signal.SIGHUP)
                wait_for(lambda: path.exists() and 'was read again' in path.read_text())
                server.signal(signal.SIGTERM)
                self.assertEqual(server.exit_code(), 0)
            self.assertIn('corelane: info: stopped\n', path.read_text())
            self.assertNotIn('stopped', pathlib.Path(f'{path}.1').read_text())
            self.assertEqual(path.stat().st_mode & 0o7777, 0o640 & ~os.umask(os.umask(0)))
            self.assertEqual(server.err.text(), '')

    def test_that_cannot_be_opened_ends_the_start(self):
        result = run('serve', '--listen', '127.0.0.1:0', '--log-file', '/no/such/folder/log')
        self.assertEqual(result.returncode, 1)
        self.assertIn('cannot open log.file /no/such/folder/log', result.stderr)

    def test_that_cannot_be_opened_again_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            inner = pathlib.Path(folder) / 'logs'
            inner.mkdir()
            path = inner / 'log'
            with Server('--log-file', str(path)) as server:
                os.rename(inner, f'{inner}-moved')
                server.signal(signal.SIGHUP)
                moved = pathlib.Path(f'{inner}-moved') / 'log'
                wait_for(lambda: 'going on with the old one' in moved.read_text())


class Reload(unittest.TestCase):
    def test_takes_the_level_and_says_what_needs_a_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'corelane.toml'
            path.write_text('[limits]\nping_interval = "20s"\n')
            with Server('--config', str(path)) as server:
                path.write_text('[limits]\nping_interval = "21s"\n[log]\nlevel = "warning"\n')
                server.signal(signal.SIGHUP)
                server.err.find('warning: restart to apply: limits.ping_interval')
                path.write_text('[limits]\nping_interval = "20s"\n[log]\nlevel = "info"\n')
                server.signal(signal.SIGHUP)
                found = server.err.find('was read again; taken over: (.*)')
                # At the level warning, nothing was said of the first.
                self.assertEqual(found[0][1], 'nothing has changed that can be')

    def test_takes_the_origins(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'corelane.toml'
            path.write_text('')
            with Server('--config', str(path)) as server:
                origin = 'Origin: https://example.org\r\n'
                self.assertEqual(handshake(server, origin), '403')
                path.write_text('[websocket]\norigins = ["https://example.org"]\n')
                server.signal(signal.SIGHUP)
                server.err.find('taken over: websocket.origins')
                for _ in range(8):                       # on either core
                    self.assertEqual(handshake(server, origin), '101')

    def test_with_errors_changes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'corelane.toml'
            path.write_text('')
            with Server('--config', str(path)) as server:
                path.write_text('[log]\nlevel = "loud"\n')
                server.signal(signal.SIGHUP)
                server.err.find('error: .*log level')
                server.err.find('going on with the old one')
                self.assertEqual(run('ping', '--url', server.url).returncode, 0)


if __name__ == '__main__':
    tap.main()
