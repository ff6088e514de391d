#!/usr/bin/env python3
"""corelane-sim-run: runs a test program in the simulation over many seeds, and shrinks its first failure.

The program links corelane-sim and takes its seed from CORELANE_SEED, as corelane::runtime::sim::seeds() and a
Runtime without a world do. It fails with an exit code other than 0, a signal, a report of a sanitizer, or when it
does not end in time. Of the random decisions of the first failing seed (delays, order, faults) the fewest that still
fail alike are printed and written to a file, from which CORELANE_SCHEDULE repeats them.

Exit codes: 0 all seeds passed, 1 a seed failed, 2 a wrong argument or a program that cannot be run, 130 stopped.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

OUTPUT_BYTES_MAX = 4 << 20   # of a run; of more the beginning and the end are kept
OUTPUT_END_BYTES = 64 << 10
PRINTED_SEEDS_MAX = 20
PRINTED_DECISIONS_MAX = 40
LINE_LETTERS_MAX = 300
OURS = ('CORELANE_SEED', 'CORELANE_SEEDS', 'CORELANE_FAULTS', 'CORELANE_RECORD', 'CORELANE_SCHEDULE', 'CORELANE_TRACE')
SANITIZER = re.compile(r'==\d+==\s*(?:ERROR|WARNING): \w+Sanitizer|WARNING: ThreadSanitizer|:\d+:\d+: runtime error: ')
SURE = re.compile(
    SANITIZER.pattern + r'|simulation failed|assertion failed|Assertion .* failed|: Failure$|terminate called')
LIKELY = re.compile(r'\b(?:fail|failed|failure|error|wrong|lost|violated)\b', re.IGNORECASE)
NUMBERS = re.compile(r'0x[0-9a-fA-F]+|(?<![\w:.])\d+(?:\.\d+)?')   # but no line numbers

Outcome = collections.namedtuple('Outcome', 'failed how line seconds')


class OutOfTime(Exception):
    pass


def failure_line(output):
    """The first line that says why, with the one behind it where gtest breaks the line; the last line if none does."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (SURE, LIKELY):
        for number, line in enumerate(lines):
            if pattern.search(line):
                if line.endswith(': Failure'):
                    line = ' '.join([line, *lines[number + 1:number + 4]])
                return line[:LINE_LETTERS_MAX]
    told = [line for line in lines if not line.startswith('simulation: seed ')]
    return told[-1][:LINE_LETTERS_MAX] if told else 'nothing was printed'


def same_failure(one, other):
    return one.failed and other.failed and one.how == other.how and (
        NUMBERS.sub('N', one.line) == NUMBERS.sub('N', other.line))


def read_output(stream):
    """The beginning and the end of what a program prints."""
    begin, end = bytearray(), b''
    while part := stream.read1(1 << 16):
        room = OUTPUT_BYTES_MAX - len(begin)
        begin += part[:room]
        end = (end + part[room:])[-OUTPUT_END_BYTES:]
    return begin + b'\n' + end if end else begin


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:   # a real-time signal
        return f'signal {number}'


class Program:
    """The program under test. Its runs are process groups of their own, so that a hanging one is ended as a whole."""

    def __init__(self, command, faults, timeout):
        self.command = command
        self.faults = faults
        self.timeout = timeout
        self.lock = threading.Lock()
        self.running = set()

    def variables(self, seed, schedule=None):
        of_schedule = {} if schedule is None else {'CORELANE_SCHEDULE': str(schedule)}
        return {'CORELANE_SEED': str(seed), 'CORELANE_FAULTS': self.faults, **of_schedule}

    def repeat_command(self, seed, schedule=None):
        settings = [f'{name}={shlex.quote(value)}' for name, value in self.variables(seed, schedule).items()]
        return ' '.join([*settings, shlex.join(self.command)])

    def run(self, seed, schedule=None, record=None, timeout=None):
        timeout = timeout or self.timeout
        environment = {name: value for name, value in os.environ.items() if name not in OURS}
        environment.update(self.variables(seed, schedule))
        if record is not None:
            environment['CORELANE_RECORD'] = str(record)
        begin = time.monotonic()
        process = subprocess.Popen(self.command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        with self.lock:
            self.running.add(process)
        late = threading.Event()
        timer = threading.Timer(timeout, lambda: (late.set(), self.end(process)))
        timer.start()
        kept = read_output(process.stdout)
        # It may have closed its output and go on. It stays a zombie, so its number names no other process.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self.lock:
            self.running.discard(process)
            code = process.wait()
        timer.cancel()
        process.stdout.close()
        output = kept.decode(errors='replace')
        seconds = time.monotonic() - begin
        if late.is_set():
            return Outcome(True, 'hangs', f'it did not end within {timeout:g} s', seconds)
        if code < 0:
            return Outcome(True, signal_name(-code), failure_line(output), seconds)
        if code != 0:
            return Outcome(True, f'exit code {code}', failure_line(output), seconds)
        if SANITIZER.search(output):
            return Outcome(True, 'report of a sanitizer', failure_line(output), seconds)
        return Outcome(False, '', '', seconds)

    def end(self, process):
        with self.lock:
            if process in self.running:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def end_all(self):
        for process in list(self.running):
            self.end(process)


def run_seeds(program, pool, jobs, seeds, keep_going):
    """The outcomes by seed; without keep_going of the seeds up to the first that fails."""
    outcomes, waiting, failed = {}, {}, False
    seeds = iter(seeds)
    while True:
        while len(waiting) < jobs and (keep_going or not failed):
            seed = next(seeds, None)
            if seed is None:
                break
            waiting[pool.submit(program.run, seed)] = seed
        if not waiting:
            break
        done, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            seed = waiting.pop(future)
            outcomes[seed] = future.result()
            if outcomes[seed].failed:
                failed = True
    if not keep_going and failed:
        first = min(seed for seed, outcome in outcomes.items() if outcome.failed)
        outcomes = {seed: outcome for seed, outcome in outcomes.items() if seed <= first}
    return outcomes


class Shrinker:
    """Finds fewest decisions of a seed with which the program still fails as it did."""

    def __init__(self, program, pool, jobs, seed, failure, folder, deadline, timeout):
        self.program, self.pool, self.jobs = program, pool, jobs
        self.seed, self.failure = seed, failure
        self.folder, self.deadline, self.timeout = folder, deadline, timeout
        self.numbers = iter(range(1 << 62))
        self.runs = 0

    def write(self, decisions):
        path = self.folder / f'{next(self.numbers)}.schedule'
        path.write_text('\n'.join([*decisions, '']), encoding='utf-8')
        return path

    def fails(self, decisions):
        path = self.write(decisions)
        outcome = self.program.run(self.seed, schedule=path, timeout=self.timeout)
        path.unlink()
        return same_failure(self.failure, outcome)

    def first_failing(self, candidates):
        """The first of the lists of decisions that fails; None: none does."""
        for begin in range(0, len(candidates), self.jobs):
            if time.monotonic() > self.deadline:
                raise OutOfTime
            batch = candidates[begin:begin + self.jobs]
            self.runs += len(batch)
            for decisions, fails in zip(batch, list(self.pool.map(self.fails, batch))):
                if fails:
                    return decisions
        return None

    def shrink(self, decisions):
        """Yields ever shorter lists; the last one is the result."""
        if self.first_failing([[]]) is not None:
            yield []
            return
        # All of a kind at once, the most frequent kind first.
        for kind, _ in collections.Counter(map(kind_of, decisions)).most_common():
            rest = [decision for decision in decisions if kind_of(decision) != kind]
            if self.first_failing([rest]) is not None:
                decisions = rest
                yield decisions
        # Then delta debugging (Zeller and Hildebrandt, 2002): ever smaller parts are left out.
        parts = 2
        while len(decisions) > 1:
            parts = min(parts, len(decisions))
            borders = [len(decisions) * part // parts for part in range(parts + 1)]
            found = self.first_failing([decisions[:low] + decisions[high:] for low, high in zip(borders, borders[1:])])
            if found is not None:
                decisions = found
                parts = max(parts - 1, 2)
                yield decisions
            elif parts == len(decisions):
                return
            else:
                parts *= 2


def kind_of(decision):
    """'step_delay' of '1.2 ms  core 0: receive on stream 3 #2: step_delay = 41 ns  (...)'."""
    return decision.split('  (')[0].split(' = ')[0].rpartition(': ')[2]


def is_cut(path):
    return '\n# cut at ' in path.read_text(encoding='utf-8')


def read_decisions(path):
    return [line for line in path.read_text(encoding='utf-8').splitlines() if line and not line.startswith('#')]


def shrink_failure(program, pool, arguments, seed, failure, slowest_pass):
    """Prints the shortest schedule that was found, and how to repeat it."""
    with tempfile.TemporaryDirectory(prefix='corelane-sim-run.') as name:
        folder = pathlib.Path(name)
        record = folder / 'record'
        # A run that hangs takes its whole time: not more of it than passing ones show to be needed.
        timeout = min(program.timeout, max(1, 20 * slowest_pass)) if failure.how == 'hangs' else program.timeout
        again = program.run(seed, record=record, timeout=timeout)
        if not same_failure(failure, again):
            told = f'the second time: {again.how}: {again.line}' if again.failed else 'the second time it passed'
            print(f'seed {seed} does not fail alike twice ({told}): it depends on something outside of the\n'
                  'simulation: a thread, the real clock, an address, memory that was not set')
            return
        if not record.is_file():
            print('it wrote no decisions, so nothing can be shrunk: does it link corelane-sim, and run in it?')
            return
        decisions = everything = read_decisions(record)
        shrinker = Shrinker(program, pool, arguments.jobs, seed, failure, folder,
                            time.monotonic() + arguments.shrink_seconds, timeout)
        least = 'as few as possible'
        try:
            if shrinker.first_failing([decisions]) is None:
                told = ' (not all of its decisions were recorded)' if is_cut(record) else ''
                print(f'with its decisions read from a file it does not fail{told}: nothing was shrunk')
                return
            for decisions in shrinker.shrink(decisions):
                pass
        except OutOfTime:
            least = f'perhaps not the fewest: {arguments.shrink_seconds:g} s were over'
        # Once more, for the times at which they fall now.
        program.run(seed, schedule=shrinker.write(decisions), record=record, timeout=timeout)
        decisions = read_decisions(record)

    path = pathlib.Path(arguments.out) / f'{pathlib.Path(program.command[0]).name}.seed-{seed}.schedule'
    summary = (f'{len(decisions)} of {len(everything)} random decisions make seed {seed} fail '
               f'({least}; {shrinker.runs} runs)')
    repeat = program.repeat_command(seed, path)
    path.write_text('\n'.join([f'# {summary}', f'# {failure.how}: {failure.line}', f'# {repeat}', *decisions, '']),
                    encoding='utf-8')
    print(f'{summary}; every other delay is the shortest, and no other fault happens:')
    for decision in decisions[:PRINTED_DECISIONS_MAX]:
        print(f'  {decision}')
    if len(decisions) > PRINTED_DECISIONS_MAX:
        print(f'  and {len(decisions) - PRINTED_DECISIONS_MAX} more in {path}')
    print(f'repeat: {repeat}')


def positive(kind):
    def parse(text):
        value = kind(text)
        if value <= 0:
            raise ValueError
        return value
    parse.__name__ = 'positive number'
    return parse


def parse_arguments(words):
    parser = argparse.ArgumentParser(
        prog='corelane-sim-run', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=positive(int), default=100, metavar='N', help='how many are run (100)')
    parser.add_argument('--first', type=int, default=1, metavar='S', help='the first seed (1)')
    parser.add_argument('--jobs', type=positive(int), default=os.cpu_count() or 1, metavar='J',
                        help='processes at once (as many as processors)')
    parser.add_argument('--faults', choices=['quiet', 'swarm', 'breaking', 'harsh'], default='swarm',
                        help='for programs that make no world or ask Faults::of_environment (swarm)')
    parser.add_argument('--timeout', type=positive(float), default=60, metavar='SECONDS', help='of a run (60)')
    parser.add_argument('--keep-going', action='store_true', help='runs all seeds, also after a failure')
    parser.add_argument('--shrink-seconds', type=float, default=60, metavar='SECONDS',
                        help='how long the failure is shrunk at most (60); 0: not at all')
    parser.add_argument('--out', default='.', metavar='FOLDER', help='where the schedule is written (.)')
    parser.add_argument('program', metavar='PROGRAM')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='ARGS')
    arguments = parser.parse_args(words)
    if arguments.first < 0:
        parser.error('--first: a seed is not negative')
    if not pathlib.Path(arguments.out).is_dir():
        parser.error(f'--out: there is no folder {arguments.out}')
    return arguments


def test(arguments, program, pool):
    begin = time.monotonic()
    outcomes = run_seeds(program, pool, arguments.jobs, range(arguments.first, arguments.first + arguments.seeds),
                         arguments.keep_going)
    failures = {seed: outcome for seed, outcome in sorted(outcomes.items()) if outcome.failed}
    print(f'{len(outcomes)} of {arguments.seeds} seeds run, {len(outcomes) - len(failures)} passed, '
          f'{len(failures)} failed ({time.monotonic() - begin:.1f} s)')
    for seed, outcome in list(failures.items())[:PRINTED_SEEDS_MAX]:
        print(f'seed {seed}: {outcome.how}: {outcome.line}\n  repeat: {program.repeat_command(seed)}')
    if len(failures) > PRINTED_SEEDS_MAX:
        print('and the seeds', *list(failures)[PRINTED_SEEDS_MAX:])
    sys.stdout.flush()
    if not failures:
        return 0
    if arguments.shrink_seconds > 0:
        seed, failure = next(iter(failures.items()))
        slowest = max((outcome.seconds for outcome in outcomes.values() if not outcome.failed), default=program.timeout)
        shrink_failure(program, pool, arguments, seed, failure, slowest)
    return 1


def stop(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, stop)
    arguments = parse_arguments(sys.argv[1:])
    program = Program([arguments.program, *arguments.arguments], arguments.faults, arguments.timeout)
    pool = concurrent.futures.ThreadPoolExecutor(arguments.jobs)
    try:
        return test(arguments, program, pool)
    except OSError as error:
        print(f'corelane-sim-run: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        program.end_all()
        return 130
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == '__main__':
    sys.exit(main())
