#!/usr/bin/env python3
"""Counts the instructions that an operation of each case of corelane-micro costs, under callgrind, and compares them
with what was recorded.

Use: instructions.py compare PROGRAM --build TEXT   prints TAP: a case that costs 3 % more than recorded is not ok
     instructions.py record PROGRAM --build TEXT    writes instructions.tsv; perf/micro/record builds and calls it

A case runs N operations and then 2 N, and the difference counts, so that nothing around them does. Such counts repeat:
seeds are fixed, callgrind's processor is the same on every host (AVX2, no AVX-512), and no kernel takes part. They hold
for one compiler, its options, and one C library; where any of them differs from the recorded ones there is nothing to
compare, and the comparison is skipped.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TABLE = pathlib.Path(__file__).with_name('instructions.tsv')
TOLERANCE = 0.03
# Counts of a few instructions: less than one in ten operations is no change.
TOLERANCE_INSTRUCTIONS = 0.1
COUNT_SECONDS_MAX = 300
# Callgrind counts every byte of a `rep movsb` as an instruction, so memcpy must take its vector loop, as it does for
# most sizes on a real processor.
TUNABLES = 'glibc.cpu.hwcaps=-ERMS'
NEEDED_BUILD = 'release'   # how --build begins for a program that is worth counting


def environment(build):
    """What the counts hold for."""
    valgrind = subprocess.run(['valgrind', '--version'], stdout=subprocess.PIPE, text=True, check=True)
    return ', '.join([build, os.confstr('CS_GNU_LIBC_VERSION'), valgrind.stdout.strip(), processor_vendor()])


def processor_vendor():
    """libc chooses its functions by it, and so do we."""
    for line in pathlib.Path('/proc/cpuinfo').read_text(encoding='ascii', errors='replace').splitlines():
        if line.startswith('vendor_id'):
            return line.partition(':')[2].strip()
    return 'unknown processor'


def read_dump(path):
    """(case, operations, instructions) of one of callgrind's files, or None for one that is not a case's."""
    with open(path, encoding='utf-8') as file:
        head = file.read(4096)
    trigger = re.search(r'^desc: Trigger: Client Request: (\S+) (\d+)$', head, re.MULTILINE)
    summary = re.search(r'^(?:summary|totals): (\d+)', head, re.MULTILINE)
    if not trigger or not summary:
        return None
    return trigger.group(1), int(trigger.group(2)), int(summary.group(1))


def count(program):
    """Instructions an operation by case."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            ['valgrind', '--tool=callgrind', '--instr-atstart=no', f'--callgrind-out-file={folder}/out', program,
             '--count'], env=variables | {'GLIBC_TUNABLES': TUNABLES}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=COUNT_SECONDS_MAX)
        if run.returncode != 0:
            raise RuntimeError(f'{program} --count ended with {run.returncode}:\n{run.stdout}')
        dumps = {}
        for path in pathlib.Path(folder).iterdir():
            dump = read_dump(path)
            if dump:
                dumps.setdefault(dump[0], []).append(dump[1:])
    counts = {}
    for case, runs in dumps.items():
        (few, few_instructions), (many, many_instructions) = sorted(runs)
        counts[case] = (many_instructions - few_instructions) / (many - few)
    if not counts:
        raise RuntimeError(f'{program} --count left no dumps:\n{run.stdout}')
    return counts


def read_table():
    """(environment, instructions by case) as recorded."""
    text = TABLE.read_text(encoding='utf-8')
    head, *lines = text.splitlines()
    fields = [line.split('\t') for line in lines if line and not line.startswith('#')]
    return head.removeprefix('# '), {case: float(instructions) for case, instructions in fields}


def write_table(where, counts):
    lines = [f'# {where}', '# case, instructions an operation; perf/micro/record writes this file']
    lines += [f'{case}\t{instructions:.2f}' for case, instructions in sorted(counts.items())]
    TABLE.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def judge(recorded, counted):
    """Yields (ok, case, remark) for each case of either side."""
    for case in sorted(recorded.keys() | counted.keys()):
        if case not in recorded:
            yield False, case, 'is not recorded yet: run perf/micro/record'
        elif case not in counted:
            yield False, case, 'is recorded and was not counted: run perf/micro/record if it is gone'
        else:
            before, now = recorded[case], counted[case]
            change = now - before
            remark = f'{now:.2f} instructions, recorded {before:.2f}'
            if before > 0:
                remark += f' ({100 * change / before:+.1f} %)'
            allowed = max(TOLERANCE * before, TOLERANCE_INSTRUCTIONS)
            if change > allowed:
                yield False, case, remark + ': find out why; if it is worth it, run perf/micro/record'
            elif change < -allowed:
                yield True, case, remark + ': better; run perf/micro/record to keep it'
            else:
                yield True, case, remark


def why_skip(build):
    if not build.startswith(NEEDED_BUILD):
        return f'counts hold for the preset release, this is {build}'
    if shutil.which('valgrind') is None:
        return 'valgrind is not installed'
    recorded, here = read_table()[0], environment(build)
    return f'recorded with {recorded}; this is {here}' if recorded != here else None


def compare(program, build):
    print('TAP version 13')
    reason = why_skip(build)
    if reason:
        print(f'ok 1 - instructions # SKIP {reason}\n1..1')
        return 0
    failed = number = 0
    for ok, case, remark in judge(read_table()[1], count(program)):
        number += 1
        failed += not ok
        print(f'{"ok" if ok else "not ok"} {number} - {case}')
        if not ok or 'better' in remark:
            print(f'# {case}: {remark}')
    print(f'1..{number}')
    return 1 if failed else 0


def record(program, build):
    if not build.startswith(NEEDED_BUILD):
        print(f'instructions.py: record the preset release, not {build}', file=sys.stderr)
        return 2
    old = read_table()[1] if TABLE.exists() else {}
    new = count(program)
    for _, case, remark in judge(old, new):
        if case not in old:
            print(f'{case}: new, {new[case]:.2f} instructions')
        elif case not in new:
            print(f'{case}: gone')
        elif abs(new[case] - old[case]) >= 0.01:
            print(f'{case}: {remark.partition(":")[0]}')
    write_table(environment(build), new)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('mode', choices=('compare', 'record'))
    parser.add_argument('program')
    parser.add_argument('--build', required=True, help='preset, compiler and options of the program')
    arguments = parser.parse_args()
    run = compare if arguments.mode == 'compare' else record
    sys.exit(run(arguments.program, arguments.build))


if __name__ == '__main__':
    main()
