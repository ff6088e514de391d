#!/usr/bin/env python3
"""Runs clang-tidy-19 with the root .clang-tidy over the program's source files; ends with `N passed, N failed`.

Use: tools/clang_tidy.py [--build FOLDER] [--seconds N] [FILE...]

Files changed by the newest commits come first. A file that was clean is not checked again until it, a header it
includes, its command or .clang-tidy changes. When the seconds are over, the files not reached count as skipped."""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ('runtime', 'net', 'ws', 'protocol', 'services', 'tools', 'perf')


def dependencies(build):
    """{object file: the project's files it was made from}, from ninja's log; an object not built yet is missing."""
    found, current = {}, None
    output = subprocess.run(['ninja', '-C', str(build), '-t', 'deps'], capture_output=True, text=True,
                            check=True).stdout
    for line in output.splitlines():
        if match := re.match(r'(\S+): #deps', line):
            current = found.setdefault(match.group(1), [])
        elif line.startswith('    ') and not line.startswith('    /'):
            current.append(build / line.strip())
    return found


def by_recency(files):
    """The files, those of the newest commits first."""
    log = subprocess.run(['git', '-C', str(ROOT), 'log', '-n', '200', '--name-only', '--format='],
                         capture_output=True, text=True, check=False).stdout.split()
    place = {}
    for number, path in enumerate(log):
        place.setdefault(path, number)
    return sorted(files, key=lambda file: (place.get(file, len(log)), file))


class Job:
    """One source file, its command, and the key under which a clean result is remembered."""

    def __init__(self, path, command, made_from, config):
        self.path = path
        digest = hashlib.sha256(config + command['command'].encode())
        for name in sorted({ROOT / path, *made_from}):
            if name.exists():
                digest.update(str(name).encode() + b'\0' + name.read_bytes())
        self.key = digest.hexdigest() if made_from else None

    def run(self, build, clean, deadline):
        """None if there was no time, else the findings, '' for none."""
        stamp = clean / self.key if self.key else None
        if stamp and stamp.exists():
            return ''
        if time.monotonic() > deadline:
            return None
        result = subprocess.run(['clang-tidy-19', '-p', str(build), '--quiet', str(ROOT / self.path)],
                                cwd=ROOT, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            return result.stdout or result.stderr
        if stamp:
            stamp.touch()
        return ''


def main():
    parser = argparse.ArgumentParser(description='Runs clang-tidy over the source files of the program.')
    parser.add_argument('--build', type=pathlib.Path, default=ROOT / 'build' / 'dev')
    parser.add_argument('--seconds', type=float, default=float('inf'), help='start no file after this time')
    parser.add_argument('files', nargs='*', metavar='FILE')
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    only = {pathlib.Path(file).resolve() for file in arguments.files}

    deadline = time.monotonic() + arguments.seconds
    clean = build / 'clang_tidy_clean'
    clean.mkdir(exist_ok=True)
    config = (ROOT / '.clang-tidy').read_bytes()
    made_from = dependencies(build)
    jobs = {}
    for command in json.loads((build / 'compile_commands.json').read_text(encoding='utf-8')):
        source = pathlib.Path(command['directory'], command['file']).resolve()
        if ROOT not in source.parents or build in source.parents or (only and source not in only):
            continue
        path = source.relative_to(ROOT).as_posix()
        if path.split('/')[0] in FOLDERS and source.suffix == '.cpp':
            jobs.setdefault(path, Job(path, command, made_from.get(command.get('output'), []), config))

    passed = failed = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {path: pool.submit(jobs[path].run, build, clean, deadline) for path in by_recency(jobs)}
        for path, job in started.items():
            findings = job.result()
            if findings is None:
                skipped += 1
                print(f'not reached: {path}')
            elif findings:
                failed += 1
                print(f'--- {path}\n{findings}')
            else:
                passed += 1
    print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
