"""The examples in tools/examples do what their first lines say.

Goal: a reader may copy them. Method: the programs themselves on ephemeral ports, spoken to with frames of the protocol
over WebSocket. The arguments from the second on are the programs.
"""

import asyncio
import json
import pathlib
import struct
import sys
import unittest
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
ECHO, COROUTINE, CHANNEL, TEXT = (sys.argv.pop(2) for _ in range(4))
import tap                                                        # noqa: E402
from corelane import PATIENCE_S, Example, Process, opcode_of, run, vectors  # noqa: E402

try:
    import websockets
except ImportError:
    print('1..0 # SKIP Python has no websockets (Debian: python3-websockets)')
    sys.exit(0)

ERROR = 20


def custom(opcode, payload):
    """The vector `custom` (opcode 65535, payload "hello") with another opcode and payload."""
    frame = bytearray(vectors()['custom'])
    at = frame.index(b'\xff\xff')
    struct.pack_into('<H', frame, at, opcode)
    at = frame.index(b'\x05\0\0\0hello')
    frame[at:] = struct.pack('<I', len(payload)) + payload
    frame.extend(bytes(-len(frame) % 8))
    struct.pack_into('<I', frame, 0, len(frame) - 4)
    return bytes(frame)


def payload_of(frame):
    """The payload of a frame as our server lays it out (field 2 of the table)."""
    body = frame[4:]
    table = struct.unpack_from('<I', body, 0)[0]
    vtable = table - struct.unpack_from('<i', body, table)[0]
    field = table + struct.unpack_from('<H', body, vtable + 8)[0]
    start = field + struct.unpack_from('<I', body, field)[0]
    return body[start + 4:start + 4 + struct.unpack_from('<I', body, start)[0]]


def talk(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE_S))


class Examples(unittest.TestCase):
    def test_the_echo_server_echoes_and_serves_the_built_ins(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                for payload in b'', b'hi', b'\0\xff':
                    await client.send(custom(200, payload))
                    answer = await client.recv()
                    self.assertEqual((opcode_of(answer), payload_of(answer)), (200, payload))
                await client.send(custom(201, b'nobody'))
                self.assertEqual(opcode_of(await client.recv()), ERROR)
            self.assertEqual(run('ping', '-u', server.url).returncode, 0)
        with Example(ECHO) as server:
            talk(body(server))
            server.process.terminate()
            self.assertEqual(server.exit_code(), 0)

    def test_coroutines_wait_without_holding_each_other_up(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                # Both frames in one message: however slow we are, they begin together.
                await client.send(custom(200, b'400') + custom(200, b'0'))
                self.assertEqual([payload_of(await client.recv()) for _ in range(2)],
                                 [b'waited 0 ms', b'waited 400 ms'])
                await client.send(custom(200, b'soon'))
                self.assertEqual(opcode_of(await client.recv()), ERROR)
        with Example(COROUTINE) as server:
            talk(body(server))

    def test_counters_of_all_cores_are_added(self):
        async def body(server):
            for _ in range(8):   # a new connection each time, so that both cores get some
                async with websockets.connect(server.url) as client:
                    await client.send(custom(200, b'1'))
                    await client.recv()
            async with websockets.connect(server.url) as client:
                await client.send(custom(201, b''))
                self.assertEqual(payload_of(await client.recv()), b'8')
            with urllib.request.urlopen(server.url.replace('ws://', 'http://') + 'served', timeout=PATIENCE_S) as answer:
                self.assertEqual(json.load(answer), {'served': 8})
        with Example(COROUTINE) as server:
            talk(body(server))

    def test_a_waiting_coroutine_does_not_hold_up_the_end(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                await client.send(custom(200, b'60000'))
                await client.send(custom(200, b'0'))
                await client.recv()
                server.process.terminate()
                with self.assertRaises(websockets.ConnectionClosed):
                    await client.recv()
        with Example(COROUTINE) as server:
            talk(body(server))
            self.assertEqual(server.exit_code(), 0)

    def test_a_handler_follows_a_channel_and_publishes_to_it(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                await client.send(custom(200, b'lobby'))
                self.assertEqual(payload_of(await client.recv()), b'1: here from 0 on')
                for number in 2, 3:
                    text = f'news {number}'
                    self.assertEqual(run('pub', '-u', server.url, 'lobby', text).returncode, 0)
                    self.assertEqual(payload_of(await client.recv()), f'{number}: {text}'.encode())
                await client.send(custom(200, b''))
                self.assertEqual(opcode_of(await client.recv()), ERROR)
        with Example(CHANNEL) as server:
            talk(body(server))

    def test_a_handler_sends_to_another_session(self):
        async def body(server):
            async with websockets.connect(server.url) as client, websockets.connect(server.url) as other:
                await other.send(vectors()['whoami'])
                # WhoAmIReply: its first field is the id, 16 bytes behind the table's way back.
                reply = payload_of(await other.recv())
                table = struct.unpack_from('<I', reply, 0)[0]
                vtable = table - struct.unpack_from('<i', reply, table)[0]
                at = table + struct.unpack_from('<H', reply, vtable + 4)[0]
                session = str(uuid.UUID(bytes=reply[at:at + 16])).encode()
                await client.send(custom(201, session + b' hello, you'))
                self.assertEqual(payload_of(await client.recv()), b'delivered')
                self.assertIn(b'hello, you', payload_of(await other.recv()))
                await client.send(custom(201, str(uuid.uuid4()).encode() + b' nobody'))
                self.assertEqual(payload_of(await client.recv()), b'not there')
                await client.send(custom(201, b'short'))
                self.assertEqual(opcode_of(await client.recv()), ERROR)
        with Example(CHANNEL) as server:
            talk(body(server))

    def test_a_text_protocol_beside_the_opcode_protocol(self):
        async def body(server):
            at = server.url + 'text/ann'
            async with websockets.connect(server.url) as subscriber, \
                    websockets.connect(at + '?token=swordfish', subprotocols=['other', 'text.v1']) as ann:
                self.assertEqual(ann.subprotocol, 'text.v1')
                self.assertEqual(await ann.recv(), 'hello, ann')
                await subscriber.send(vectors()['subscribe'])
                await subscriber.recv()
                await ann.send('news hello, all')
                self.assertIn(b'ann: hello, all', await subscriber.recv())
                await ann.send('nonsense')
                self.assertEqual(await ann.recv(), 'a line is CHANNEL TEXT')
                await ann.send(b'binary')
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await ann.recv()
                self.assertEqual((closed.exception.code, closed.exception.reason), (1003, 'the protocol is text'))
            async with websockets.connect(at + '?token=swordfish') as ann:
                self.assertIsNone(ann.subprotocol)
            for url, status in (at, 401), (at + '?token=salmon', 401), (server.url + 'text', 404), (at + '/b', 404):
                with self.assertRaises(websockets.InvalidStatusCode) as refused:
                    await websockets.connect(url)
                self.assertEqual(refused.exception.status_code, status, url)
            self.assertEqual(refused.exception.headers.get('WWW-Authenticate'), None)
        with Example(TEXT) as server:
            talk(body(server))
            server.process.terminate()
            self.assertEqual(server.exit_code(), 0)

    def test_wrong_flags_are_refused(self):
        with Process('--nope', program=ECHO) as server:
            self.assertEqual(server.exit_code(), 2)
            self.assertIn('--nope: is no flag', server.err.text())


if __name__ == '__main__':
    tap.main()
