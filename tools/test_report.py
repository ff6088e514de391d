#!/usr/bin/env python3
"""Reads Meson's testlog.json, prints what failed, and ends with `N passed, N failed` in test cases.

Meson counts executables, and the XML files that its gtest protocol reads survive from an earlier run when an executable
crashes before it writes one. So the cases are counted here from what each executable printed in this run:

- gtest: the `[ RUN ]`, `[ OK ]`, `[ FAILED ]` and `[ SKIPPED ]` lines. A case that began and never ended (a crash, a
  time-out) has failed.
- TAP: the `ok` and `not ok` lines; a plan that does not match them is a failure.
- anything else: one case per executable.

An executable that ends badly although its cases passed (a leak report, a crash on exit) is one failure more. So is a
gtest or TAP executable that ran no case, and a runner that failed while every test passed.
"""

import argparse
import json
import pathlib
import re
import sys

GTEST_LINE = re.compile(
    r'\[( RUN     |       OK|  FAILED |  SKIPPED)\s*\] ([\w/]+\.[\w/]+)'
    r'(?:, where .*)?(?: \(\d+ ms\))?\s*$')
GTEST_RAN = re.compile(r'^\[==========\] (\d+) tests? from \d+ test suites? ran\.', re.MULTILINE)
# tidy: allow leftover: a word of TAP, not ours
TAP_LINE = re.compile(r'^(not )?ok\b(?:\s+(\d+))?\s*-?\s*([^#]*?)\s*(#\s*(?:SKIP|TODO)\b.*)?$', re.IGNORECASE)
TAP_PLAN = re.compile(r'^1\.\.(\d+)', re.MULTILINE)
GOOD_RESULTS = {'OK', 'EXPECTEDFAIL', 'SKIP'}
STDERR_LINES_MAX = 150
STDOUT_LINES_MAX = 300


class Outcome:
    """What one executable's run amounts to."""

    def __init__(self):
        self.passed = 0
        self.skipped = 0
        self.failures = []   # (case, why, the lines that the case printed)
        self.skips = []      # names of skipped cases

    def fail(self, case, why, lines=()):
        self.failures.append((case, why, list(lines)))


def count_gtest(record, outcome):
    """Counts gtest's cases, and keeps the lines each failed case printed."""
    stdout = record.get('stdout') or ''
    running, lines, finished = None, [], 0
    for line in stdout.splitlines():
        match = GTEST_LINE.search(line)
        kind = match.group(1).strip() if match else ''
        if kind == 'RUN':
            if running:
                outcome.fail(running, 'never ended', lines)
            running, lines = match.group(2), []
            continue
        lines.append(line)
        if not match or match.group(2) != running:
            continue
        finished += 1
        if kind == 'OK':
            outcome.passed += 1
        elif kind == 'SKIPPED':
            outcome.skipped += 1
            outcome.skips.append(running)
        else:
            outcome.fail(running, 'failed', lines)
        running, lines = None, []
    if running:
        outcome.fail(running, 'never ended: ' + ending(record), lines)
    ran = GTEST_RAN.findall(stdout)
    if ran and int(ran[-1]) != finished and not outcome.failures:
        outcome.fail(record['name'], f'gtest speaks of {ran[-1]} cases, its output shows {finished}')
    if finished == 0 and not outcome.failures and record['result'] == 'OK':
        outcome.fail(record['name'], 'ran no test case')


def count_tap(record, outcome):
    """Counts TAP's test lines; the lines of a test are those after the test before it."""
    stdout = record.get('stdout') or ''
    count, after = 0, []
    for line in stdout.splitlines():
        match = TAP_LINE.match(line)
        if not match:
            after.append(line)
            if line.startswith('#') and outcome.failures and outcome.failures[-1][1] == 'not ok':
                outcome.failures[-1][2].append(line)
            continue
        count += 1
        failed, number, name, directive = match.groups()
        case = name or f'test {number or count}'
        if directive and directive.lstrip('# ').upper().startswith('SKIP'):
            outcome.skipped += 1
            outcome.skips.append(case + ' ' + directive)
        elif failed and not directive:
            outcome.fail(case, 'not ok')
        else:
            outcome.passed += 1
        after = []
    plan = TAP_PLAN.findall(stdout)
    if not plan or int(plan[-1]) != count:
        planned = plan[-1] if plan else 'no'
        outcome.fail(record['name'], f'{planned} tests planned, {count} reported: {ending(record)}',
                     after)
    elif count == 0 and record['result'] == 'OK':
        outcome.fail(record['name'], 'ran no test case')


def ending(record):
    """How the executable ended, in words."""
    code = record.get('returncode')
    if record['result'] in ('TIMEOUT', 'INTERRUPT'):
        return record['result'].lower()
    if isinstance(code, int) and code < 0:
        return f'killed by signal {-code}'
    return f'exit status {code}'


def protocol_of(record, protocols):
    """gtest, tap or exitcode: what Meson's list of tests says, else what the output looks like."""
    stdout = record.get('stdout') or ''
    known = protocols.get(record['name'].rpartition(' / ')[2])
    if known:
        return known
    if re.search(r'^\[==========\] Running \d+ tests? from', stdout, re.MULTILINE):
        return 'gtest'
    return 'tap' if re.match(r'\s*TAP version \d+\b', stdout) else 'exitcode'


def count(record, protocol):
    """The outcome of one line of testlog.json."""
    outcome = Outcome()
    good = record['result'] in GOOD_RESULTS
    if record['result'] == 'SKIP' and protocol != 'tap':
        outcome.skipped += 1
        outcome.skips.append(record['name'])
        return outcome
    if protocol == 'gtest':
        count_gtest(record, outcome)
    elif protocol == 'tap':
        count_tap(record, outcome)
    elif good:
        outcome.passed += 1
    if not good and not outcome.failures:
        outcome.fail(record['name'], ending(record), (record.get('stdout') or '').splitlines())
    return outcome


def print_failures(record, outcome):
    print(f'\n=== {record["name"]}: {ending(record)}, {record["duration"]:.1f} s')
    print('    ' + ' '.join(record.get('command') or []))
    for case, why, lines in outcome.failures:
        print(f'--- {case}: {why}')
        for line in lines[-STDOUT_LINES_MAX:]:
            print('    ' + line)
    stderr = (record.get('stderr') or '').splitlines()
    if stderr:
        print('--- standard error' + (' (its end)' if len(stderr) > STDERR_LINES_MAX else ''))
        for line in stderr[-STDERR_LINES_MAX:]:
            print('    ' + line)


def main():
    parser = argparse.ArgumentParser(description='Counts the test cases of a Meson test run.')
    parser.add_argument('log', type=pathlib.Path, help='meson-logs/testlog.json')
    parser.add_argument('--runner-status', type=int, default=0, help='exit status of meson test')
    arguments = parser.parse_args()

    records = []
    if arguments.log.exists():
        with arguments.log.open(encoding='utf-8', errors='replace') as log:
            records = [json.loads(line) for line in log if line.strip()]

    listing = arguments.log.parent.parent / 'meson-info' / 'intro-tests.json'
    tests = json.loads(listing.read_text(encoding='utf-8')) if listing.exists() else []
    protocols = {test['name']: test['protocol'] for test in tests}

    passed = failed = skipped = 0
    for record in records:
        outcome = count(record, protocol_of(record, protocols))
        passed += outcome.passed
        failed += len(outcome.failures)
        skipped += outcome.skipped
        for case in outcome.skips:
            print(f'skipped: {case}')
        if outcome.failures:
            print_failures(record, outcome)
    if arguments.runner_status != 0 and failed == 0:
        print(f'the test runner ended with status {arguments.runner_status}, although no test that '
              'it logged failed: did the build fail?')
        failed = 1

    print()
    print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
