"""Goal: each server of servers.toml that is installed starts, echoes, and fans out in order; so that a comparison
compares servers that do the same. Method: perf/run's own code starts it as for a measurement; a plain client here
speaks to it."""

import base64
import os
import pathlib
import socket
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', '..'))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from harness import servers  # noqa: E402
from tests.support import tap  # noqa: E402

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else 'build/dev').resolve()
TIMEOUT_S = 60
MESSAGES = [b'first', b'', bytes(range(256)) * 40]


class Socket:
    """A TCP connection with exact reads."""

    def __init__(self, port, hello=b''):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=TIMEOUT_S)
        self.input = self.socket.makefile('rb')
        self.send_bytes(hello)

    def send_bytes(self, data):
        self.socket.sendall(data)

    def read(self, count):
        data = self.input.read(count)
        if len(data) != count:
            raise ConnectionError(f'{len(data)} of {count} bytes, then the end')
        return data

    def line(self):
        return self.input.readline().rstrip(b'\r\n')

    def close(self):
        self.input.close()
        self.socket.close()


class WebSocket(Socket):

    def __init__(self, port, path):
        key = base64.b64encode(os.urandom(16)).decode()
        super().__init__(port, (f'GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n'
                                f'Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n')
                         .encode())
        status = self.line()
        if b' 101 ' not in status:
            raise ConnectionError(f'no upgrade: {status}')
        while self.line():
            pass

    def send(self, message):
        size = len(message)
        length = struct.pack('!B', 0x80 | size) if size < 126 else struct.pack('!BH', 0x80 | 126, size)
        self.send_bytes(b'\x82' + length + b'\0\0\0\0' + message)   # a mask of zeros leaves the payload as it is

    def receive(self):
        first, size = self.read(2)
        if first != 0x82:
            raise ConnectionError(f'a frame that begins with {first:#x}')
        if size == 126:
            size, = struct.unpack('!H', self.read(2))
        return self.read(size)


class Peers(unittest.TestCase):

    def start(self, kind):
        if missing := kind.missing():
            self.skipTest(missing)
        server = servers.Server(kind, '0-1023')
        server.__enter__()
        self.addCleanup(server.end)
        return server

    def open(self, connection):
        self.addCleanup(connection.close)
        return connection

    def check_echo(self, server, url):
        if url.startswith('tcp:'):
            client = self.open(Socket(server.port))
            for message in MESSAGES:
                client.send_bytes(message)
                self.assertEqual(client.read(len(message)), message)
            return
        client = self.open(WebSocket(server.port, '/'))
        for message in MESSAGES:
            client.send(message)
        self.assertEqual([client.receive() for _ in MESSAGES], MESSAGES)

    def check_http(self, server, url):
        client = self.open(Socket(server.port))
        path = '/' + url.split('/', 3)[3]
        for _ in range(3):   # keep-alive
            client.send_bytes(f'GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.encode())
            self.assertIn(b' 200 ', client.line())
            fields = dict(line.lower().split(b': ', 1) for line in iter(client.line, b''))
            self.assertTrue(client.read(int(fields[b'content-length'])))

    def check_fanout(self, server, url):
        if '--protocol resp' in url:
            self.check_fanout_resp(server)
        elif '--protocol nats' in url:
            self.check_fanout_nats(server)
        elif url.startswith('--url tcp:'):
            self.check_fanout_raw(server)
        else:
            self.check_fanout_websocket(server)

    def check_fanout_websocket(self, server):
        subscribers = [self.open(WebSocket(server.port, '/sub')) for _ in range(2)]
        publisher = self.open(WebSocket(server.port, '/pub'))
        for message in MESSAGES:
            publisher.send(message)
        for subscriber in subscribers:
            self.assertEqual([subscriber.receive() for _ in MESSAGES], MESSAGES)

    def check_fanout_raw(self, server):
        subscribers = [self.open(Socket(server.port, b'S')) for _ in range(2)]
        for subscriber in subscribers:
            self.assertEqual(subscriber.read(1), b'S')
        publisher = self.open(Socket(server.port, b'P'))
        self.assertEqual(publisher.read(1), b'P')
        # More than a socket takes at once, so that the server must queue, and order shows.
        sent = os.urandom(1 << 20) + b''.join(MESSAGES)
        publisher.send_bytes(sent)
        for subscriber in subscribers:
            self.assertTrue(subscriber.read(len(sent)) == sent)

    def check_fanout_resp(self, server):
        subscribers = [self.open(Socket(server.port, b'SUBSCRIBE load\r\n')) for _ in range(2)]
        for subscriber in subscribers:
            self.assertEqual([subscriber.line() for _ in range(6)],
                             [b'*3', b'$9', b'subscribe', b'$4', b'load', b':1'])
        publisher = self.open(Socket(server.port, b'PUBLISH load hello\r\n'))
        self.assertEqual(publisher.line(), b':2')
        for subscriber in subscribers:
            self.assertEqual([subscriber.line() for _ in range(7)],
                             [b'*3', b'$7', b'message', b'$4', b'load', b'$5', b'hello'])

    def check_fanout_nats(self, server):
        hello = b'CONNECT {"verbose":false}\r\nSUB load 1\r\nPING\r\n'
        subscribers = [self.open(Socket(server.port, hello)) for _ in range(2)]
        for subscriber in subscribers:
            self.assertTrue(subscriber.line().startswith(b'INFO '))
            self.assertEqual(subscriber.line(), b'PONG')
        self.open(Socket(server.port, b'CONNECT {"verbose":false}\r\nPUB load 5\r\nhello\r\n'))
        for subscriber in subscribers:
            self.assertEqual([subscriber.line() for _ in range(2)], [b'MSG load 1 5', b'hello'])


def add_cases():
    for name, kind in servers.read_kinds(BUILD).items():
        for load, url in kind.reach.items():
            check = getattr(Peers, f'check_{load}', None)
            if check is None or '--protocol opcode' in url:
                continue

            def case(self, kind=kind, load=load):
                server = self.start(kind)
                arguments = ' '.join(server.reach(load))
                getattr(self, f'check_{load}')(server, arguments if load == 'fanout' else arguments.split()[1])

            setattr(Peers, f'test_{name.replace("-", "_")}_serves_{load}', case)


add_cases()

if __name__ == '__main__':
    tap.main()
