"""Python's `websockets` against `corelane serve` and `corelane echo`.

Goal: a client that shares no code with us exchanges frames of the protocol and raw messages with us. Method: the frames
of the protocol's test vectors; messages of all kinds and sizes.
"""

import asyncio
import pathlib
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                       # noqa: E402
from corelane import PATIENCE_S, Server, opcode_of, run, vectors  # noqa: E402

try:
    import websockets
except ImportError:
    print('1..0 # SKIP Python has no websockets (Debian: python3-websockets)')
    sys.exit(0)

FRAMES = vectors()
TRANSACTION = b'\x11' * 16
ACK, EVENT, WHOAMI_REPLY, SUBSCRIBE_REPLY, PONG, ERROR = 19, 21, 22, 23, 3, 20


def talk(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE_S))


class Serve(unittest.TestCase):
    def test_requests_of_the_vectors_are_answered_under_their_transaction(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                for request, reply in ('whoami', WHOAMI_REPLY), ('ping', PONG), ('custom', ERROR):
                    await client.send(FRAMES[request])
                    answer = await client.recv()
                    self.assertEqual(opcode_of(answer), reply, request)
                    self.assertIn(TRANSACTION, answer)
                    self.assertEqual(struct.unpack('<I', answer[:4])[0], len(answer) - 4)
        with Server() as server:
            talk(body(server))

    def test_what_is_published_comes_back_to_a_subscriber(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                await client.send(FRAMES['subscribe'])
                self.assertEqual(opcode_of(await client.recv()), SUBSCRIBE_REPLY)
                await client.send(FRAMES['publish'])
                got = {opcode_of(frame): frame for frame in (await client.recv(), await client.recv())}
                self.assertEqual(got.keys(), {ACK, EVENT})
                self.assertIn(b'hello', got[EVENT])
                for foreign in 'publish/size_prefixed', 'publish/size_by_hand':
                    await client.send(FRAMES[foreign])
                    self.assertEqual({opcode_of(await client.recv()), opcode_of(await client.recv())}, {ACK, EVENT})
                self.assertEqual(run('pub', 'news', 'from the command line', '-u', server.url).returncode, 0)
                self.assertIn(b'from the command line', await client.recv())
        with Server() as server:
            talk(body(server))

    def test_several_frames_in_one_message_are_all_served(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                await client.send(FRAMES['ping'] + FRAMES['whoami'] + FRAMES['ping'])
                answers = [opcode_of(await client.recv()) for _ in range(3)]
                # WhoAmI may have to ask the kernel for the address; then the second Ping is answered first.
                self.assertEqual(sorted(answers), sorted([PONG, WHOAMI_REPLY, PONG]))
        with Server() as server:
            talk(body(server))

    def test_rubbish_costs_an_error_and_text_the_connection(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                await client.send(b'\x01\x02\x03')
                self.assertEqual(opcode_of(await client.recv()), ERROR)
                await client.send(FRAMES['ping'])
                self.assertEqual(opcode_of(await client.recv()), PONG)
                await client.send('text')
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await client.recv()
                self.assertEqual(closed.exception.code, 1003)
        with Server() as server:
            talk(body(server))

    def test_a_stopping_server_closes_with_1001(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                server.process.terminate()
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await client.recv()
                self.assertEqual(closed.exception.code, 1001)
        with Server() as server:
            talk(body(server))
            self.assertEqual(server.exit_code(), 0)


class Echo(unittest.TestCase):
    MESSAGES = ['', 'text', 'Grüße, 世界 🌍', b'', b'\x00\xff' * 100, 'x' * 125, b'y' * 126, b'z' * 65535, 'q' * 65536,
                bytes(range(256)) * 4096]

    async def exchange(self, server, compression, path=''):
        async with websockets.connect(server.url + path, compression=compression, max_size=None) as client:
            self.assertEqual(bool(client.extensions), compression is not None)
            for message in self.MESSAGES:
                await client.send(message)
                self.assertEqual(await client.recv(), message)
            for message in self.MESSAGES:   # all under way at once
                await client.send(message)
            for message in self.MESSAGES:
                self.assertEqual(await client.recv(), message)
            await client.send(['Gr', '', 'ü', 'ße'])    # fragments
            self.assertEqual(await client.recv(), 'Grüße')
            await client.send([b'a' * 70_000] * 10)
            self.assertEqual(await client.recv(), b'a' * 700_000)
            await asyncio.wait_for(await client.ping(b'ping'), PATIENCE_S)

    def test_messages_of_every_kind_and_size_come_back(self):
        with Server(command='echo') as server:
            talk(self.exchange(server, None))
            talk(self.exchange(server, None, 'any/path?and=query'))

    def test_messages_come_back_compressed(self):
        for flags in [], ['--websocket.deflate-server-no-context-takeover',
                          '--websocket.deflate-client-no-context-takeover']:
            with Server('--deflate', *flags, command='echo') as server:
                talk(self.exchange(server, 'deflate'))

    def test_a_message_one_byte_past_the_limit_is_closed_with_1009(self):
        async def body(server):
            async with websockets.connect(server.url) as client:
                await client.send(b'x' * 1000)
                self.assertEqual(len(await client.recv()), 1000)
                await client.send(b'x' * 1001)
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await client.recv()
                self.assertEqual(closed.exception.code, 1009)
        with Server('--max-message', '1000', command='echo') as server:
            talk(body(server))


if __name__ == '__main__':
    tap.main()
