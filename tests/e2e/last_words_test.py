"""Clients that are still sending when the server closes: what they get to read.

Goal: libraries that share no code with us see the close code and its reason, and the status of an HTTP answer, although
they broke a limit in the middle of something large. Method: messages and bodies far larger than what the kernel's
buffers take, sent by blocking and by asynchronous clients. Arguments: the program, the Beast client.
"""

import asyncio
import http.client
import pathlib
import socket
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                    # noqa: E402
from corelane import PATIENCE_S, Server      # noqa: E402

BEAST = sys.argv.pop(1) if len(sys.argv) > 1 else 'build/dev/tests/e2e/beast_sender'
MIB = 1 << 20
TOO_LARGE = (1009, 'message larger than limits.message_bytes_max (1048576)')
TOO_MANY = (1009, 'message in more fragments than limits.fragments_max (1024)')
NO_TEXT = (1007, 'text that is not UTF-8')
SIZES = [MIB + 1, MIB + MIB // 10, 8 * MIB, 15 * MIB]


def installed(name, package):
    try:
        return __import__(name)
    except ImportError:
        raise unittest.SkipTest(f'Python has no {name} (Debian: {package})')


class WebSocketClients(unittest.TestCase):
    """Each sends all of a message before it looks for an answer."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def expect(self, close_of, sizes=SIZES):
        for size in sizes:
            with self.subTest(size=size):
                self.assertEqual(close_of(b'x' * size), TOO_LARGE)

    def test_aiohttp(self):
        aiohttp = installed('aiohttp', 'python3-aiohttp')

        async def talk(data):
            async with aiohttp.ClientSession() as session, session.ws_connect(self.server.url) as client:
                await client.send_bytes(data)
                message = await client.receive()
                self.assertEqual(message.type, aiohttp.WSMsgType.CLOSE)
                self.assertEqual(client.close_code, message.data)
                return message.data, message.extra
        self.expect(lambda data: asyncio.run(asyncio.wait_for(talk(data), PATIENCE_S)))

    def websocket_client(self, frames):
        websocket = installed('websocket', 'python3-websocket')
        client = websocket.create_connection(self.server.url, timeout=PATIENCE_S)
        for opcode, is_final, payload in frames:
            client.send_frame(websocket.ABNF(int(is_final), 0, 0, 0, opcode, 1, payload))
        opcode, payload = client.recv_data()
        client.shutdown()
        self.assertEqual(opcode, websocket.ABNF.OPCODE_CLOSE)
        return struct.unpack('>H', payload[:2])[0], payload[2:].decode()

    def test_websocket_client(self):
        self.expect(lambda data: self.websocket_client([(2, True, data)]))

    def test_websocket_client_in_fragments(self):
        def fragments(count, size):
            return [(0 if i else 2, i == count - 1, b'f' * size) for i in range(count)]
        self.assertEqual(self.websocket_client(fragments(128, 64 * 1024)), TOO_LARGE)
        self.assertEqual(self.websocket_client(fragments(8000, 1000)), TOO_MANY)

    def test_websocket_client_with_text_that_is_none_in_the_middle(self):
        text = b'a' * 500_000 + b'\xff' + b'b' * 500_000
        behind = [(2, True, b'x' * 500_000)] * 16
        self.assertEqual(self.websocket_client([(1, True, text)] + behind), NO_TEXT)
        cut = [(1, False, b'ok' * 1000), (0, False, text[:900_000])]
        self.assertEqual(self.websocket_client(cut + behind), NO_TEXT)

    def test_websocket_client_closed_by_the_service(self):
        frames = [(1, True, b'text')] + [(2, True, b'x' * 500_000)] * 16
        self.assertEqual(self.websocket_client(frames), (1003, 'the protocol is binary'))

    def test_trio_websocket(self):
        trio = installed('trio', 'python3-trio')
        trio_websocket = installed('trio_websocket', 'python3-trio-websocket')

        async def talk(data):
            with trio.fail_after(PATIENCE_S):
                async with trio_websocket.open_websocket_url(self.server.url) as client:
                    try:
                        await client.send_message(data)
                        await client.get_message()
                    except trio_websocket.ConnectionClosed as closed:
                        return closed.reason.code, closed.reason.reason
        self.expect(lambda data: trio.run(talk, data))

    def test_websockets(self):
        websockets = installed('websockets', 'python3-websockets')

        async def talk(data):
            async with websockets.connect(self.server.url) as client:
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await client.send(data)
                    await client.recv()
                return closed.exception.rcvd.code, closed.exception.rcvd.reason
        self.expect(lambda data: asyncio.run(asyncio.wait_for(talk(data), PATIENCE_S)))

    def test_beast(self):
        if not pathlib.Path(BEAST).exists():
            self.skipTest('the Beast client was not built')

        def talk(data):
            port = self.server.url.rstrip('/').rpartition(':')[2]
            result = subprocess.run([BEAST, port, str(len(data))], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertEqual(result.returncode, 0, result.stderr)
            code, _, reason = result.stdout.rstrip('\n').partition(' ')
            return int(code), reason
        self.expect(talk)


class HttpClients(unittest.TestCase):
    """They send all of a request before they read the answer."""

    def answer_to(self, server, request):
        host, port = server.url.split('/')[2].split(':')
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
            client.sendall(request)
            response = http.client.HTTPResponse(client)
            response.begin()
            return response.status, response.read().decode()

    def test_the_status_of_a_body_that_is_too_large_is_read_behind_it(self):
        with Server() as server:
            for size in SIZES:
                client = http.client.HTTPConnection(server.url.split('/')[2], timeout=PATIENCE_S)
                client.request('POST', '/anything', b'x' * size)
                response = client.getresponse()
                self.assertEqual(response.status, 413)
                self.assertIn('limits.http_body_bytes_max (1048576)', response.read().decode())
                client.close()

    def test_the_status_of_a_head_that_never_ends_is_read_behind_it(self):
        with Server() as server:
            head = b'GET / HTTP/1.1\r\nHost: a\r\n'
            status, body = self.answer_to(server, head + b'X-Field: ' + b'x' * 8 * MIB)
            self.assertEqual(status, 431)
            self.assertIn('limits.header_bytes_max (8192)', body)
            status, body = self.answer_to(server, head + b'X-Field: x\r\n' * 700_000)
            self.assertEqual(status, 431)
            status, body = self.answer_to(server, b'GET /' + b'x' * 8 * MIB)
            self.assertEqual(status, 414)
            self.assertIn('limits.request_line_bytes_max (4096)', body)
            status, _ = self.answer_to(server, b'\x16\x03\x01' * 3 * MIB)
            self.assertEqual(status, 400)
            chunks = b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n' + (
                b'10000\r\n' + b'c' * 65536 + b'\r\n') * 128
            status, body = self.answer_to(server, chunks)
            self.assertEqual(status, 413)


class TcpClients(unittest.TestCase):
    def test_the_error_of_a_frame_that_is_too_large_is_read_behind_it(self):
        with Server('--tcp-listen', '127.0.0.1:0') as server:
            address = server.out.find(r'^listening on (\S+) \(2 cores, tcp\)')[0].group(1)
            host, port = address.rsplit(':', 1)
            with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
                client.sendall(struct.pack('<I', 8 * MIB) + b'\x00' * 8 * MIB)
                answer = b''
                while piece := client.recv(65536):
                    answer += piece
                self.assertIn(b'limits.message_bytes_max (1048576)', answer)


if __name__ == '__main__':
    tap.main()
