"""The servers of perf/peers/servers.toml: which are installed; starting one pinned, ending it by its pid."""

import contextlib
import json
import os
import pathlib
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SERVERS = ROOT / 'perf' / 'peers' / 'servers.toml'
PACKAGES = ROOT / 'build' / 'peers'
START_SECONDS = 20
DESCRIPTORS = 220_000   # both ends of 100,000 connections, and more
STOP_SECONDS = 20
LISTENING = re.compile(r'^listening (?:on )?(?:[\d.]+:)?(\d+)[^\d.]', re.MULTILINE)


class NotRun(Exception):
    """Something could not be measured; the text says what."""


class Kind:
    """A server as its table describes it."""

    def __init__(self, name, table, build):
        self.name = name
        self.what = table['what']
        self.build_targets = table.get('build', [])
        self.needs = table.get('needs', [])
        self.command = table['command']
        self.template = table.get('template')
        self.port = table.get('port', 'own')
        self.stop = getattr(signal, 'SIG' + table.get('stop', 'TERM'))
        self.reach = table.get('reach', {})
        self.environment = table.get('environment', {})
        self.build = build

    def fill(self, text, **values):
        return text.format(build=self.build, root=ROOT, packages=PACKAGES, **values)

    def missing(self):
        """What keeps it from running, or nothing."""
        for target in self.build_targets:
            if not (self.build / target).exists():
                return f'{target} is not built'
        for need in map(self.fill, self.needs):
            if not pathlib.Path(need).exists() and not shutil.which(need):
                return f'{pathlib.Path(need).name} is not installed (perf/peers/setup)'
        return None


def read_kinds(build):
    tables = tomllib.loads(SERVERS.read_text(encoding='utf-8'))
    return {name: Kind(name, table, build) for name, table in tables.items()}


def build_programs(build, kinds, programs):
    """Builds the load, the programs and what the servers need, as far as this host has the libraries."""
    preset = build.name
    tool = str(ROOT / 'tools' / 'build')
    subprocess.run([tool, preset, 'build.ninja'], stdout=subprocess.DEVNULL, check=True)
    targets = json.loads((build / 'meson-info' / 'intro-targets.json').read_text(encoding='utf-8'))
    known = {os.path.relpath(path, build) for target in targets for path in target['filename']}
    wanted = {'perf/load/corelane-load', *programs}.union(*(kind.build_targets for kind in kinds))
    subprocess.run([tool, preset, *sorted(wanted & known)], stdout=subprocess.DEVNULL, check=True)


class Server:
    """A running server; a `with` block ends it, whatever happens in there."""

    def __init__(self, kind, cpus, under=()):
        """under: a command line that runs the server, as valgrind's does."""
        self.kind = kind
        self.cpus = cpus
        self.under = under

    def __enter__(self):
        kind = self.kind
        port = free_port() if kind.port == 'given' else 0
        self.folder = tempfile.TemporaryDirectory(prefix='corelane-perf-')
        self.errors = open(os.path.join(self.folder.name, 'stderr'), 'w+', encoding='utf-8', errors='replace')
        if kind.template:
            text = (ROOT / kind.template).read_text(encoding='utf-8').replace('@PORT@', str(port))
            (pathlib.Path(self.folder.name) / pathlib.Path(kind.template).name).write_text(text, encoding='utf-8')
        self.command = [kind.fill(part, port=port, folder=self.folder.name) for part in kind.command]
        # It dies with this process even if that is killed, and Ctrl-C reaches this process alone.
        pinned = ['setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', self.cpus, *self.under, *self.command]
        self.process = subprocess.Popen(pinned, stdout=subprocess.PIPE if kind.port == 'own' else subprocess.DEVNULL,
                                        stdin=subprocess.DEVNULL, stderr=self.errors, start_new_session=True,
                                        cwd=self.folder.name, env={**os.environ, **kind.environment})
        self.pid = self.process.pid
        try:
            self.port = self.wait_for_accept(port) if kind.port == 'given' else self.read_port()
        except BaseException:
            self.end()
            raise
        return self

    def read_port(self):
        """From its first lines; what it says later stays in the pipe, and is little."""
        said, timely = read_until(self.process.stdout, LISTENING.search, START_SECONDS)
        if found := LISTENING.search(said):
            return int(found[1])
        what = 'ended before it listened' if timely else f'does not say within {START_SECONDS} s where it listens'
        raise NotRun(f'{self.kind.name} {what}: {" ".join(self.command)} {self.last_words()}')

    def wait_for_accept(self, port):
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(('127.0.0.1', port), timeout=1).close()
                return port
            except OSError:
                time.sleep(0.02)
        raise NotRun(f'{self.kind.name} does not listen on {port}: {" ".join(self.command)} {self.last_words()}')

    def last_words(self):
        self.errors.seek(0)
        return self.errors.read()[-400:]

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(self.kind.stop)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()
        self.folder.cleanup()

    def __exit__(self, *_):
        self.end()

    def reach(self, load):
        """How that load gets here, as arguments."""
        if load not in self.kind.reach:
            raise NotRun(f'{self.kind.name} does not serve {load}')
        return self.kind.fill(self.kind.reach[load], port=self.port).split()


def read_until(pipe, is_enough, seconds):
    """What comes through a pipe until is_enough(of all that has come), the pipe's end or the deadline; and False if it
    was the deadline. Nobody else has read from the pipe's buffer."""
    deadline = time.monotonic() + seconds
    said = b''
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not is_enough(said.decode(errors='replace')):
            if not selector.select(max(deadline - time.monotonic(), 0)):
                return said.decode(errors='replace'), False
            part = os.read(pipe.fileno(), 65536)
            if not part:
                break
            said += part
    return said.decode(errors='replace'), True


def raise_descriptor_limit():
    """As far as it goes; servers and loads inherit it, and say so themselves if it is too low."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (DESCRIPTORS, hard):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            return


def free_port():
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        return unused.getsockname()[1]
