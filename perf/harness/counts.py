"""What repeats: system calls and allocations a message, counted by `perf stat` in the server while a load runs, and
copies of payloads, counted by valgrind.

The first two need root. Allocations are uprobes on mimalloc, as the difference between a long and a short load,
which leaves out those of opening connections.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile

from harness.servers import NotRun, Server

ALLOCATORS = {'malloc': 'malloc', 'calloc': 'calloc', 'realloc': 'realloc', 'new': 'mi_new',
              'new_aligned': 'mi_new_aligned', 'aligned': 'posix_memalign'}
PROBE_GROUP = 'corelane_perf'
SHORT_SECONDS = 0.3


def system_calls(runner, side):
    with Server(runner.kinds[side.server], side.server_cpus) as server:
        count, report = counted(runner, side, server, ['raw_syscalls:sys_enter'], runner.settings.seconds)
    return count / report['messages_total']


def allocations(runner, side):
    kind = runner.kinds[side.server]
    with allocation_probes(kind.fill(kind.command[0], port=0)) as events, Server(kind, side.server_cpus) as server:
        runner_seconds = runner.settings.seconds
        counted(runner, side, server, events, SHORT_SECONDS)   # what grows once has grown
        few, short = counted(runner, side, server, events, SHORT_SECONDS)
        many, long = counted(runner, side, server, events, SHORT_SECONDS + runner_seconds)
    return max(many - few, 0) / (long['messages_total'] - short['messages_total'])


def copies(runner, side):
    """How often a message's payload is copied in user space, that is by memcpy and memmove: the bytes that they have
    moved in the server's life over those that were echoed. What starting up copies is 0.001 of a payload and less."""
    if not shutil.which('valgrind'):
        raise NotRun('valgrind is not installed')
    from harness.rounds import run_json
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, 'copies.json')
        valgrind = ['valgrind', '--quiet', '--tool=dhat', '--mode=copy', f'--dhat-out-file={output}']
        with Server(runner.kinds[side.server], side.server_cpus, under=valgrind) as server:
            report = run_json(runner.command(side, server, warmup=0), runner.settings.seconds + 60)
        with open(output, encoding='utf-8') as file:
            moved = sum(point['tb'] for point in json.load(file)['pps'])
    return moved / (report['messages_total'] * report['payload_bytes'])


def counted(runner, side, server, events, seconds):
    """How often the events came in the server while a load ran, and the load's report."""
    from harness.rounds import run_json
    if not shutil.which('perf'):
        raise NotRun('perf is not installed')
    with tempfile.NamedTemporaryFile('r', encoding='utf-8') as output:
        command = ['perf', 'stat', '-x', ',', '-o', output.name, '-p', str(server.pid)]
        for event in events:
            command += ['-e', event]
        report = run_json([*command, '--', *runner.command(side, server, seconds=seconds, warmup=0)], seconds + 60)
        figures = [line.split(',')[0] for line in output.read().splitlines() if ',' in line]
    if not figures or not all(figure.isdigit() for figure in figures):
        raise NotRun('perf stat cannot count ' + ', '.join(events))
    return sum(map(int, figures)), report


@contextlib.contextmanager
def allocation_probes(program):
    """Uprobes on the allocator that a program loads; gives the names of their events."""
    libraries = subprocess.run(['ldd', program], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r'=> (\S*libmimalloc\S*)', libraries)
    if not found or not shutil.which('perf'):
        raise NotRun('no mimalloc to probe, or no perf')
    events = []
    try:
        for name, symbol in ALLOCATORS.items():
            added = subprocess.run(['perf', 'probe', '-q', '-x', os.path.realpath(found[1]), '--add',
                                    f'{PROBE_GROUP}:{name}={symbol}'], stderr=subprocess.DEVNULL, check=False)
            if added.returncode == 0:
                events.append(f'{PROBE_GROUP}:{name}')
        # A count that leaves some out would pass for the wrong reason.
        if len(events) != len(ALLOCATORS):
            raise NotRun('no uprobes on mimalloc (root?)')
        yield events
    finally:
        if events:
            subprocess.run(['perf', 'probe', '-q', '-d', f'{PROBE_GROUP}:*'], stderr=subprocess.DEVNULL, check=False)
