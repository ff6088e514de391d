"""The programs of tools/docs/cookbook.md do what it says of them.

Goal: a reader may build on them. Method: the programs themselves on ephemeral ports, spoken to over plain sockets. The
arguments are the programs, `chat=PATH`; tests of programs that are not among them are left out. perf/peers runs them on
the same programs of another library.
"""

import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                                            # noqa: E402
from listening import PATIENCE_S, Program, behind, exactly, free_address, until_end   # noqa: E402

PROGRAMS = dict(argument.split('=', 1) for argument in sys.argv[1:] if '=' in argument)
sys.argv[1:] = [argument for argument in sys.argv[1:] if '=' not in argument]


def of(name):
    """For a test of one program: left out where the program is not given."""
    return lambda test: test if name in PROGRAMS else None


class Cookbook(unittest.TestCase):
    @of('chat')
    def test_a_reader_of_the_chat_who_is_slow_misses_lines_and_holds_up_nobody(self):
        line = b'x' * 999 + b'\n'
        with Program(PROGRAMS['chat'], '127.0.0.1:0') as server, server.connect() as one, server.connect() as two, \
                socket.socket() as slow:
            slow.settimeout(PATIENCE_S)
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(('127.0.0.1', server.port))
            for peer, name in (slow, b'slow'), (one, b'one'), (two, b'two'):
                self.assertEqual(exactly(peer, 11), b'your name?\n')
                peer.sendall(name + b'\n')
                # That it is in the room the first one is told; it tells itself nothing.
                if peer is not slow:
                    told = b'* ' + name + b' is here\n'
                    self.assertEqual(exactly(one if peer is two else slow, len(told)), told)
            for _ in range(500):
                one.sendall(line * 20)
                self.assertEqual(exactly(two, (5 + len(line)) * 20), (b'one: ' + line) * 20)
            slow.shutdown(socket.SHUT_WR)
            missed = 500 * 20 - until_end(slow).count(b'one: ')
            self.assertGreater(missed, 0)

    @of('resp')
    def test_mget_gathers_from_all_cores_in_the_order_of_its_keys(self):
        for cores in '1', '2', '3':
            address = '127.0.0.1:0' if cores == '1' else free_address()
            with self.subTest(cores=cores), Program(PROGRAMS['resp'], address, cores) as server, \
                    server.connect() as peer:
                for i in range(50):
                    key, value = b'key%d' % i, b'v' * i
                    peer.sendall(b'*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n' % (len(key), key, len(value), value))
                    self.assertEqual(exactly(peer, 5), b'+OK\r\n')
                wanted = [49, 3, 3, 20, 0, 11]
                keys = [b'none'] + [b'key%d' % i for i in wanted]
                values = [b'$-1\r\n'] + [b'$%d\r\n%s\r\n' % (i, b'v' * i) for i in wanted]
                peer.sendall(b'*%d\r\n$4\r\nMGET\r\n' % (len(keys) + 1) +
                             b''.join(b'$%d\r\n%s\r\n' % (len(key), key) for key in keys))
                expected = b'*%d\r\n' % len(keys) + b''.join(values)
                self.assertEqual(exactly(peer, len(expected)), expected)

    # --- The SOCKS proxy

    @of('socks')
    def test_socks_goes_to_addresses_of_both_families_and_to_names(self):
        for family, host in (socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1'), (None, 'localhost'):
            with self.subTest(host), behind(host) as listener, Program(PROGRAMS['socks'], '127.0.0.1:0') as proxy, \
                    proxy.connect() as client:
                client.sendall(b'\5\1\0' + connect_request(family, host, listener.getsockname()[1]))
                with listener.accept()[0] as server:
                    self.assertEqual(exactly(client, 12), b'\5\0' + SUCCEEDED)
                    client.sendall(b'question')
                    self.assertEqual(exactly(server, 8), b'question')
                    server.sendall(b'answer')
                    self.assertEqual(exactly(client, 6), b'answer')

    @of('socks')
    def test_socks_forwards_half_closes_both_ways_and_what_came_with_the_hello(self):
        for first_to_end in 'client', 'server':
            with self.subTest(first_to_end), behind() as listener, Program(PROGRAMS['socks'], '127.0.0.1:0') as proxy, \
                    proxy.connect() as client:
                port = listener.getsockname()[1]
                client.sendall(b'\5\1\0' + connect_request(socket.AF_INET, '127.0.0.1', port) + b'early')
                with listener.accept()[0] as server:
                    self.assertEqual(exactly(client, 12), b'\5\0' + SUCCEEDED)
                    self.assertEqual(exactly(server, 5), b'early')
                    one, other = (client, server) if first_to_end == 'client' else (server, client)
                    one.sendall(b'last words')
                    one.shutdown(socket.SHUT_WR)
                    self.assertEqual(until_end(other), b'last words')
                    sender = threading.Thread(target=lambda: (other.sendall(b'long' * 500_000),
                                                              other.shutdown(socket.SHUT_WR)))
                    sender.start()
                    self.assertEqual(until_end(one), b'long' * 500_000)
                    sender.join()

    @of('socks')
    def test_socks_takes_its_user_alone(self):
        with Program(PROGRAMS['socks'], '127.0.0.1:0', 'ann', 'secret') as proxy, behind() as listener:
            request = connect_request(socket.AF_INET, '127.0.0.1', listener.getsockname()[1])
            with proxy.connect() as client:
                client.sendall(b'\5\2\0\2\1\3ann\6secret' + request)
                self.assertEqual(exactly(client, 14), b'\5\2\1\0' + SUCCEEDED)
            for password in b'wrong!', b'':
                with proxy.connect() as client:
                    client.sendall(b'\5\1\2\1\3ann' + bytes([len(password)]) + password)
                    self.assertEqual(until_end(client), b'\5\2\1\1')
            with proxy.connect() as client:
                client.sendall(b'\5\1\0')   # no method that asks for a user
                self.assertEqual(until_end(client), b'\5\xff')

    @of('socks')
    def test_socks_says_why_it_does_not_connect(self):
        with socket.create_server(('127.0.0.1', 0)) as closed:
            port = closed.getsockname()[1]
        cases = {
            'refused': (connect_request(socket.AF_INET, '127.0.0.1', port), 5),
            'no such name': (connect_request(None, 'nobody.invalid', 80), 4),
            'bind': (b'\5\2\0\1\x7f\0\0\1\0\x50', 7),
            'address type': (b'\5\1\0\2\x7f\0\0\1\0\x50', 8),
        }
        with Program(PROGRAMS['socks'], '127.0.0.1:0') as proxy:
            for name, (request, reply) in cases.items():
                with self.subTest(name), proxy.connect() as client:
                    client.sendall(b'\5\1\0' + request)
                    self.assertEqual(until_end(client)[:4], bytes([5, 0, 5, reply]))
            with proxy.connect() as client:
                client.sendall(b'GET / HTTP/1.1\r\n\r\n')
                self.assertEqual(until_end(client), b'')
            # A hello that does not come is not waited for for ever.
            with proxy.connect() as silent:
                silent.sendall(b'\5\xff')
                self.assertEqual(until_end(silent), b'')

    @of('socks')
    def test_a_reset_goes_through_the_socks_proxy(self):
        with behind() as listener:
            hello = b'\5\1\0' + connect_request(socket.AF_INET, '127.0.0.1', listener.getsockname()[1])
            self.check_that_a_reset_goes_through(listener, [PROGRAMS['socks'], '127.0.0.1:0'], hello)

    @of('proxy')
    def test_a_reset_goes_through_the_proxy(self):
        with behind() as listener:
            to = '127.0.0.1:%d' % listener.getsockname()[1]
            self.check_that_a_reset_goes_through(listener, [PROGRAMS['proxy'], '127.0.0.1:0', to], b'')

    def check_that_a_reset_goes_through(self, listener, command, hello):
        with Program(*command) as proxy:
            client = proxy.connect()
            client.sendall(hello + b'x')
            with listener.accept()[0] as server:
                self.assertEqual(exactly(server, 1), b'x')
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                client.close()
                self.assertEqual(until_end(server), b'')

    # --- The pool

    @of('pool')
    def test_the_pool_counts_on_any_number_of_cores(self):
        for cores in '1', '2', '3':
            run = subprocess.run([PROGRAMS['pool'], cores, '100000', '60'], stdout=subprocess.PIPE, text=True,
                                 check=True)
            self.assertEqual(run.stdout, 'done: 10 jobs, 9592 primes\n', cores)

    @of('pool')
    def test_the_pool_gives_up_at_its_deadline_and_by_a_signal(self):
        endless = [PROGRAMS['pool'], '2', '1000000000000']
        run = subprocess.run([*endless, '1'], stdout=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S)
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stdout, r'^given up: \d+ jobs, \d+ primes\n$')
        # Also when all jobs are in the queue by then.
        run = subprocess.run([PROGRAMS['pool'], '2', '160000', '0'], stdout=subprocess.PIPE, text=True, check=False,
                             timeout=PATIENCE_S)
        self.assertRegex(run.stdout, r'^given up: \d+ jobs, \d+ primes\n$')
        with subprocess.Popen([*endless, '3600'], stdout=subprocess.PIPE, text=True) as pool:
            # It ends by default if the signal comes before it is blocked.
            pool.send_signal(signal.SIGINT)
            self.assertIn(pool.wait(PATIENCE_S), (1, -signal.SIGINT))


SUCCEEDED = b'\5\0\0\1\0\0\0\0\0\0'


def connect_request(family, host, port):
    """CONNECT to an address of a family, or to a name."""
    if family is None:
        where = b'\3' + bytes([len(host)]) + host.encode()
    else:
        where = (b'\1' if family == socket.AF_INET else b'\4') + socket.inet_pton(family, host)
    return b'\5\1\0' + where + port.to_bytes(2, 'big')


if __name__ == '__main__':
    tap.main()
