"""The tutorial is true.

Goal: a newcomer follows tools/docs/tutorial.md literally. Method: the code in it is that of the programs in
tools/examples/tutorial; its console blocks are run line by line, and give what it says; the servers are spoken to over
loopback. The argument is the folder of the programs.
"""

import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                  # noqa: E402
from listening import PATIENCE_S, Program   # noqa: E402

PROGRAMS = pathlib.Path(sys.argv.pop(1)).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ROOT / 'tools/examples/tutorial'
DOCUMENT = (ROOT / 'tools/docs/tutorial.md').read_text(encoding='utf-8')


def blocks(language):
    return re.findall(rf'^```{language}\n(.*?)^```$', DOCUMENT, re.DOTALL | re.MULTILINE)


class Server(Program):
    def __init__(self, name):
        super().__init__(PROGRAMS / name, '127.0.0.1:0')

    def memory_bytes(self):
        status = pathlib.Path(f'/proc/{self.process.pid}/status').read_text(encoding='utf-8')
        return 1024 * int(re.search(r'VmRSS:\s+(\d+) kB', status)[1])


class Tutorial(unittest.TestCase):
    def test_its_code_is_that_of_the_programs_in_their_order(self):
        files = sorted(SOURCES.glob('*.cpp'))
        self.assertEqual(len(files), 10)
        links = re.findall(r'^\[(\w+\.cpp)\]\(\.\./examples/tutorial/\1\)$', DOCUMENT, re.MULTILINE)
        self.assertEqual(links, [file.name for file in files])
        self.assertEqual(len(blocks('cpp')), len(files))
        for file, block in zip(files, blocks('cpp')):
            self.assertEqual(block, file.read_text(encoding='utf-8'), file.name)

    def test_its_programs_print_what_it_says(self):
        ran = set()
        for block in blocks('console'):
            with tempfile.TemporaryDirectory() as folder:
                for program in SOURCES.glob('*.cpp'):
                    (pathlib.Path(folder) / program.stem).symlink_to(PROGRAMS / program.stem)
                for command, expected in re.findall(r'^\$ (.*)\n((?:[^$].*\n)*)', block, re.MULTILINE):
                    with self.subTest(command):
                        run = subprocess.run(command, shell=True, cwd=folder, stdout=subprocess.PIPE, text=True,
                                             timeout=PATIENCE_S, check=False)
                        self.assertEqual(run.stdout, expected)
                    ran.add(command.split()[0])
        servers = {'./04_echo', './05_lines'}
        self.assertEqual({name for name in ran if name.startswith('./')},
                         {f'./{file.stem}' for file in SOURCES.glob('*.cpp')} - servers)

    def test_the_echo_server_sends_back_what_comes_and_ends_by_a_signal(self):
        sent = bytes(range(256)) * 4096
        with Server('04_echo') as server:
            with server.connect() as peer, server.connect() as idle:
                sender = subprocess.Popen([sys.executable, '-c', 'import sys, socket\n'
                                           'socket.socket(fileno=int(sys.argv[1])).sendall(bytes(range(256)) * 4096)',
                                           str(peer.fileno())], pass_fds=[peer.fileno()])
                received = b''
                while len(received) < len(sent):
                    received += peer.recv(65536)
                self.assertEqual(sender.wait(), 0)
                self.assertEqual(received, sent)
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(idle.recv(1), b'')
            self.assertEqual(server.process.stdout.read(), 'goodbye\n')
            self.assertEqual(server.process.wait(PATIENCE_S), 0)

    def test_a_client_that_does_not_read_costs_little_memory_and_holds_up_nobody(self):
        lines = 10_000_000
        expected = sum(9 * 10 ** (digits - 1) * (digits + 1) for digits in range(1, 8)) + 9
        with Server('05_lines') as server, server.connect() as greedy, server.connect() as modest:
            before = server.memory_bytes()
            greedy.sendall(b'1000000000\n')
            modest.sendall(b'%d\r\n' % lines)
            received = 0
            while received < expected:
                received += len(modest.recv(1 << 20))
            # The server has had the time to queue as much for the greedy client.
            self.assertLess(server.memory_bytes() - before, expected / 2)
            modest.sendall(b'3\n')
            self.assertEqual(b''.join(modest.recv(1) for _ in range(6)), b'1\n2\n3\n')
            modest.sendall(b'1' * 200)
            self.assertEqual(b''.join(iter(lambda: modest.recv(100), b'')), b'that line is too long\n')

    def test_the_naive_server_fails_in_the_simulation_and_a_seed_repeats_it(self):
        run = [PROGRAMS / '10_simulation', 'naive']
        found = subprocess.run(run, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(found.returncode, 1)
        seed = re.match(r'the first that fails: CORELANE_SEED=(\d+)\nseeds that fail: \d+\n', found.stdout)[1]
        again = subprocess.run(run, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False,
                               env={'CORELANE_SEED': seed})
        self.assertEqual(again.stdout, f'the first that fails: CORELANE_SEED={seed}\nseeds that fail: 1\n')


if __name__ == '__main__':
    tap.main()
