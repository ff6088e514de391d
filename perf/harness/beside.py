"""What is held on a server while a load runs: idle connections, and channels that somebody is subscribed to."""

import contextlib
import os
import select
import subprocess
import time

from harness.servers import NotRun, read_until

CHANNELS_OF_ONE = 1000   # a session's limit, as the server comes
PATIENCE_S = 300
END_SECONDS = 60
DYING_WITH_US = ['setpriv', '--pdeathsig', 'KILL']


@contextlib.contextmanager
def held(wanted, runner, server):
    """Holds `wanted` = {connections, source-addresses, channels} while the block runs."""
    with contextlib.ExitStack() as all_of_it:
        if wanted.get('connections'):
            all_of_it.enter_context(connections(wanted, runner, server))
        if wanted.get('channels'):
            all_of_it.enter_context(channels(wanted['channels'], runner, server))
        yield


@contextlib.contextmanager
def connections(wanted, runner, server):
    options = ['--connections', str(wanted['connections']), '--hold', '3600']
    if 'source-addresses' in wanted:
        options += ['--source-addresses', str(wanted['source-addresses'])]
    process = subprocess.Popen([*DYING_WITH_US, runner.load, 'idle', *server.reach('idle'), *options, '--cpu',
                                runner.settings.client_cpu, '--server-pid', str(server.pid)],
                               stdout=subprocess.DEVNULL)
    try:
        wait_for_connections(process, wanted['connections'])
        yield
    finally:
        end([process])


def sockets(pid):
    """Of a process and of those that it has started."""
    count = 0
    with contextlib.suppress(OSError):   # it may have ended
        for descriptor in os.scandir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):
                count += os.readlink(descriptor.path).startswith('socket:')
        with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as children:
            count += sum(map(sockets, children.read().split()))
    return count


def wait_for_connections(process, wanted):
    """Until the load has opened them, one behind the other. The load is looked at, since the server's are direct
    descriptors, which /proc does not show; /proc/net/tcp would tell too, but reading it holds up the network."""
    deadline = time.monotonic() + PATIENCE_S
    while (opened := sockets(process.pid)) < wanted:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            raise NotRun(f'the idle connections beside ended with status {process.returncode}')
        if time.monotonic() > deadline:
            raise NotRun(f'{opened} of {wanted} idle connections were open beside after {PATIENCE_S} s')


@contextlib.contextmanager
def channels(count, runner, server):
    """Each session is a process of our own command line, which says so once it is subscribed."""
    processes = []
    try:
        for first in range(0, count, CHANNELS_OF_ONE):
            names = [f'beside-{number}' for number in range(first, min(first + CHANNELS_OF_ONE, count))]
            processes.append(subprocess.Popen(
                [*DYING_WITH_US, 'taskset', '-c', runner.settings.client_cpu, str(runner.build / 'tools' / 'corelane'),
                 'sub', '--url', f'ws://127.0.0.1:{server.port}/', '--timeout', '60s', *names],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        for process in processes:
            wait_until_subscribed(process)
        yield
    finally:
        end(processes)


def wait_until_subscribed(process):
    said, timely = read_until(process.stderr, lambda text: text.endswith('\n'), PATIENCE_S)
    if not timely:
        raise NotRun('a subscriber of the channels beside did not answer')
    if not said.startswith('subscribed'):
        raise NotRun(f'a subscriber of the channels beside: {said[-200:]}')


def children_of(pid):
    """The processes that a process has started, as descriptors that become readable when they end."""
    descriptors = []
    with contextlib.suppress(OSError), open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as children:
        for child in children.read().split():
            with contextlib.suppress(ProcessLookupError):
                descriptors.append(os.pidfd_open(int(child)))
    return descriptors


def end(processes):
    """With those that they have started: the load's connections are held by processes of its own, which let go when it
    is gone, and the next round is not to meet them."""
    started = [child for process in processes for child in children_of(process.pid)]
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    deadline = time.monotonic() + END_SECONDS
    for child in started:
        select.select([child], [], [], max(deadline - time.monotonic(), 0))
        os.close(child)
