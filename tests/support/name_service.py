"""A name service on 127.0.0.53, in a network of the test's own (namespaces.isolate())."""

import contextlib
import socket
import struct
import threading

ADDRESS = ('127.0.0.53', 53)
IPV4, AUTHORITY, IPV6 = 1, 6, 28
NO_SUCH_NAME = 3


class NameService:
    """Answers what it is told to: addresses of names, which hold for `seconds`, or NXDOMAIN, with a SOA record of
    `denial` = (seconds, minimum) if that is given; or, if it is silent, nothing.

    `questions` counts by name and kind."""

    def __init__(self, names=None, silent=False, seconds=60, denial=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(ADDRESS)
        self.names = names or {}
        self.silent = silent
        self.seconds = seconds
        self.denial = denial
        self.asked = threading.Event()
        self.questions = {}
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as last:
            last.sendto(b'', ADDRESS)
        self.thread.join(60)
        self.socket.close()

    def serve(self):
        while True:
            question, client = self.socket.recvfrom(512)
            if not question:
                return
            self.asked.set()
            if not self.silent:
                self.socket.sendto(self.answer(question), client)

    def answer(self, question):
        words, at = [], 12
        while question[at]:
            words.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        name = '.'.join(words).lower()
        kind = struct.unpack_from('>H', question, at + 1)[0]
        self.questions[name, kind] = self.questions.get((name, kind), 0) + 1
        addresses = self.names.get(name)
        families = {IPV4: socket.AF_INET, IPV6: socket.AF_INET6}
        found = [socket.inet_pton(families[kind], one) for one in addresses or []
                 if kind in families and (':' in one) == (kind == IPV6)]
        records = b''.join(self.record(kind, self.seconds, one) for one in found)
        authorities = 0
        if not found and self.denial:
            seconds, minimum = self.denial
            authorities = 1
            records = self.record(AUTHORITY, seconds, struct.pack('>BBIIIII', 0, 0, 1, 7200, 3600, 86400, minimum))
        flags = 0x8180 | (0 if addresses else NO_SUCH_NAME)
        head = question[:2] + struct.pack('>HHHHH', flags, 1, len(found), authorities, 0)
        return head + question[12:at + 5] + records

    @staticmethod
    def record(kind, seconds, data):
        return struct.pack('>HHHIH', 0xc00c, kind, 1, seconds, len(data)) + data
