"""The examples of sockets for coroutines do what their first lines say.

Goal: a reader may copy them. Method: the programs themselves on ephemeral ports, spoken to over plain sockets. The
arguments are the programs.
"""

import pathlib
import re
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap  # noqa: E402

ECHO, CHAT, PROXY, RESP = (sys.argv.pop(1) for _ in range(4))
PATIENCE_S = 120


class Program:
    """A running example. Killed at the end of the `with`."""

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


def read_all(peer):
    return b''.join(iter(lambda: peer.recv(65536), b''))


class SocketExamples(unittest.TestCase):
    def test_the_echo_server_sends_everything_back_and_then_the_end(self):
        sent = bytes(range(256)) * 8192
        with Program(ECHO, '127.0.0.1:0') as server, server.connect() as peer:
            def send():
                peer.sendall(sent)
                peer.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            sender.start()
            self.assertEqual(read_all(peer), sent)
            sender.join()

    def test_a_line_of_the_chat_goes_to_everybody_else(self):
        with Program(CHAT, '127.0.0.1:0') as server, server.connect() as one, server.connect() as other:
            first, second = one.makefile('rw', newline='\n'), other.makefile('rw', newline='\n')
            for peer, name in (first, 'ann'), (second, 'bob'):
                self.assertEqual(peer.readline(), 'your name?\n')
                peer.write(name + '\n')
                peer.flush()
                if name == 'ann':
                    # Bob is told nothing about her, so wait until she is in.
                    first.write('hello?\n')
                    first.flush()
            self.assertEqual(first.readline(), '* bob is here\n')
            second.write('hello\r\n')
            second.flush()
            self.assertEqual(first.readline(), 'bob: hello\n')
            other.shutdown(socket.SHUT_RDWR)
            self.assertEqual(first.readline(), '* bob has left\n')

    def test_the_proxy_forwards_half_closes_both_ways(self):
        with socket.create_server(('127.0.0.1', 0)) as listener:
            listener.settimeout(PATIENCE_S)
            to = '127.0.0.1:%d' % listener.getsockname()[1]
            with Program(PROXY, '127.0.0.1:0', to) as server, server.connect() as client:
                client.sendall(b'question')
                client.shutdown(socket.SHUT_WR)
                behind = listener.accept()[0]
                behind.settimeout(PATIENCE_S)
                with behind:
                    self.assertEqual(read_all(behind), b'question')
                    behind.sendall(b'answer' * 100_000)
                    behind.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(client), b'answer' * 100_000)

    def test_a_client_of_the_proxy_is_cut_off_when_nobody_listens_behind_it(self):
        with Program(PROXY, '127.0.0.1:0', '127.0.0.1:1') as server, server.connect() as client:
            try:
                self.assertEqual(client.recv(1), b'')
            except ConnectionResetError:
                pass

    def test_the_resp_server_keeps_what_is_set_on_one_core_and_on_two(self):
        for cores in '1', '2':
            address = '127.0.0.1:0' if cores == '1' else free_address()
            with self.subTest(cores=cores), Program(RESP, address, cores) as server:
                with server.connect() as peer:
                    commands = [b'*1\r\n$4\r\nPING\r\n']
                    expected = [b'+PONG\r\n']
                    for i in range(100):
                        key, value = b'key%d' % i, b'v' * (i * 37)
                        words = b'$%d\r\n%s\r\n' % (len(key), key)
                        commands.append(b'*3\r\n$3\r\nSET\r\n%s$%d\r\n%s\r\n' % (words, len(value), value))
                        commands.append(b'*2\r\n$3\r\nGET\r\n' + words)
                        expected += [b'+OK\r\n', b'$%d\r\n%s\r\n' % (len(value), value)]
                    commands.append(b'*2\r\n$3\r\nGET\r\n$7\r\nmissing\r\n*1\r\n$3\r\nFOO\r\n')
                    expected.append(b'$-1\r\n-ERR unknown command\r\n')
                    peer.sendall(b''.join(commands))
                    peer.shutdown(socket.SHUT_WR)
                    self.assertEqual(read_all(peer), b''.join(expected))
                with server.connect() as peer:
                    peer.sendall(b'hello\r\n')  # malformed: the end
                    self.assertEqual(read_all(peer), b'')


def free_address():
    """An address that is free now: the cores of a server listen on one port, so it cannot be chosen by each."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        return '127.0.0.1:%d' % listener.getsockname()[1]


if __name__ == '__main__':
    tap.main()
