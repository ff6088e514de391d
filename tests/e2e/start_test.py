"""What surrounds a server: streams that nobody reads, limits of the process, files of Unix sockets, its first moment.

Goal: none of them holds the server, ends it by an exception, or is left behind. Method: real processes with full pipes,
stopped terminals, rlimits, signals; the listening line and the answers are the only synchronisation.
"""

import fcntl
import os
import pathlib
import pty
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                      # noqa: E402
from corelane import PATIENCE_S, PROGRAM, run   # noqa: E402

NOBODY = 65534


def fill(descriptor):
    """Writes until nothing more fits, and leaves the descriptor blocking, as a server finds it."""
    os.set_blocking(descriptor, False)
    try:
        while os.write(descriptor, b'x' * 512 + b'\n'):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(descriptor, True)


def full_pipe():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    fill(writer)
    return reader, writer


def stalled_socket():
    reader, writer = socket.socketpair()
    fill(writer.fileno())
    return reader.detach(), writer.detach()


def stopped_terminal():
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    return master, slave


def answers(address):
    """Whether a server on the Unix socket `address` answers a request."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(address)
            client.sendall(b'GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n')
            return client.recv(1000).startswith(b'HTTP/1.1 200 ')
    except (FileNotFoundError, ConnectionError):   # not yet, or one that was killed
        return False


class Started:
    """A server on a Unix socket, with streams as a test wants them: it is there once it answers."""

    def __init__(self, path, *arguments, command='serve', **keywords):
        self.process = subprocess.Popen([PROGRAM, command, '--listen', f'unix:{path}', '--cores', '1', *arguments],
                                        **keywords)
        self.path = path

    def __enter__(self):
        deadline = time.monotonic() + PATIENCE_S
        while not answers(self.path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError(f'it does not serve: {self.process.returncode}')
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)


class Streams(unittest.TestCase):
    def serves_and_stops(self, **keywords):
        with tempfile.TemporaryDirectory() as folder:
            path = f'{folder}/socket'
            with Started(path, **keywords) as server:
                for _ in range(1200):
                    server.process.send_signal(signal.SIGHUP)
                self.assertTrue(answers(path))
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(server.process.wait(PATIENCE_S), 0)

    def test_streams_that_take_nothing_hold_nothing(self):
        for make in full_pipe, stalled_socket, stopped_terminal:
            reader, writer = make()
            with self.subTest(make.__name__):
                self.serves_and_stops(stdout=writer, stderr=writer)
            os.close(reader)
            os.close(writer)

    def test_a_full_disk_holds_nothing(self):
        with open('/dev/full', 'wb') as full:
            self.serves_and_stops(stdout=full, stderr=full)

    def test_what_was_left_out_is_told_once_somebody_reads(self):
        reader, writer = full_pipe()
        with tempfile.TemporaryDirectory() as folder:
            path = f'{folder}/socket'
            with Started(path, stdout=subprocess.DEVNULL, stderr=writer) as server:
                os.close(writer)
                for _ in range(1200):
                    server.process.send_signal(signal.SIGHUP)
                self.assertTrue(answers(path))
                server.process.send_signal(signal.SIGTERM)
                with os.fdopen(reader, 'rb') as text:
                    log = text.read().decode()
                self.assertEqual(server.process.wait(PATIENCE_S), 0)
        self.assertIn('corelane: info: the configuration was read again', log)
        self.assertIn('corelane: info: stopped\n', log)


def limited(limits, ordinary_user=True):
    """For preexec_fn: this process' limits, and, for those that root is spared, another user."""
    def apply():
        for which, value in limits.items():
            resource.setrlimit(which, (value, value))
        if ordinary_user and os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    return apply


def program_for_others(folder):
    """A copy that another user may run: the build folder may be closed to others."""
    os.chmod(folder, 0o755)
    return shutil.copy(PROGRAM, f'{folder}/corelane')


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.program = program_for_others(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def start(self, command, limits, *arguments, cores='2'):
        """Returns (exit code, stderr); the code is None for a server that serves."""
        process = subprocess.Popen([self.program, command, '--listen', '127.0.0.1:0', '--cores', cores, *arguments],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=limited(limits))
        try:
            if process.stdout.readline().startswith('listening on'):
                process.terminate()
                self.assertEqual(process.wait(PATIENCE_S), 0)
                return None, process.stderr.read()
            return process.wait(PATIENCE_S), process.stderr.read()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
            process.stderr.close()

    def refused(self, limits, words, **keywords):
        for command in 'serve', 'echo':
            code, error = self.start(command, limits, **keywords)
            self.assertEqual((code, error.count('\n')), (1, 1), error)
            for word in words:
                self.assertIn(word, error)

    def test_threads_that_cannot_be_created_are_told_with_their_limit(self):
        self.refused({resource.RLIMIT_NPROC: 2}, ('ulimit -u', ' 2 '), cores='16')

    def test_an_address_space_that_is_too_small_is_told_with_its_limit(self):
        self.refused({resource.RLIMIT_AS: 100 << 20}, ('address space', '100 MiB', 'ulimit -v'))

    def test_descriptors_that_are_too_few_are_told_with_their_limit(self):
        self.refused({resource.RLIMIT_NOFILE: 5}, ('ulimit -n',))

    def test_whatever_the_limit_it_serves_or_says_why_in_a_line(self):
        sweep = [{resource.RLIMIT_AS: mib << 20} for mib in (80, 100, 120, 160, 200, 250, 300, 400, 600, 1000)]
        sweep += [{resource.RLIMIT_NOFILE: count} for count in (4, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 30)]
        sweep += [{resource.RLIMIT_NPROC: count} for count in (1, 3, 4, 5)]
        sweep += [{resource.RLIMIT_MEMLOCK: 0}]
        for limits in sweep:
            with self.subTest(limits):
                code, error = self.start('serve', limits)
                self.assertIn(code, (None, 1), error)
                if code is not None:
                    self.assertEqual(error.count('\n'), 1, error)


class UnixSockets(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f'{self.folder.name}/socket'

    def tearDown(self):
        self.folder.cleanup()

    def stop(self, server):
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(PATIENCE_S), 0)

    def test_the_file_goes_with_the_server(self):
        for command in 'serve', 'echo':
            with Started(self.path, command=command) as server:
                self.assertTrue(stat.S_ISSOCK(os.lstat(self.path).st_mode))
                self.stop(server)
            self.assertFalse(os.path.lexists(self.path))

    def test_the_file_of_another_process_stays(self):
        with Started(self.path) as server:
            os.unlink(self.path)
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(self.path)
                self.stop(server)
                self.assertTrue(os.path.lexists(self.path))

    def test_a_start_that_fails_leaves_no_file(self):
        address = f'unix:{self.path}'
        for command in 'serve', 'echo':   # the second listener finds the first one
            result = run(command, '--listen', address, '--listen', f'unix:{self.folder.name}/./socket', '--cores', '1')
            self.assertEqual(result.returncode, 1)
            self.assertIn('Address already in use', result.stderr)
            self.assertFalse(os.path.lexists(self.path), command)

    def test_after_kill_9_it_starts_again_at_once(self):
        for _ in range(20):
            with Started(self.path) as server:
                server.process.kill()   # the next one starts before the kernel has taken this one down
        with Started(self.path, stdout=subprocess.DEVNULL):
            result = run('serve', '--listen', f'unix:{self.path}')
            self.assertEqual(result.returncode, 1)   # a live one is in the way
            self.assertIn('Address already in use', result.stderr)
            self.assertTrue(answers(self.path))

    def test_an_abstract_name_is_waited_for_too(self):
        name = f'unix:@corelane-test-{os.getpid()}'
        for _ in range(5):
            with subprocess.Popen([PROGRAM, 'serve', '--listen', name, '--cores', '1'], stdout=subprocess.PIPE,
                                  text=True) as server:
                self.assertIn('listening on', server.stdout.readline())
                server.kill()

    def test_others_may_connect_as_configured(self):
        with Started(self.path, '--unix-mode', '0666', '--unix-group', str(os.getgid())):
            self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), 0o666)
        with Started(self.path, env={'CORELANE_SERVER_UNIX_MODE': '0600'}):
            self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), 0o600)

    @unittest.skipIf(os.getuid() != 0, 'only root gives files away')
    def test_root_gives_the_file_to_others(self):
        with Started(self.path, '--unix-mode', '0660', '--unix-owner', str(NOBODY), '--unix-group', str(NOBODY)):
            status = os.lstat(self.path)
            self.assertEqual((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)), (NOBODY, NOBODY, 0o660))

    @unittest.skipIf(os.getuid() != 0, 'needs two users')
    def test_a_file_that_cannot_be_given_away_is_an_error_and_does_not_stay(self):
        os.chmod(self.folder.name, 0o777)
        with tempfile.TemporaryDirectory() as folder:
            result = run('serve', '--listen', f'unix:{self.path}', '--unix-owner', 'root',
                         program=program_for_others(folder), preexec_fn=limited({}))
        self.assertEqual(result.returncode, 1)
        self.assertIn('server.unix_owner', result.stderr)
        self.assertFalse(os.path.lexists(self.path))

    def test_a_server_that_does_not_accept_is_not_waited_for(self):
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
            busy.bind(self.path)
            busy.listen(0)
            waiting.connect(self.path)   # the backlog is full: one more connect would wait
            result = run('serve', '--listen', f'unix:{self.path}')
            self.assertEqual(result.returncode, 1)
            self.assertIn('Address already in use', result.stderr)


class FirstMoment(unittest.TestCase):
    def test_a_configuration_that_never_comes_is_an_error_and_sigterm_works(self):
        with tempfile.TemporaryDirectory() as folder:
            fifo = f'{folder}/corelane.toml'
            os.mkfifo(fifo)
            result = run('serve', '--config', fifo)
            self.assertEqual(result.returncode, 2)
            self.assertIn('a pipe has 5 s', result.stderr)
            process = subprocess.Popen([PROGRAM, 'serve', '--config', fifo], stderr=subprocess.DEVNULL)
            with open(fifo, 'wb'):   # it reads now
                process.terminate()
                self.assertIn(process.wait(PATIENCE_S), (128 + signal.SIGTERM, -signal.SIGTERM))

    def test_a_configuration_may_come_through_a_pipe(self):
        result = subprocess.run(['bash', '-c', '"$0" serve --print-config --config <(sleep 0.1; echo "[server]"; '
                                 'echo "cores = 3")', PROGRAM], capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertIn('cores = 3', result.stdout)


if __name__ == '__main__':
    tap.main()
