"""Goal: corelane-load measures an honest server without complaint and convicts one that lies. Method: it runs against
the raw epoll echo, and against small servers here that damage, swap or swallow messages or hang up."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..'))
from tests.support import tap  # noqa: E402

LOAD = sys.argv[1] if len(sys.argv) > 1 else ''
RAW_ECHO = sys.argv[2] if len(sys.argv) > 2 else ''
TIMEOUT_S = 60
SIZE = 32


class LyingServer:
    """A TCP echo that passes what it has read through `lie`, which may change it or raise ConnectionError."""

    def __init__(self, lie):
        self.lie = lie
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(client,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def serve(self, client):
        echoed = 0
        pending = b''
        with client:
            try:
                while part := client.recv(65536):
                    pending += part
                    whole = len(pending) // SIZE * SIZE
                    messages = [pending[i:i + SIZE] for i in range(0, whole, SIZE)]
                    pending = pending[whole:]
                    client.sendall(b''.join(self.lie(messages, echoed)))
                    echoed += len(messages)
            except ConnectionError:
                return

    def close(self):
        # A blocked accept() is woken by shutdown, not by close.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()


class Load(unittest.TestCase):

    def run_load(self, *arguments):
        done = subprocess.run([LOAD, *arguments, '--json'], stdout=subprocess.PIPE, text=True,
                              timeout=TIMEOUT_S, check=False)
        return done.returncode, json.loads(done.stdout)

    def echo(self, port, *arguments):
        return self.run_load('echo', '--url', f'tcp://127.0.0.1:{port}', '--seconds', '0.2', '--warmup',
                             '0.05', '--size', str(SIZE), '--connections', '3', *arguments)

    def start_raw_echo(self):
        process = subprocess.Popen([RAW_ECHO], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        port = int(re.fullmatch(r'listening (\d+)\n', process.stdout.readline())[1])
        return process, port

    def lying(self, lie):
        server = LyingServer(lie)
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

    def test_reads_the_memory_of_a_server_with_idle_connections(self):
        process, port = self.start_raw_echo()
        status, report = self.run_load('idle', '--url', f'tcp://127.0.0.1:{port}', '--connections',
                                       '200', '--hold', '0', '--server-pid', str(process.pid))
        self.assertEqual(status, 0)
        self.assertEqual(report['connections'], 200)
        self.assertGreater(report['server']['rss_bytes_before'], 0)

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
