"""Goal: a raw echo (the program given) is an honest yardstick: it gives back every byte, in order, also to peers that
read slowly, and reports its CPU time. Method: the program runs as a process; sockets talk to it over loopback."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..'))
from tests.support import tap  # noqa: E402

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else ''
OPTIONS = sys.argv[2:]
TIMEOUT_S = 60


class RawEcho(unittest.TestCase):

    def setUp(self):
        self.process = subprocess.Popen([PROGRAM, '--buffer', '65536', *OPTIONS], stdout=subprocess.PIPE,
                                        text=True)
        self.port = int(re.fullmatch(r'listening (\d+)\n', self.process.stdout.readline())[1])
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.kill)

    def connect(self):
        client = socket.create_connection(('127.0.0.1', self.port), timeout=TIMEOUT_S)
        self.addCleanup(client.close)
        return client

    def receive(self, client, count):
        parts = []
        while count > 0:
            part = client.recv(min(count, 1 << 20))
            self.assertTrue(part, f'closed with {count} bytes missing')
            parts.append(part)
            count -= len(part)
        return b''.join(parts)

    def test_gives_back_what_each_of_many_connections_sends(self):
        clients = [self.connect() for _ in range(50)]
        for turn in range(3):
            for number, client in enumerate(clients):
                client.sendall(f'{turn}:{number}'.encode().ljust(125, b'.'))
            for number, client in enumerate(clients):
                self.assertEqual(self.receive(client, 125),
                                 f'{turn}:{number}'.encode().ljust(125, b'.'))

    def test_loses_nothing_when_a_peer_sends_far_more_than_it_reads(self):
        client = self.connect()
        # Larger than both socket buffers together can be, so that the program must queue and stop reading.
        sent = os.urandom(1 << 20) * 32
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        received = self.receive(client, len(sent))
        writer.join()
        self.assertTrue(received == sent)

    def test_a_reset_of_one_connection_leaves_the_others(self):
        other = self.connect()
        gone = self.connect()
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        gone.sendall(b'x' * 1000)
        gone.close()
        other.sendall(b'still here')
        self.assertEqual(self.receive(other, 10), b'still here')

    def test_sigterm_prints_the_cpu_time_and_ends_with_zero(self):
        client = self.connect()
        client.sendall(b'x')
        self.receive(client, 1)
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(self.process.returncode, 0)
        self.assertRegex(out, r'^cpu user_ms \d+\.\d{3} sys_ms \d+\.\d{3}\n$')

    def test_a_wrong_argument_is_named_and_ends_with_two(self):
        run = subprocess.run([PROGRAM, '--port', '65536'], capture_output=True, text=True,
                             timeout=TIMEOUT_S, check=False)
        self.assertEqual(run.returncode, 2)
        self.assertIn('--port takes a number from 0 to 65535', run.stderr)


if __name__ == '__main__':
    tap.main()
