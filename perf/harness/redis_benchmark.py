#!/usr/bin/env python3
"""Runs redis-benchmark against a server and prints what corelane-load prints: a line of JSON with the same field names.

redis-benchmark sends each connection's commands in batches of --depth and waits for all answers of a batch. It takes a
number of commands, not a time: the warm-up tells how many fit into --seconds. The server's CPU is its process' clock,
before and after.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time

WARMUP_COMMANDS = 2000   # at least, and a whole number of batches on all connections


def cpu_ns(pid):
    """CPU time of all threads of a process: clock_getcpuclockid(3), in the kernel's encoding."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--url', required=True, help='tcp://ADDR:PORT')
    parser.add_argument('--server-pid', type=int, required=True)
    parser.add_argument('--cpu', default='1')
    parser.add_argument('--seconds', type=float, default=1)
    parser.add_argument('--warmup', type=float, default=0.3)
    parser.add_argument('--connections', type=int, default=50)
    parser.add_argument('--depth', type=int, default=1)
    parser.add_argument('--size', type=int, default=64, help='bytes of the value')
    parser.add_argument('--command', choices=('get', 'set'), default='get')
    parser.add_argument('--json', action='store_true', help='accepted: it prints nothing else')
    return parser.parse_args()


def benchmark(options, command, commands):
    """The row that redis-benchmark prints of its one test, by the names of its columns."""
    host, port = options.url.removeprefix('tcp://').rsplit(':', 1)
    done = subprocess.run(
        ['setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', options.cpu, 'redis-benchmark', '-h', host, '-p', port,
         '-c', str(options.connections), '-P', str(options.depth), '-d', str(options.size), '-t', command,
         '-n', str(commands), '--csv'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    rows = list(csv.DictReader(line for line in done.stdout.splitlines() if line.startswith('"')))
    if done.returncode != 0 or len(rows) != 1:
        sys.exit(f'redis-benchmark ended with {done.returncode}: {done.stdout}{done.stderr}')
    return rows[0]


def whole_batches(options, commands):
    step = options.connections * options.depth
    return max(1, round(commands / step)) * step


def main():
    options = parse()
    # One value under redis-benchmark's one key, so that GET has an answer.
    benchmark(options, 'set', options.depth * options.connections)
    began = time.monotonic()
    commands = whole_batches(options, WARMUP_COMMANDS)
    while True:
        rate = float(benchmark(options, options.command, commands)['rps'])
        left = options.warmup - (time.monotonic() - began)
        if left <= 0:
            break
        commands = whole_batches(options, max(WARMUP_COMMANDS, rate * left))
    commands = whole_batches(options, rate * options.seconds)
    used_before, cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_ns(options.server_pid)
    began = time.monotonic()
    row = benchmark(options, options.command, commands)
    seconds = time.monotonic() - began
    cpu, used = cpu_ns(options.server_pid) - cpu_before, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = used.ru_utime + used.ru_stime - used_before.ru_utime - used_before.ru_stime
    print(json.dumps({
        'load': 'redis-benchmark', 'command': options.command, 'connections': options.connections,
        'depth': options.depth, 'payload_bytes': options.size, 'seconds': round(seconds, 6), 'messages': commands,
        'messages_total': commands, 'messages_per_second': float(row['rps']),
        'latency_ns': {key.removesuffix('_latency_ms'): round(float(row[key]) * 1e6)
                       for key in ('p50_latency_ms', 'p99_latency_ms', 'max_latency_ms')},
        'client': {'cpu_share': round(busy / seconds, 4)},
        'server': {'cpu_ns_total': cpu, 'cpu_ns_per_message': round(cpu / commands, 2),
                   'server_cpu_share': round(cpu / 1e9 / seconds, 4)}}))
    return 0


if __name__ == '__main__':
    os.environ['LC_ALL'] = 'C'
    sys.exit(main())
