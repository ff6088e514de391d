"""The examples of sockets for coroutines do what their first lines say.

Goal: a reader may copy them. Method: the programs themselves on ephemeral ports, spoken to over plain sockets. The
arguments are the programs.
"""

import contextlib
import http.client
import http.server
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                # noqa: E402
from listening import PATIENCE_S, Program, behind, exactly, free_address, until_end   # noqa: E402

ECHO, CHAT, PROXY, RESP, FILES, GET, SOCKS = (sys.argv.pop(1) for _ in range(7))


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

    def test_the_socks_proxy_leaves_nothing_when_it_ends_in_the_middle(self):
        with Program(SOCKS, '127.0.0.1:0') as proxy, behind() as listener, contextlib.ExitStack() as left:
            request = b'\5\1\0\5\1\0\1' + socket.inet_aton('127.0.0.1') + struct.pack('>H', listener.getsockname()[1])
            reset = struct.pack('ii', 1, 0)
            for i in range(120):
                client = left.enter_context(proxy.connect())
                client.sendall(request)
                server = left.enter_context(listener.accept()[0])
                self.assertEqual(exactly(client, 12), b'\5\0\5\0\0\1' + bytes(6))
                one, other = (client, server) if i % 2 else (server, client)
                one.sendall(b'x' * (i * 100))
                if i % 3 == 0:    # both directions end, one after the other
                    one.shutdown(socket.SHUT_WR)
                    self.assertEqual(until_end(other), b'x' * (i * 100))
                    other.sendall(b'last words')
                    other.shutdown(socket.SHUT_WR)
                    self.assertEqual(until_end(one), b'last words')
                elif i % 3 == 1:  # a reset, with bytes on their way
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    one.close()
                    until_end(other)
                elif i % 6 == 5:  # half-closed, and left so
                    one.shutdown(socket.SHUT_WR)
                    self.assertEqual(until_end(other), b'x' * (i * 100))
            proxy.process.send_signal(signal.SIGTERM)
            # Another exit code would be a crash, or a sanitizer that has found a leak.
            self.assertEqual(proxy.process.wait(timeout=PATIENCE_S), 0)

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
                for malformed in b'hello\r\n', b'\r\n*1\r\n$4\r\nPING\r\n', b'*\r\n', b'*1\r\n\r\n':
                    with self.subTest(malformed=malformed), server.connect() as peer:
                        peer.sendall(malformed)
                        self.assertEqual(read_all(peer), b'')

    def test_the_resp_server_bounds_the_memory_of_its_answers(self):
        value = b'v' * 900_000
        get = b'*2\r\n$3\r\nGET\r\n$1\r\nk\r\n'
        gets = 700
        with Program(RESP, '127.0.0.1:0', '1') as server, server.connect() as peer:
            peer.sendall(b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n' % (len(value), value))
            peer.sendall(b'*%d\r\n$4\r\nMGET\r\n' % 21 + 20 * b'$1\r\nk\r\n' + gets * get)
            peer.shutdown(socket.SHUT_WR)
            answers = peer.makefile('rb')
            first = b'+OK\r\n-ERR the answer is too large\r\n'
            self.assertEqual(answers.read(len(first)), first)
            rest = sum(map(len, iter(lambda: answers.read(1 << 20), b'')))
            self.assertEqual(rest, gets * (len(value) + len(b'$900000\r\n\r\n')))
            status = pathlib.Path(f'/proc/{server.process.pid}/status').read_text()
            # Half of all answers; what they need is a few megabytes, and a sanitizer adds its own.
            self.assertLess(int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]), 400_000)

    def test_the_downloader_saves_all_of_a_file_or_nothing(self):
        listener = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Files)
        with listener as server, tempfile.TemporaryDirectory() as folder:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            path = pathlib.Path(folder) / 'file'

            def get(name, **keywords):
                url = 'http://127.0.0.1:%d%s' % (server.server_port, name)
                return subprocess.Popen([GET, url, str(path)], stderr=subprocess.PIPE, text=True, **keywords)
            for name in '/redirect', '/chunked', '/whole':
                with self.subTest(name), get(name) as run:
                    _, text = run.communicate(timeout=PATIENCE_S)
                    self.assertEqual(run.returncode, 0, text)
                    self.assertIn('MiB/s', text)
                    self.assertEqual(path.read_bytes(), Files.BODY)
                path.unlink()
            for name, reason in ('/missing', 'status 404'), ('/cut', 'ended in the middle'):
                with self.subTest(name), get(name) as run:
                    _, text = run.communicate(timeout=PATIENCE_S)
                    self.assertEqual(run.returncode, 1, text)
                    self.assertIn(reason, text)
                    self.assertEqual(list(pathlib.Path(folder).iterdir()), [])
            # Exit codes tell of leaks too, under a sanitizer.
            with get('/endless') as run:
                self.assertRegex(run.stderr.readline(), 'MiB/s')   # its progress, which ends with '\r'
                self.assertGreater(path.with_name('file.part').stat().st_size, 0)
                run.send_signal(signal.SIGINT)
                _, text = run.communicate(timeout=PATIENCE_S)
                self.assertEqual(run.returncode, 128 + signal.SIGINT, text)
                self.assertEqual(list(pathlib.Path(folder).iterdir()), [])
            server.shutdown()


class Files(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    BODY = bytes(range(256)) * 20_000

    def do_GET(self):
        if self.path == '/missing':
            return self.send_error(404)
        self.send_response(302 if self.path == '/redirect' else 200)
        if self.path == '/redirect':
            self.send_header('Location', 'whole')
            self.send_header('Content-Length', '0')
            return self.end_headers()
        if self.path == '/chunked':
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            for at in range(0, len(self.BODY), 100_001):
                piece = self.BODY[at:at + 100_001]
                self.wfile.write(b'%x\r\n%s\r\n' % (len(piece), piece))
            return self.wfile.write(b'0\r\n\r\n')
        self.send_header('Content-Length', str(len(self.BODY) + (1 << 30 if self.path == '/endless' else 0)))
        self.end_headers()
        self.wfile.write(self.BODY if self.path == '/whole' else self.BODY[:-1])
        if self.path == '/cut':
            self.close_connection = True
        elif self.path == '/endless':
            # Slowly, until the client is gone: it shows its progress four times a second.
            self.connection.settimeout(0.05)
            with contextlib.suppress(ConnectionError):
                while True:
                    self.wfile.write(bytes(100))
                    with contextlib.suppress(TimeoutError):
                        if not self.connection.recv(1):
                            return

    def log_message(self, *_):
        pass


class FileServer(unittest.TestCase):
    """The file server, spoken to by Python's HTTP client and by hand."""

    def setUp(self):
        self.around = tempfile.TemporaryDirectory()
        self.addCleanup(self.around.cleanup)
        self.root = pathlib.Path(self.around.name, 'root')
        (self.root / 'sub dir').mkdir(parents=True)
        (self.root / 'a.txt').write_bytes(b'0123456789')
        (self.root / 'sub dir' / 'b & <c>.html').write_bytes(b'<p>')
        pathlib.Path(self.around.name, 'secret').write_bytes(b'secret')
        (self.root / 'out').symlink_to('../secret')
        (self.root / 'in').symlink_to('a.txt')
        os.mkfifo(self.root / 'fifo')
        self.server = Program(FILES, '127.0.0.1:0', str(self.root))
        self.addCleanup(self.server.__exit__)

    def ask(self, method, path, **fields):
        client = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=PATIENCE_S)
        client.request(method, path, headers={name.replace('_', '-'): value for name, value in fields.items()})
        answer = client.getresponse()
        body = answer.read()
        client.close()
        return answer, body

    def test_files_are_sent_whole_and_by_range(self):
        answer, body = self.ask('GET', '/a.txt')
        self.assertEqual((answer.status, body), (200, b'0123456789'))
        self.assertEqual(answer.getheader('Content-Type'), 'text/plain; charset=utf-8')
        modified = answer.getheader('Last-Modified')
        answer, body = self.ask('HEAD', '/a.txt')
        self.assertEqual((answer.status, answer.getheader('Content-Length'), body), (200, '10', b''))
        for asked, status, expected, part in (
                ('bytes=0-0', 206, b'0', 'bytes 0-0/10'), ('bytes=3-5', 206, b'345', 'bytes 3-5/10'),
                ('bytes=7-', 206, b'789', 'bytes 7-9/10'), ('bytes=-2', 206, b'89', 'bytes 8-9/10'),
                ('bytes=-99', 206, b'0123456789', 'bytes 0-9/10'), ('bytes=5-99', 206, b'56789', 'bytes 5-9/10'),
                ('bytes=10-', 416, b'', 'bytes */10'), ('bytes=-0', 416, b'', 'bytes */10'),
                ('bytes=5-3', 200, b'0123456789', None), ('bytes=0-1,3-4', 200, b'0123456789', None),
                ('lines=1-2', 200, b'0123456789', None), ('bytes=x-', 200, b'0123456789', None)):
            with self.subTest(range=asked):
                answer, body = self.ask('GET', '/a.txt', Range=asked)
                self.assertEqual((answer.status, body, answer.getheader('Content-Range')), (status, expected, part))
        for asked in ('bytes=3-5', 'bytes=10-'):   # of a HEAD they mean nothing
            answer, body = self.ask('HEAD', '/a.txt', Range=asked)
            self.assertEqual((answer.status, answer.getheader('Content-Length'), body), (200, '10', b''))
        answer, body = self.ask('GET', '/a.txt', If_Modified_Since=modified)
        self.assertEqual((answer.status, body), (304, b''))
        answer, body = self.ask('GET', '/a.txt', Range='bytes=0-0', If_Range='Sun, 06 Nov 1994 08:49:37 GMT')
        self.assertEqual((answer.status, body), (200, b'0123456789'))

    def test_folders_are_listed_with_links_that_work(self):
        _, page = self.ask('GET', '/')
        names = re.findall(r'<li><a href="([^"]*)">([^<]*)</a>', page.decode())
        self.assertEqual(names, [('/a.txt', 'a.txt'), ('/fifo', 'fifo'), ('/in', 'in'), ('/out', 'out'),
                                 ('/sub%20dir/', 'sub dir/')])
        _, page = self.ask('GET', '/sub%20dir')
        link = re.search(r'href="([^"]*)">b &#38; &#60;c&#62;.html<', page.decode())[1]
        self.assertEqual(self.ask('GET', link)[1], b'<p>')

    def test_no_path_leads_out_of_the_folder(self):
        self.assertEqual(self.ask('GET', '/in')[1], b'0123456789')
        for path in ('/out', '/../secret', '/%2e%2e/secret', '/sub%20dir/../../secret', '/..%2fsecret', '//etc/passwd',
                     '/%2fetc/passwd', '/a.txt%00.html', '/none', '/a.txt/', '/a.txt/b', '/fifo', '/' + 'x' * 300):
            with self.subTest(path=path):
                answer, body = self.ask('GET', path)
                self.assertIn(answer.status, (400, 404))
                self.assertNotIn(b'secret', body)
                self.assertNotIn(b'root:', body)
        self.assertEqual(self.ask('POST', '/a.txt')[0].status, 405)

    def test_a_big_file_waits_for_its_reader_and_others_are_served(self):
        with open(self.root / 'big', 'wb') as big:
            big.truncate(64 << 20)
            big.seek(32 << 20)
            big.write(b'middle')
        with self.server.connect() as slow:
            slow.sendall(b'GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
            self.assertEqual(slow.recv(15), b'HTTP/1.1 200 OK')
            self.assertEqual(self.ask('GET', '/a.txt')[1], b'0123456789')
            kib = int(re.search(r'VmHWM:\s+(\d+) kB', pathlib.Path(
                '/proc/%d/status' % self.server.process.pid).read_text())[1])
            body = read_all(slow).partition(b'\r\n\r\n')[2]
        self.assertEqual(len(body), 64 << 20)
        self.assertEqual(body.index(b'middle'), 32 << 20)
        self.assertLess(kib, 256 << 10)

    def test_it_ends_at_sigterm_while_a_client_reads(self):
        with open(self.root / 'big', 'wb') as big:
            big.truncate(64 << 20)
        with self.server.connect() as slow:
            slow.sendall(b'GET /big HTTP/1.1\r\nHost: a\r\n\r\n')
            self.assertEqual(slow.recv(15), b'HTTP/1.1 200 OK')
            self.server.process.send_signal(signal.SIGTERM)
            self.assertEqual(self.server.process.wait(timeout=PATIENCE_S), 0)


if __name__ == '__main__':
    tap.main()
