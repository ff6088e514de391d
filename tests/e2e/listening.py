"""Programs that print where they listen, and what tests do with plain sockets."""

import re
import socket
import subprocess

PATIENCE_S = 120


class Program:
    """A running program that says "listening on ADDRESS:PORT". Killed at the end of the `with`."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r'listening on 127\.0\.0\.1:(\d+)\n', line)[1])

    def connect(self):
        return socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def free_address():
    """An address that is free now: the cores of a server listen on one port, so it cannot be chosen by each."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        return '127.0.0.1:%d' % listener.getsockname()[1]


def behind(host='127.0.0.1'):
    """A listener for what a proxy forwards."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    listener.settimeout(PATIENCE_S)
    return listener


def exactly(peer, count):
    peer.settimeout(PATIENCE_S)
    received = b''
    while len(received) < count:
        more = peer.recv(count - len(received))
        if not more:
            return received
        received += more
    return received


def until_end(peer):
    """All that comes before the end, which may be a reset."""
    received = b''
    try:
        for more in iter(lambda: peer.recv(65536), b''):
            received += more
    except ConnectionResetError:
        pass
    return received
