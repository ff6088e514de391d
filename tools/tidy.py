#!/usr/bin/env python3
"""Checks the rules of this repository that a compiler does not check. Each rule is one test case; the output is TAP.

Use: tools/tidy.py [--root FOLDER] [RULE...]      (tools/tidy.py --list names the rules)

A rule is a function that takes a Tree and yields findings (path, line, message); a message says what to write instead.
A line that has to break a rule says so and why, on the line or alone on the line above:

    // tidy: allow banned_call: the kernel fills this string, and its length is known

tests/tidy/tidy_test.py plants a violation of each rule and looks for its finding.
"""

import argparse
import pathlib
import re
import sys

CPP_SUFFIXES = {'.cpp', '.hpp', '.c', '.h'}
SCRIPT_SUFFIXES = {'.py', '.sh', '.js', '.cjs', '.mjs', '.ts'}
TEXT_SUFFIXES = CPP_SUFFIXES | SCRIPT_SUFFIXES | {
    '.md', '.build', '.txt', '.ini', '.toml', '.fbs', '.json', '.yml', '.yaml', '.html', '.css', ''}
SKIPPED_FOLDERS = {'build', 'node_modules', '__pycache__', '.git', 'corpus'}
SKIPPED_FILES = {'LICENSE', '.git'}   # the latter in a linked worktree: it names the repository's place

SERVER_FOLDERS = ('runtime', 'net', 'ws', 'protocol', 'services')
# What each folder may include of the project. tests, perf and tools may include anything, and nothing includes them.
MAY_INCLUDE = {
    'runtime': ('runtime',),
    'net': ('net', 'runtime'),
    'ws': ('ws', 'net', 'runtime'),
    'protocol': ('protocol',),
    'services': ('services', 'protocol', 'ws', 'net', 'runtime'),
}
HTTP_ON_STREAMS = ('net/http/server', 'net/http/client')   # the parts of net/http/ that read and write connections
TOP_FOLDERS = SERVER_FOLDERS + ('tests', 'perf', 'tools')

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 80        # style: about 70, a screen
TEST_FUNCTION_LINES_MAX = 120  # a test may tell its story in one piece
COLUMNS_MAX = 100
SCRIPT_COLUMNS_MAX = 120
RATCHET = 'tools/tidy_ratchet.txt'

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ALLOW = re.compile(r'(?://|#)\s*tidy: allow (\w+): (\S.*)$')


def without_comments_and_strings(text):
    """The text of a C++ file with comments and literals blanked; lines and columns stay."""
    out = []
    position, end = 0, len(text)

    def blank(start, stop):
        out.append(re.sub(r'[^\n]', ' ', text[start:stop]))

    while position < end:
        letter = text[position]
        if text.startswith('//', position):
            stop = text.find('\n', position)
            stop = end if stop < 0 else stop
        elif text.startswith('/*', position):
            stop = text.find('*/', position + 2)
            stop = end if stop < 0 else stop + 2
        elif letter == 'R' and re.match(r'R"[^ ()\\\t\n]{0,16}\(', text[position:position + 20]) and (
                position == 0 or not re.match(r'[A-Za-z0-9_]', text[position - 1])):
            opening = text.index('(', position)
            closing = ')' + text[position + 2:opening] + '"'
            stop = text.find(closing, opening)
            stop = end if stop < 0 else stop + len(closing)
        elif letter in '"\'' and not (letter == "'" and is_digit_separator(text, position)):
            stop = position + 1
            while stop < end and text[stop] not in (letter, '\n'):
                stop += 2 if text[stop] == '\\' else 1
            stop = min(stop + 1, end)
        else:
            out.append(letter)
            position += 1
            continue
        blank(position, stop)
        position = stop
    return ''.join(out)


def is_digit_separator(text, position):
    """Whether the ' at this position is the one in 1'000: a number runs up to it."""
    start = position
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] in "_'"):
        start -= 1
    return start < position and text[start].isdigit()


class File:
    """One file of the tree, split up once for all rules."""

    def __init__(self, root, path):
        self.path = path
        self.suffix = pathlib.PurePosixPath(path).suffix
        self.text = (root / path).read_bytes().decode('utf-8', errors='replace')
        self.lines = self.text.splitlines()
        self.top = path.split('/')[0] if '/' in path else ''
        self._code = None

    @property
    def is_cpp(self):
        return self.suffix in CPP_SUFFIXES

    @property
    def code(self):
        """The lines without comments and literals."""
        if self._code is None:
            self._code = without_comments_and_strings(self.text).split('\n')
        return self._code

    def allows(self, rule, line):
        """Whether line (from 1) carries an exemption from the rule, or the line above is one."""
        for index in (line - 1, line - 2):
            if not 0 <= index < len(self.lines):
                continue
            match = ALLOW.search(self.lines[index])
            alone = self.lines[index].lstrip().startswith(('//', '#'))
            if match and match.group(1) == rule and (index == line - 1 or alone):
                return True
        return False


class Tree:
    """The project's text files under a root folder."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = [File(self.root, path) for path in sorted(self.walk(self.root))]
        self.paths = {file.path for file in self.files}

    def walk(self, folder):
        for entry in folder.iterdir():
            if entry.is_symlink():
                continue
            if entry.is_dir():
                if entry.name not in SKIPPED_FOLDERS and not entry.name.startswith('build-'):
                    yield from self.walk(entry)
            elif entry.suffix in TEXT_SUFFIXES and entry.name not in SKIPPED_FILES:
                yield entry.relative_to(self.root).as_posix()

    def cpp(self, *folders):
        for file in self.files:
            if file.is_cpp and (not folders or file.top in folders):
                yield file


def project_includes(tree, file):
    """Yields (line, quoted, path) for the includes that name a file of the project."""
    for number, line in enumerate(file.lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, path = match.group(1) == '"', match.group(2)
        if quoted or path.split('/')[0] in TOP_FOLDERS:
            yield number, quoted, path


def include_direction(tree):
    """Dependencies point one way: runtime <- net <- ws <- services, protocol <- services."""
    for file in tree.cpp():
        for number, _, path in project_includes(tree, file):
            target = path.split('/')[0]
            if target not in TOP_FOLDERS or '/' not in path or file.allows('include_direction', number):
                continue
            if file.top in MAY_INCLUDE:
                if target not in MAY_INCLUDE[file.top]:
                    yield file.path, number, (
                        f'{file.top}/ must not include {target}/; it may include '
                        + ', '.join(MAY_INCLUDE[file.top]) + ' and libraries')
                elif file.path.startswith('net/http/') and not file.path.startswith(HTTP_ON_STREAMS) \
                        and target == 'net' and not path.startswith('net/http/'):
                    yield file.path, number, (
                        'net/http/ is pure code but for its server and client: it may include runtime/ and '
                        'itself, not the connections of net/')
            elif target in ('tests', 'perf', 'tools') and target != file.top and file.top != 'tests':
                yield file.path, number, f'nothing includes {target}/ but tests/ and itself'


def service_surface(tree):
    """A service sees another one only through its public header, its options or its messages."""
    for file in tree.cpp('services'):
        parts = file.path.split('/')
        if len(parts) < 3:
            continue   # services/x.hpp wires the services together
        own = parts[1]
        for number, _, path in project_includes(tree, file):
            target = path.split('/')
            if len(target) < 3 or target[0] != 'services' or target[1] == own:
                continue
            other = target[1]
            if other == 'config':
                continue   # a library for the rows that each service has, not a service
            surface = {f'{other}.hpp', 'messages.hpp', f'{other}_messages.hpp', 'options.hpp'}
            if other == 'metrics':
                surface |= {'rows.hpp', 'traffic.hpp'}   # what each service counts with
            if not (len(target) == 3 and target[2] in surface) \
                    and not file.allows('service_surface', number):
                yield file.path, number, (
                    f'include services/{other}/{other}.hpp or services/{other}/messages.hpp: what '
                    'else that service has is its own')


def rooted_includes(tree):
    """Includes of project files are quoted and start at the root of the tree."""
    for file in tree.cpp():
        if file.path.startswith('tools/examples/'):
            continue   # an example includes what a user would
        for number, quoted, path in project_includes(tree, file):
            if file.allows('rooted_includes', number):
                continue
            generated = pathlib.PurePosixPath(path).stem.endswith('_generated')
            if not quoted and path in tree.paths:
                yield file.path, number, f'write #include "{path}": it is a file of the project'
            elif quoted and path not in tree.paths and not generated:
                yield file.path, number, (
                    f'"{path}" is no file from the root of the tree; write its whole path, or <...> '
                    'for a library')


EVERYWHERE = TOP_FOLDERS
# A thread that is no core: it looks at the cores from outside and may wait and lock.
STALL_MONITOR = 'runtime/stall_monitor.'
# Threads for calls that block: they wait for jobs, and a lock is nothing beside such a call.
BLOCKING_THREADS = 'runtime/uring/blocking_threads.'
# Runs whole servers in one thread: nothing in it crosses a core.
SIMULATION = 'runtime/sim/'
# The pointer to the kernel that fits the processor, set once and read by every core.
CHOSEN_KERNELS = ('ws/mask.cpp', 'ws/utf8.cpp')

# The stall monitor and the real ring are tested against real time.
REAL_TIME_TESTS = 'tests/unit/runtime/'
# The step of the tutorial about threads and calls that block has one of each.
TUTORIAL_THREADS = 'tools/examples/tutorial/09_threads.'


def everywhere_but(*prefixes):
    return EVERYWHERE, prefixes


# (pattern, what to write instead, folders where it is banned, path prefixes that are exempt)
BANNED = [
    (r'\bs?rand\s*\(|\brand_r\s*\(|(?<![\w:])::random\s*\(|\bstd::(random_device|default_random_engine)\b',
     "runtime's seeded random numbers; in tests tests::test_seed() of tests/support/seed.hpp",
     *everywhere_but('runtime/')),
    (r'(?<![\w.>:])(?:std::|::)?time\s*\(\s*(?:NULL|nullptr|0|&\w+)\s*\)|\bgettimeofday\s*\('
     r'|\bclock_gettime\s*\(|\bstd::chrono::\w*_clock::now\b|\b(?:system|steady|high_resolution)_clock::now\b'
     r'|\bstd::clock\s*\(',
     "the runtime's clock: a simulated run has no other time", *everywhere_but('runtime/', REAL_TIME_TESTS)),
    (r'\bstd::j?thread\b(?!::)|\bpthread_create\s*\(|\bstd::async\b',
     'a core of the runtime, or a thread behind lanes', *everywhere_but('runtime/', 'tests/', TUTORIAL_THREADS)),
    (r'\bstd::(?:\w+_)?mutex\b|\bstd::(?:lock_guard|unique_lock|shared_lock|scoped_lock)\b'
     r'|\bstd::condition_variable\w*\b|\bpthread_mutex_\w+', 'a message over a lane: cores share nothing',
     SERVER_FOLDERS, (STALL_MONITOR, BLOCKING_THREADS)),
    (r'\bstd::(?:shared_ptr|weak_ptr|make_shared|enable_shared_from_this)\b',
     'one owner: unique_ptr, a handle, or an id (core, slot, generation)', SERVER_FOLDERS,
     (SIMULATION,)),
    (r'\bstd::atomic(?!_thread_fence)\w*\b',
     'plain per-core state; atomics live in runtime/ and services/metrics/ alone',
     ('net', 'ws', 'protocol', 'services'), ('services/metrics/', *CHOSEN_KERNELS)),
    (r'\bstd::atomic_thread_fence\b|\b__sync_synchronize\b',
     'ordered accesses: ThreadSanitizer does not see a fence', EVERYWHERE, ()),
    (r'\bthis_thread::sleep_(?:for|until)\b|(?<![\w.>])u?sleep\s*\(|\b(?:clock_)?nanosleep\s*\(',
     'waiting for the event itself, or the fake clock in tests', *everywhere_but(STALL_MONITOR, TUTORIAL_THREADS)),
    (r'\bstd::(?:v?format(?:_to|_to_n)?|print(?:ln)?)\b\s*\(|#\s*include\s*<(?:format|print)>',
     'fmt: g++ 12 has no <format>', EVERYWHERE, ()),
    (r'\bstd::(?:expected|unexpected|move_only_function)\b|#\s*include\s*<expected>',
     'runtime::Result, or a template parameter: g++ 12 has neither in C++20', EVERYWHERE, ()),
    (r'\b(?:std::)?(?:strcpy|strcat|v?sprintf|gets|strtok|alloca)\s*\(',
     'std::string, fmt::format_to_n or std::copy with a bound', EVERYWHERE, ()),
    (r'\b(?:std::)?ato(?:i|l|ll|f)\s*\(', 'std::from_chars, which tells errors', EVERYWHERE, ()),
    (r'\bstd::endl\b', "'\\n': endl flushes", EVERYWHERE, ()),
    (r'\bstd::(?:cout|cerr|clog)\b|#\s*include\s*<iostream>', 'fmt::print, outside the path of a byte',
     SERVER_FOLDERS, ()),
    (r'\bstd::(?:regex|wregex)\b|#\s*include\s*<regex>', 'a parser by hand: std::regex recurses on input',
     SERVER_FOLDERS, ()),
    (r'(?<![\w.>])assert\s*\(|#\s*include\s*<cassert>', 'RT_ASSERT or RT_DEBUG_ASSERT',
     ('runtime', 'net', 'ws', 'services'), ()),
    (r'(?<![\w.>])assert\s*\(|#\s*include\s*<cassert>', 'PROTOCOL_ASSERT or PROTOCOL_DEBUG_ASSERT', ('protocol',), ()),
    (r'reinterpret_cast<\s*(?:const\s+)?(?:std::)?u?int(?:16|32|64)_t(?:\s+const)?\s*\*',
     'memcpy or std::bit_cast: wire bytes are not aligned', SERVER_FOLDERS, ()),
    (r'#\s*if\s+0\b', 'deleting it: the history keeps old code', EVERYWHERE, ()),
]
BANNED = [(re.compile(pattern), instead, folders, exempt) for pattern, instead, folders, exempt in BANNED]


def banned_call(tree):
    """Calls that have a better replacement here are not made."""
    for file in tree.cpp(*EVERYWHERE):
        for number, line in enumerate(file.code, 1):
            for pattern, instead, folders, exempt in BANNED:
                if file.top not in folders or file.path.startswith(exempt or ('\0',)):
                    continue
                match = pattern.search(line)
                if match and not file.allows('banned_call', number):
                    yield file.path, number, f'`{match.group(0).strip()}`: use {instead}'


def leftover(tree):
    """Nothing unfinished is left, unless a marker names the issue that it waits for."""
    fixme, todo = 'FIX' + 'ME', 'TO' + 'DO'   # in pieces, so that this file holds its own rule
    pattern = re.compile(rf'\b{fixme}\b|\bXXX\b|\b{todo}\b(?!\(#\d+\): \S)')
    for file in tree.files:
        if file.suffix == '.md' or file.suffix == '.json':
            continue
        for number, line in enumerate(file.lines, 1):
            match = pattern.search(line)
            if match and not file.allows('leftover', number):
                yield file.path, number, f'{match.group(0)}: mend it, or write {todo}(#issue): why'


def pragma_once(tree):
    """Each header begins with #pragma once, after its head comment."""
    for file in tree.cpp():
        if file.suffix not in ('.hpp', '.h'):
            continue
        first = next((line.strip() for line in file.code if line.strip()), '')
        if first != '#pragma once':
            yield file.path, 1, 'the first line of code must be #pragma once'


ACCESS_LABELS = ('public', 'protected', 'private')


def functions(file):
    """Yields (first line, name, lines) for each function body: a brace outside of any function after a parameter
    list. Lambdas and blocks belong to the function around them. A heuristic, good enough for a limit."""
    containers = re.compile(r'\b(?:namespace|class|struct|union|enum|concept|extern)\b')
    stack, head, head_line, continued = [], '', 0, False
    for number, line in enumerate(file.code, 1):
        if continued or line.lstrip().startswith('#'):
            continued = line.rstrip().endswith('\\')
            continue
        for letter in line:
            if letter == '{':
                inside = any(kind for kind, _, _ in stack)
                text = head.strip()
                is_container = containers.search(re.sub(r'template\s*<[^{}]*?>\s*(?=\w)', '', text)) \
                    and not text.endswith((')', 'const', 'noexcept', 'override'))
                is_function = not inside and '(' in text and not is_container \
                    and not text.endswith(('=', ',', '('))
                stack.append((is_function, head_line or number, text))
                head, head_line = '', 0
            elif letter == '}':
                if stack:
                    is_function, first, text = stack.pop()
                    if is_function:
                        name = re.search(r'([\w:~<>]+|operator\W+)\s*\(', text)
                        name = name.group(1) if name else '?'
                        if name in ('TEST', 'TEST_F', 'TEST_P', 'TYPED_TEST'):
                            name = ''.join(text[text.index('('):].split())
                        yield first, name, number - first + 1
                head, head_line = '', 0
            elif letter == ';' or (letter == ':' and head.strip() in ACCESS_LABELS):
                head, head_line = '', 0
            else:
                if not letter.isspace() and not head_line:
                    head_line = number
                head += letter
        head += ' '


def sizes(tree):
    """Yields (key, path, line, size, limit) for every file and function."""
    for file in tree.cpp(*EVERYWHERE):
        yield file.path, file.path, 1, len(file.lines), FILE_LINES_MAX
        limit = TEST_FUNCTION_LINES_MAX if file.top == 'tests' else FUNCTION_LINES_MAX
        for first, name, count in functions(file):
            if not file.allows('growth', first):
                yield f'{file.path} {name}', file.path, first, count, limit


def growth(tree):
    """Files and functions stay short; those in the ratchet file may shrink, never grow."""
    recorded = {}
    ratchet = tree.root / RATCHET
    if ratchet.exists():
        for number, line in enumerate(ratchet.read_text(encoding='utf-8').splitlines(), 1):
            if line.strip() and not line.startswith('#'):
                size, _, key = line.strip().partition(' ')
                recorded[key] = (int(size), number)
    for key, path, line, size, limit in sizes(tree):
        allowed, where = recorded.pop(key, (None, 0))
        what = 'the file' if key == path else f'{key.partition(" ")[2]}()'
        if allowed is None:
            if size > limit:
                yield path, line, f'{what} has {size} lines, the limit is {limit}: find the second concept'
        elif size > allowed:
            yield path, line, f'{what} grew from {allowed} to {size} lines; it may only shrink'
        elif size < allowed:
            now = f'set it to {size}' if size > limit else 'delete the entry'
            yield RATCHET, where, f'{key} shrank from {allowed} to {size} lines: {now}'
    for key, (_, where) in recorded.items():
        yield RATCHET, where, f'{key} is gone: delete the entry'


def columns(tree):
    """Lines end at column 100, in scripts at 120; addresses may be longer."""
    for file in tree.files:
        limit = COLUMNS_MAX if file.is_cpp else SCRIPT_COLUMNS_MAX
        if not file.is_cpp and file.suffix not in SCRIPT_SUFFIXES:
            continue
        for number, line in enumerate(file.lines, 1):
            if len(line) > limit and '://' not in line and not file.allows('columns', number):
                yield file.path, number, f'{len(line)} columns, the limit is {limit}'


def text_form(tree):
    """Files end with one newline; no tabs in code, no trailing space, no carriage return."""
    for file in tree.files:
        if not file.text or file.suffix in ('.json', ''):
            continue
        if not file.text.endswith('\n') or file.text.endswith('\n\n'):
            if file.text != '\n':
                yield file.path, len(file.lines), 'the file must end with exactly one newline'
        for number, line in enumerate(file.text.split('\n'), 1):
            if line.endswith('\r'):
                yield file.path, number, 'carriage return'
            elif line != line.rstrip() and file.suffix != '.md':
                yield file.path, number, 'space at the end of the line'
            elif '\t' in line and (file.is_cpp or file.suffix == '.py'):
                yield file.path, number, 'tab: indent with spaces, write \\t in literals'


def folder_readme(tree):
    """Each top folder has a README.md of a page."""
    for folder in TOP_FOLDERS:
        path = f'{folder}/README.md'
        if not any(file.top == folder for file in tree.files):
            continue
        if path not in tree.paths:
            yield path, 1, 'is missing: purpose, surface, main types, what the folder must not know'


def machine_path(tree):
    """Nothing names a path of one machine."""
    places = ('wo' + 'rk', 'fa' + 'rm', 'ho' + 'me', 'ro' + 'ot')   # in pieces, as above
    pattern = re.compile(rf'(?<![\w.)}}$])/(?:{"|".join(places)})/')
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            match = pattern.search(line)
            if match and not file.allows('machine_path', number):
                yield file.path, number, f'{match.group(0)}: write a path relative to the tree'


RULES = (include_direction, service_surface, rooted_includes, banned_call, leftover, pragma_once, growth,
         columns, text_form, folder_readme, machine_path)


def main():
    parser = argparse.ArgumentParser(description='Checks the rules of the repository.')
    parser.add_argument('--root', type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument('--list', action='store_true', help='name the rules')
    parser.add_argument('rules', nargs='*', metavar='RULE')
    arguments = parser.parse_args()

    known = {rule.__name__: rule for rule in RULES}
    if arguments.list:
        for name, rule in known.items():
            print(f'{name}: {rule.__doc__.splitlines()[0]}')
        return 0
    unknown = [name for name in arguments.rules if name not in known]
    if unknown:
        parser.error(f'no rule {", ".join(unknown)}; --list names them')

    tree = Tree(arguments.root)
    chosen = [known[name] for name in arguments.rules] or RULES
    failed = 0
    print('TAP version 13')
    print(f'1..{len(chosen)}')
    for number, rule in enumerate(chosen, 1):
        findings = list(rule(tree))
        failed += bool(findings)
        print(f'{"not ok" if findings else "ok"} {number} - {rule.__name__}')
        for path, line, message in findings:
            print(f'# {path}:{line}: {message}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
