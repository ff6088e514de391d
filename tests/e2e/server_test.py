"""The server as an operator meets it.

Goal: starting, refusing to start, stopping and HTTP behave as tools/README.md says. Method: real processes on ephemeral
ports, curl, raw sockets, signals; the listening line and the log are the only synchronisation.
"""

import json
import pathlib
import platform
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                                       # noqa: E402
from corelane import PATIENCE_S, PROGRAM, Process, Server, forbid_io_uring, run  # noqa: E402


def curl(*arguments):
    return subprocess.run(['curl', '--silent', '--show-error', '--max-time', '20', '-w', '\n%{http_code}', *arguments],
                          capture_output=True, text=True, check=True).stdout.rsplit('\n', 1)


def open_websocket(server):
    """A raw client that has done the handshake, and from then on says nothing."""
    client = socket.create_connection((server.host, server.port), timeout=PATIENCE_S)
    client.sendall(f'GET / HTTP/1.1\r\nHost: {server.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                   'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'.encode())
    answer = b''
    while b'\r\n\r\n' not in answer and (byte := client.recv(1)):
        answer += byte
    assert answer.startswith(b'HTTP/1.1 101 '), answer
    return client


class Http(unittest.TestCase):
    def test_health_is_ok_and_other_paths_are_404(self):
        with Server() as server:
            self.assertEqual(curl(f'http://{server.address}/healthz'), ['ok\n', '200'])
            self.assertEqual(curl(f'http://{server.address}/nope')[1], '404')
            page, status = curl(f'http://{server.address}/')
            self.assertEqual((status, page.startswith('<!DOCTYPE html>')), ('200', True))
            self.assertEqual(curl('-X', 'POST', f'http://{server.address}/healthz')[1], '405')

    def test_ipv6_and_several_addresses_are_served(self):
        with Server('--listen', '[::1]:0') as server:
            both = [match.group(1) for match in server.out.find(r'^listening on (\S+) \(2 cores\)$', 2)]
            for address in both:
                self.assertEqual(curl('-g', f'http://{address}/healthz'), ['ok\n', '200'])

    def test_echo_answers_get_and_counts_what_is_posted(self):
        with Server(command='echo') as server:
            body, status = curl(f'http://{server.address}/any/path')
            self.assertEqual((body.count('\n'), status), (1, '200'))
            self.assertEqual(curl('--data', 'x' * 1000, f'http://{server.address}/count'), ['1000\n', '200'])
            self.assertEqual(curl('-H', 'Transfer-Encoding: chunked', '--data', 'y' * 70_000,
                                  f'http://{server.address}/'), ['70000\n', '200'])

    def test_limits_given_as_flags_hold(self):
        with Server('--max-body', '10', '--max-request-line', '64', command='echo') as server:
            self.assertEqual(curl('--data', 'x' * 10, f'http://{server.address}/')[1], '200')
            self.assertEqual(curl('--data', 'x' * 11, f'http://{server.address}/')[1], '413')
            self.assertEqual(curl(f'http://{server.address}/' + 'p' * 64)[1], '414')

    def test_a_header_that_is_not_finished_in_time_is_408(self):
        with Server('--header-timeout', '200ms') as server:
            with socket.create_connection((server.host, server.port), timeout=PATIENCE_S) as client:
                client.sendall(b'GET / HTTP/1.1\r\n')
                self.assertIn(b' 408 ', client.recv(1000))


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))


class DescriptorLimit(unittest.TestCase):
    """Fewer open files than connections, with direct descriptors and with plain ones."""

    def test_who_finds_no_descriptor_waits_and_is_served(self):
        for arguments in (), ('--max-connections-per-ip', '1000'):
            with Server(*arguments, cores=1, preexec_fn=few_files) as server:
                clients = [socket.create_connection((server.host, server.port), timeout=PATIENCE_S) for _ in range(120)]
                for client in clients:
                    client.sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
                for client in clients:
                    self.assertTrue(client.recv(1000).startswith(b'HTTP/1.1 200 '))
                    client.close()


class AddressLimit(unittest.TestCase):
    """--max-connections-per-ip, over all cores."""

    LIMIT = 3

    def connect(self, server, source):
        return socket.create_connection((server.host, server.port), timeout=PATIENCE_S, source_address=(source, 0))

    def is_served(self, client):
        """Whether a request is answered; one that is refused sees the end of the connection instead."""
        try:
            client.sendall(b'GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n')
            return client.recv(1000).startswith(b'HTTP/1.1 200 ')
        except ConnectionError:
            return False

    def open_all(self, server, source, count):
        """Connects `count` times at once; the connections that are served, and the number of the others."""
        clients = [self.connect(server, source) for _ in range(count)]
        served = [client for client in clients if self.is_served(client)]
        for client in set(clients) - set(served):
            client.close()
        return served, count - len(served)

    def test_exactly_so_many_connections_of_one_address_are_served(self):
        with Server('--max-connections-per-ip', str(self.LIMIT)) as server:
            first, refused = self.open_all(server, '127.0.0.1', 20)
            self.assertEqual((len(first), refused), (self.LIMIT, 20 - self.LIMIT))
            second, refused = self.open_all(server, '127.0.0.2', self.LIMIT + 1)
            self.assertEqual((len(second), refused), (self.LIMIT, 1))
            for client in first:   # they were not harmed
                self.assertTrue(self.is_served(client))
            for client in first + second:
                client.close()

    def test_a_connection_that_ends_makes_room_also_as_a_websocket(self):
        for command in 'serve', 'echo':
            with Server('--max-connections-per-ip', '1', '--drain-deadline', '200ms', command=command) as server:
                for _ in range(20):
                    open_websocket_when_served(server).close()
                with open_websocket_when_served(server):   # the last one is given back while the server stops
                    server.signal(signal.SIGTERM)
                    self.assertEqual(server.exit_code(), 0)


def open_websocket_when_served(server):
    """The server learns of the end of the connection before only after we do: tries until it has."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return open_websocket(server)
        except (ConnectionError, AssertionError):
            if time.monotonic() > deadline:
                raise


class Log(unittest.TestCase):
    """At the default level, each refusal of a peer logs a line with the peer and the reason."""

    UPGRADE = (b'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
               b'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n')

    def told(self, server, what, pattern, port=None):
        with socket.create_connection((server.host, port or server.port), timeout=PATIENCE_S) as client:
            client.sendall(what)
            peer = ':'.join(map(str, client.getsockname()))
            server.err.find(rf'^\S+: (info|warning): {re.escape(peer)}: {pattern}')

    def test_what_a_peer_does_wrong_is_told_with_its_address(self):
        flags = ('--max-message', '100', '--header-timeout', '300ms', '--max-body', '10', '--max-request-line', '64',
                 '--tcp-listen', '127.0.0.1:0')
        plain = ('--max-connections-per-ip', '1000')
        for arguments in ((), plain) if self.direct_addresses_are_known() else (plain,):
            with Server(*flags, *arguments, cores=1) as server:
                tcp_port = int(server.out.find(r'^listening on \S+:(\d+) \(1 core, tcp\)$')[0].group(1))
                websocket = self.UPGRADE + b'\r\n'
                for what, pattern in (
                        (self.UPGRADE + b'Origin: http://evil.example\r\n\r\n',
                         '403 Forbidden, .*Origin: http://evil.example'),
                        (b'GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n', '400 Bad Request'),
                        (b'GET / HTTP/1.1\r\nHost: x\r\n', r'408 .*limits\.header_deadline \(300ms\)'),
                        (b'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n' + b'x' * 11,
                         r'413 .*limits\.http_body_bytes_max \(10\)'),
                        (b'GET /' + b'x' * 64 + b' HTTP/1.1\r\n\r\n', r'414 .*limits\.request_line_bytes_max \(64\)'),
                        (b'GET / HTTP/1.1\r\nHost: x\r\na: ' + b'x' * 9000 + b'\r\n\r\n',
                         r'431 .*limits\.header_bytes_max \(8192\)'),
                        (websocket + b'\x82\xfe\xff\xff\0\0\0\0', 'closed with 1009'),
                        (websocket + b'\x82\x01x', 'closed with 1002'),
                        (websocket + b'\x81\x81\0\0\0\0\xff', 'closed with 1007'),
                        (websocket + b'\x81\x81\0\0\0\0a', 'closed with 1003')):
                    self.told(server, what, pattern)
                self.told(server, b'\xff' * 16, 'Error (frame_too_large|malformed_frame)', tcp_port)

    def direct_addresses_are_known(self):
        return tuple(map(int, platform.release().split('.')[:2])) >= (6, 7)

    def test_limits_of_the_host_are_told(self):
        with Server('--max-connections', '1', cores=1) as server, open_websocket(server):
            self.told(server, b'', '503, .*limits.connections_max')
        with Server('--max-connections-per-ip', '1') as server, open_websocket_when_served(server):
            self.told(server, b'', r'cut off, .*limits\.connections_per_ip_max')
        plain = ('--max-connections-per-ip', '1000')
        for arguments, pattern in (((), 'limit of open files'), (plain, 'cannot accept')):
            with Server(*arguments, cores=1, preexec_fn=few_files) as server:
                clients = [socket.create_connection((server.host, server.port), timeout=PATIENCE_S) for _ in range(100)]
                server.err.find(f'^\\S+: warning: .*{pattern}.*LimitNOFILE')
                for client in clients:
                    client.close()

    def test_a_flood_is_a_few_lines_a_second(self):
        with Server(cores=1) as server:
            began = time.monotonic()
            for _ in range(300):
                with socket.create_connection((server.host, server.port), timeout=PATIENCE_S) as client:
                    client.sendall(b'nonsense\r\n\r\n')
                    client.recv(1000)
            seconds = time.monotonic() - began
            server.signal(signal.SIGTERM)
            server.exit_code()
            lines = [line for line in server.err.text().split('\n') if '400 Bad Request' in line]
            self.assertGreaterEqual(len(lines), 1)
            self.assertLessEqual(len(lines), 10 * (seconds + 2))


class Stopping(unittest.TestCase):
    def test_sigterm_tells_clients_1001_and_exits_0(self):
        for name in (signal.SIGTERM, signal.SIGINT):
            with Server() as server, open_websocket(server) as client:
                server.signal(name)
                frame = client.recv(2)
                self.assertEqual(frame[0], 0x88)
                payload = client.recv(frame[1])
                self.assertEqual(payload[:2], (1001).to_bytes(2, 'big'))
                client.sendall(b'\x88\x82\0\0\0\0\x03\xe9')
                self.assertEqual(client.recv(1), b'')
                self.assertEqual(server.exit_code(), 0)

    def test_a_server_without_clients_stops_at_once(self):
        with Server('--drain-deadline', '1h') as server:
            server.signal(signal.SIGTERM)
            self.assertEqual(server.exit_code(), 0)

    def test_clients_that_do_not_answer_are_cut_off_at_the_deadline(self):
        with Server('--drain-deadline', '300ms', '--close-timeout', '5m') as server, open_websocket(server):
            began = time.monotonic()
            server.signal(signal.SIGTERM)
            self.assertEqual(server.exit_code(), 0)
            self.assertGreaterEqual(time.monotonic() - began, 0.25)
            server.err.find('1 connections had not ended')

    def test_what_is_not_whole_does_not_hold_it(self):
        request = b'GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n'
        with Server('--drain-deadline', '1h', '--tcp-listen', '127.0.0.1:0') as server:
            tcp_port = int(server.out.find(r'^listening on \S+:(\d+) \(2 cores, tcp\)$')[0].group(1))
            with socket.create_connection((server.host, server.port), timeout=PATIENCE_S) as head, \
                    socket.create_connection((server.host, server.port), timeout=PATIENCE_S), \
                    socket.create_connection((server.host, tcp_port), timeout=PATIENCE_S) as frame:
                head.sendall(request)
                frame.sendall(b'\x40\0')
                curl(f'http://{server.address}/healthz')
                began = time.monotonic()
                server.signal(signal.SIGTERM)
                self.assertTrue(head.recv(1000).startswith(b'HTTP/1.1 503 '))
                self.assertEqual(server.exit_code(), 0)
                self.assertLess(time.monotonic() - began, 9)

    def test_a_second_signal_ends_it_at_once(self):
        with Server('--drain-deadline', '1h', '--close-timeout', '5m') as server, open_websocket(server):
            server.signal(signal.SIGTERM)
            server.err.find('stopping')
            server.signal(signal.SIGTERM)
            self.assertEqual(server.exit_code(), 128 + signal.SIGTERM)

    def test_sighup_is_logged_and_ends_nothing(self):
        with Server() as server:
            server.signal(signal.SIGHUP)
            server.err.find('the configuration was read again')
            self.assertEqual(curl(f'http://{server.address}/healthz')[1], '200')

    def test_a_log_that_nobody_reads_any_more_does_not_end_it(self):
        server = subprocess.Popen([PROGRAM, 'serve', '--listen', '127.0.0.1:0', '--cores', '1'],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertIn('listening', server.stdout.readline())
        server.stdout.close()
        server.stderr.close()
        server.send_signal(signal.SIGHUP)     # is logged
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(PATIENCE_S), 0)

    def test_it_serves_without_standard_streams(self):
        with tempfile.TemporaryDirectory() as folder:
            socket_path = f'unix:{folder}/socket'
            server = subprocess.Popen(['sh', '-c', 'exec "$0" "$@" <&- >&- 2>&-', PROGRAM, 'serve', '--listen',
                                       '127.0.0.1:0', '--tcp-listen', socket_path, '--cores', '1'])
            deadline = time.monotonic() + PATIENCE_S
            while run('whoami', '--url', socket_path).returncode != 0:
                self.assertLess(time.monotonic(), deadline)
            server.send_signal(signal.SIGHUP)
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(PATIENCE_S), 0)

    def test_after_kill_9_it_starts_again_on_the_same_port(self):
        with Server() as first, open_websocket(first):
            first.signal(signal.SIGKILL)
            self.assertEqual(first.exit_code(), -signal.SIGKILL)
            with Server(listen=first.address) as second:
                self.assertEqual(curl(f'http://{second.address}/healthz'), ['ok\n', '200'])


class RefusingToStart(unittest.TestCase):
    def refused(self, *arguments, **keywords):
        result = run(*arguments, **keywords)
        self.assertEqual(result.stdout, '')
        return result.returncode, result.stderr

    def test_a_second_server_on_the_same_port_says_it_is_in_use(self):
        with Server() as server:
            for command in 'serve', 'echo':
                code, error = self.refused(command, '--listen', server.address)
                self.assertEqual(code, 1)
                self.assertIn(f'cannot listen on {server.address}: Address already in use', error)
            self.assertEqual(curl(f'http://{server.address}/healthz')[1], '200')

    def test_a_unix_socket_that_is_taken_gets_advice_for_unix_sockets(self):
        with tempfile.TemporaryDirectory() as folder:
            address = f'unix:{folder}/socket'
            with Server('--tcp-listen', address):
                code, error = self.refused('serve', '--listen', address)
                self.assertEqual(code, 1)
                self.assertIn(f'cannot listen on {address}: Address already in use', error)
                self.assertIn('ss -lxp', error)
                self.assertNotIn('port', error)

    def test_an_address_of_another_host_is_named(self):
        code, error = self.refused('serve', '--listen', '192.0.2.1:8080')
        self.assertEqual(code, 1)
        self.assertIn('192.0.2.1:8080', error)

    def test_a_mistake_in_the_file_is_told_with_its_line(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / 'corelane.toml'
            file.write_text('[limits]\nmessage_bytes_max = "1MB"\n\n[server]\ncoers = 2\n')
            code, error = self.refused('serve', '--config', str(file))
            self.assertEqual(code, 2)
            self.assertIn(f'{file}:2:', error)
            self.assertIn('1MiB', error)
            self.assertIn(f'{file}:5:', error)
            self.assertIn('cores', error)

    def test_check_and_print_config_need_no_server(self):
        checked = run('serve', '--check-config', '--max-message', '2MiB')
        self.assertEqual((checked.returncode, checked.stderr.count('error')), (0, 0))
        printed = run('serve', '--print-config', '--cores', '2', env={'CORELANE_LIMITS_MESSAGE_BYTES_MAX': '64KiB'})
        self.assertEqual(printed.returncode, 0)
        self.assertRegex(printed.stdout, r'message_bytes_max = "64KiB"\s+# environment')
        self.assertRegex(printed.stdout, r'cores = 2\s+# flag --cores')

    def test_without_io_uring_it_ends_at_once_with_the_reason(self):
        # Half a second of its own work; how long that takes is the machine's affair. It waits for nothing, or it
        # would be longer than it worked, many times, in each of five runs.
        worked, fastest = [], PATIENCE_S
        for _ in range(5):
            began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            code, error = self.refused('serve', '--listen', '127.0.0.1:0', preexec_fn=forbid_io_uring)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            fastest = min(fastest, time.monotonic() - began)
            worked.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            self.assertEqual(code, 6)
            self.assertRegex(error, 'seccomp|io_uring_disabled')
        self.assertLess(min(worked), 0.5)
        self.assertLess(fastest, 10)

    def test_client_commands_say_the_same(self):
        code, error = self.refused('whoami', preexec_fn=forbid_io_uring)
        self.assertEqual(code, 6)
        self.assertRegex(error, 'seccomp|io_uring_disabled')


class Words(unittest.TestCase):
    def test_help_lists_the_commands_and_each_has_its_own(self):
        text = run('help').stdout
        for command in ('serve', 'echo', 'whoami', 'ping', 'sub', 'pub', 'send', 'broadcast', 'quota', 'doctor',
                        'version'):
            self.assertRegex(text, rf'corelane {command}\b')
            one = run(command, '--help')
            self.assertEqual(one.returncode, 0, command)
            self.assertGreater(len(one.stdout), 10, command)

    def test_unknown_words_are_refused_with_a_hint(self):
        result = run('serv')
        self.assertEqual(result.returncode, 2)
        self.assertIn('did you mean serve?', result.stderr)
        self.assertEqual(run().returncode, 2)

    def test_doctor_reports_in_json(self):
        result = run('doctor', '--json')
        report = json.loads(result.stdout)
        self.assertEqual(report['exit_code'], result.returncode)
        self.assertIn(report['status'], ('ok', 'warn', 'fail'))
        self.assertTrue(all({'name', 'status', 'found', 'advice'} <= check.keys() for check in report['checks']))

    def test_doctor_says_when_io_uring_is_refused(self):
        result = run('doctor', '--json', preexec_fn=forbid_io_uring)
        self.assertEqual((result.returncode, json.loads(result.stdout)['status']), (2, 'fail'))


if __name__ == '__main__':
    tap.main()
