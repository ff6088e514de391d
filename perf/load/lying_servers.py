"""Small servers that do what a load expects, but for what the test's `lie` does to it."""

import base64
import hashlib
import socket
import struct
import threading


class Server:
    """Accepts on a free port of 127.0.0.1; each client is a thread in serve(), which may raise ConnectionError."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.guard, args=(client,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def guard(self, client):
        with client:
            try:
                self.serve(client)
            except OSError:
                return

    def serve(self, client):
        raise NotImplementedError

    def close(self):
        # A blocked accept() is woken by shutdown, not by close.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()


def read_exactly(client, count):
    data = b''
    while len(data) < count:
        part = client.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


class Echo(Server):
    """A TCP echo of messages of `size` bytes: lie(messages, echoed before) gives what goes back."""

    def __init__(self, size, lie):
        self.size, self.lie = size, lie
        super().__init__()

    def serve(self, client):
        echoed = 0
        pending = b''
        while part := client.recv(65536):
            pending += part
            whole = len(pending) // self.size * self.size
            messages = [pending[i:i + self.size] for i in range(0, whole, self.size)]
            pending = pending[whole:]
            client.sendall(b''.join(self.lie(messages, echoed)))
            echoed += len(messages)


def handshake(client):
    """The path that a WebSocket handshake asks for, and its answer."""
    request = b''
    while not request.endswith(b'\r\n\r\n'):
        request += read_exactly(client, 1)
    lines = request.decode().split('\r\n')
    key = next(line.split(': ', 1)[1] for line in lines if line.lower().startswith('sec-websocket-key:'))
    accept = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest())
    return lines[0].split()[1], (
        b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        b'Sec-WebSocket-Accept: ' + accept + b'\r\n\r\n')


def read_message(client):
    """A WebSocket message in one frame of a client, of less than 64 KiB."""
    head = read_exactly(client, 2)
    size = head[1] & 0x7F
    if size == 126:
        size = struct.unpack('>H', read_exactly(client, 2))[0]
    key = read_exactly(client, 4)
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(read_exactly(client, size)))


def message_frame(message):
    length = bytes([len(message)]) if len(message) < 126 else b'\x7e' + struct.pack('>H', len(message))
    return b'\x82' + length + message


class WebSocketEcho(Server):
    """Says goodbye in the same bytes as the last of `echoes` echoes."""

    def __init__(self, echoes):
        self.echoes = echoes
        super().__init__()

    def serve(self, client):
        client.sendall(handshake(client)[1])
        for number in range(1, self.echoes + 1):
            frame = message_frame(read_message(client))
            client.sendall(frame if number < self.echoes else frame + b'\x88\x02\x03\xe8')
        while client.recv(65536):
            pass


class Proxy(Server):
    """Passes bytes on to and from 127.0.0.1:`behind`. `clients` has, for each that has gone, in how many pieces it was
    sent what it got, and how many TCP segments came from it."""

    def __init__(self, behind):
        self.behind, self.clients = behind, []
        super().__init__()

    def serve(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(('127.0.0.1', self.behind)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            upwards = threading.Thread(target=self.pass_on, args=(client, server), daemon=True)
            upwards.start()
            pieces = self.pass_on(server, client)
            upwards.join()
            segments_in = struct.unpack_from('I', client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 140)[0]
            self.clients.append((pieces, segments_in))

    @staticmethod
    def pass_on(source, target):
        """The number of pieces, when the source has ended."""
        pieces = 0
        try:
            while part := source.recv(65536):
                target.sendall(part)
                pieces += 1
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return pieces


class FanOut(Server):
    """Raw fan-out over TCP or WebSocket: lie(number, message) gives the list of messages that subscriber 1 gets for
    the message of that number; the others get it as it is."""

    def __init__(self, size, lie, websocket=False):
        self.size, self.lie, self.websocket = size, lie, websocket
        self.subscribers = []
        super().__init__()

    def serve(self, client):
        who, answer = handshake(client) if self.websocket else 2 * [read_exactly(client, 1)]
        subscribes = who in ('/sub', b'S')
        if subscribes:
            self.subscribers.append(client)
        client.sendall(answer)
        if subscribes:
            while client.recv(65536):
                pass
            return
        number = 0
        while True:
            message = read_message(client) if self.websocket else read_exactly(client, self.size)
            for index, subscriber in enumerate(self.subscribers):
                messages = self.lie(number, message) if index == 1 else [message]
                subscriber.sendall(b''.join(self.frame(one) for one in messages))
            number += 1

    def frame(self, message):
        # A ping before each message: it is one subscriber's own, and no delivery.
        return b'\x89\x01!' + message_frame(message) if self.websocket else message
