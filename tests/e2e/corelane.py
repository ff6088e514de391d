"""What the end-to-end tests share: the program, servers on ephemeral ports, the vectors of the protocol.

The first argument of a test is the program's path; the others are the test's own.
"""

import ctypes
import json
import pathlib
import re
import struct
import subprocess
import sys
import threading

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else 'build/dev/tools/corelane'
ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 120   # for what happens at once: a slow machine must not fail a test


def vectors():
    """The frames of tests/conformance/protocol_vectors.json: of our codec by name, of Python by name/layout."""
    entries = json.loads((ROOT / 'tests/conformance/protocol_vectors.json').read_text())['vectors']
    frames = {entry['name']: bytes.fromhex(entry['hex']) for entry in entries}
    return frames | {f'{entry["name"]}/{layout}': bytes.fromhex(digits)
                     for entry in entries for layout, digits in entry['python'].items()}


def opcode_of(frame):
    """The opcode of a frame as our server lays it out (a FlatBuffers table, field 0)."""
    body = frame[4:]
    table = struct.unpack_from('<I', body, 0)[0]
    vtable = table - struct.unpack_from('<i', body, table)[0]
    field = struct.unpack_from('<H', body, vtable + 4)[0]
    return struct.unpack_from('<H', body, table + field)[0] if field else 0


class Lines:
    """The lines that a stream brings, as they come; read by a thread, so that nobody blocks on a full pipe."""

    def __init__(self, stream):
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.thread.start()

    def _read(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append(line.rstrip('\n'))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def find(self, pattern, count=1):
        """Waits for `count` lines that match, and returns the matches."""
        def matches():
            return [match for match in (re.search(pattern, line) for line in self.lines) if match]
        with self.changed:
            self.changed.wait_for(lambda: len(matches()) >= count or self.ended, PATIENCE_S)
            found = matches()
            if len(found) < count:
                raise AssertionError(f'no line like {pattern!r} among {[line[:200] for line in self.lines]}')
            return found

    def text(self):
        self.thread.join(PATIENCE_S)
        return '\n'.join(self.lines)


class Process:
    """A running corelane command. Killed at the end of the `with`, if it has not ended by itself."""

    def __init__(self, *arguments, program=PROGRAM, **keywords):
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, **keywords)
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self.out.thread.join(PATIENCE_S)
        self.err.thread.join(PATIENCE_S)
        self.process.stdout.close()
        self.process.stderr.close()
        if self.process.stdin:
            self.process.stdin.close()

    def signal(self, number):
        self.process.send_signal(number)

    def exit_code(self):
        return self.process.wait(PATIENCE_S)


class Listener(Process):
    """A process that says on what it listens, on an ephemeral port. It accepts connections once this is made."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        try:
            self.address = self.out.find(r'^listening on (\S+) ')[0].group(1)
        except AssertionError as error:
            self.__exit__()
            raise AssertionError(f'{error}; stderr: {self.err.text()}') from None
        self.host, _, port = self.address.rpartition(':')
        self.port = int(port)

    @property
    def url(self):
        return f'ws://{self.address}/'


class Server(Listener):
    """`corelane serve`, or echo."""

    def __init__(self, *arguments, command='serve', listen='127.0.0.1:0', cores=2, **keywords):
        super().__init__(command, '--listen', listen, '--cores', str(cores), *arguments, **keywords)


class Subscriber(Process):
    """`corelane sub`, subscribed once this is made."""

    def __init__(self, url, *arguments):
        super().__init__('sub', '--url', url, *arguments)
        self.session = self.err.find(r'^subscribed to .* as session (\S+)$')[0].group(1)


class Example(Listener):
    """A program of tools/examples."""

    def __init__(self, program):
        super().__init__('--listen', '127.0.0.1:0', '--cores', '2', program=program)


def run(*arguments, program=PROGRAM, **keywords):
    """A command to its end."""
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, **keywords)


def forbid_io_uring():
    """For preexec_fn: io_uring's system calls end with EPERM from now on, as under a container's seccomp filter."""
    io_uring_setup, io_uring_register = 425, 427
    load_number = struct.pack('<HBBI', 0x20, 0, 0, 0)
    if_below = struct.pack('<HBBI', 0x35, 0, 2, io_uring_setup)         # jge: else allow
    if_above = struct.pack('<HBBI', 0x25, 1, 0, io_uring_register)      # jgt: allow
    refuse = struct.pack('<HBBI', 0x06, 0, 0, 0x00050000 | 1)           # SECCOMP_RET_ERRNO | EPERM
    allow = struct.pack('<HBBI', 0x06, 0, 0, 0x7fff0000)
    program = load_number + if_below + if_above + refuse + allow
    buffer = ctypes.create_string_buffer(program)
    head = struct.pack('<HxxxxxxQ', len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privs, set_seccomp, mode_filter = 38, 22, 2
    if libc.prctl(set_no_new_privs, 1, 0, 0, 0) != 0 or libc.prctl(set_seccomp, mode_filter, head, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), 'prctl')
