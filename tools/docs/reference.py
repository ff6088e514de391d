#!/usr/bin/env python3
"""Writes the reference of the public headers as HTML, with Doxygen (Debian: doxygen).

Use: tools/docs/reference.py [OUT]      (default: build/reference; the pages begin at OUT/html/index.html)

Comments in this tree are plain ones (//). Copies of the public headers, as they are installed, get comments that
Doxygen reads: the head of a file, the block above a declaration, and what stands behind a member. Comments in functions
and comments that stand alone are no part of it. A warning of Doxygen's is an error.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))
sys.path.insert(0, str(ROOT / 'tools/packaging'))
import headers  # noqa: E402
import tidy     # noqa: E402

# Where meson.build lists public headers, and the lists.
LISTS = {'runtime': ('runtime_headers', 'runtime_sim_headers'), 'net': ('net_headers',), 'net/http': ('http_headers',),
         'ws': ('ws_headers',), 'services': ('services_headers',)}
CONTAINER = re.compile(r'\b(?:namespace|class|struct|union|enum|concept|extern)\b')
CLASS = re.compile(r'(?:template <.*>\n)?(?:class|struct)(?: \[\[\w+\]\])? (\w+)(?: final)?(?: :.*| )\{$',
                   re.MULTILINE)
ATTACHES_TO_NOTHING = re.compile(
    r'(?:public|private|protected)\s*:|[})]|friend\b|namespace\b|#\s*(?:include|if|el|endif)')
MAIN_PAGE = '''/** \\mainpage
The public headers of Corelane. Each file begins with what it is for, and on which core its objects live.

- runtime: \\ref corelane/runtime/task.hpp "tasks", \\ref corelane/runtime/task_group.hpp "groups",
  \\ref corelane/runtime/timeout.hpp "deadlines", \\ref corelane/runtime/submit.hpp "other cores",
  \\ref corelane/runtime/file.hpp "files", \\ref corelane/runtime/sim/world.hpp "the simulation"
- net: \\ref corelane/net/tcp.hpp "streams", \\ref corelane/net/datagram.hpp "datagrams",
  \\ref corelane/net/connect.hpp "names", \\ref corelane/net/http/server.hpp "HTTP"

tools/docs/tutorial.md is a tutorial of ten programs.
*/
'''


def public_headers():
    for folder, names in LISTS.items():
        text = (ROOT / folder / 'meson.build').read_text(encoding='utf-8')
        for name in names:
            for file in re.findall(r"'([^']+)'", re.search(rf'\b{name} = files\((.*?)\)', text, re.DOTALL).group(1)):
                yield f'{folder}/{file}'


def as_text(line):
    """A line of a comment without what Doxygen would take for a command. In quotes it takes nothing for one."""
    line = re.sub(r'"[^"]*"|([\\@<>#%&$])', lambda found: '\\' + found[1] if found[1] else found[0], line)
    return re.sub(r'`([^`]+)`', r'<tt>\1</tt>', line).replace('::', '\\::')


def as_block(lines):
    """The lines of a comment; those that are indented are code."""
    out, code = [], False
    for number, line in enumerate(lines):
        following = next((later for later in lines[number:] if later.strip()), '')
        if code and not following.startswith('  '):
            out.append('\\endcode')
            code = False
        if not code and line.startswith('  '):
            out.append('\\code{.cpp}')
            code = True
        out.append(line if code else as_text(line))
    return [*out, '\\endcode'] if code else out


def link_to_head(name, head, header):
    """For a class without a comment of its own: the head's first paragraph if it is about the class, and a link."""
    first = head[:head.index('')] if '' in head else head
    about = as_block(first) if re.search(rf'\b{name}\b', ' '.join(first)) else []
    return [f'/// {line}'.rstrip() for line in [*about, '', f'See \\ref corelane/{header}.']]


class Scopes:
    """Follows braces: whether a line is within a function or a parameter list, or where declarations stand."""

    def __init__(self):
        self.stack, self.head, self.parentheses = [], '', 0

    def take(self, code):
        for letter in code if not code.lstrip().startswith('#') else '':
            if letter == '{':
                text = re.sub(r'template\s*<[^{}]*?>\s*(?=\w)', '', self.head.strip())
                declares = CONTAINER.search(text) and not text.endswith((')', 'const', 'noexcept', 'override'))
                kind = 'enum' if 'enum' in text.split() else 'container'
                self.stack.append(kind if declares else 'code')
                self.head = ''
            elif letter == '}':
                if self.stack:
                    self.stack.pop()
                self.head = ''
            elif letter == ';':
                self.head = ''
            else:
                self.head += letter
                self.parentheses += (letter == '(') - (letter == ')')

    @property
    def is_in_code(self):
        return 'code' in self.stack or self.parentheses > 0

    @property
    def is_in_enum(self):
        return bool(self.stack) and self.stack[-1] == 'enum'


def documented(text, header):
    """A header with comments that Doxygen reads."""
    lines, code = text.split('\n'), tidy.without_comments_and_strings(text).split('\n')
    scopes, out, block, head = Scopes(), [], [], []

    def end_block(following):
        nonlocal block, head
        texts = [line.strip()[2:].removeprefix(' ') for line in block if 'NOLINT' not in line]
        is_first = not any(line.strip() and not line.startswith('#pragma') for line in code[:number])
        if texts and is_first:
            head = texts
            out.extend(['/// \\file', *(f'/// {line}'.rstrip() for line in as_block(texts))])
        elif texts and following and not ATTACHES_TO_NOTHING.match(following) and not texts[0].startswith('---'):
            out.extend(f'/// {line}'.rstrip() for line in as_block(texts))
        elif head and CLASS.match(following) and not out[-1].startswith('template'):
            out.extend([*block, *link_to_head(CLASS.match(following)[1], head, header)])
        else:
            out.extend(block)
        block = []

    for number, (line, plain) in enumerate(zip(lines, code)):
        if line.strip().startswith('//') and not scopes.is_in_code:
            block.append(line)
            continue
        end_block('\n'.join(lines[number:number + 4]) if line[:1].strip() else line.strip())
        was_in_code = scopes.is_in_code
        scopes.take(plain)
        rest = line[len(plain.rstrip()):].strip()
        ends = plain.rstrip().endswith((';', ',')) or scopes.is_in_enum
        if rest.startswith('//') and 'NOLINT' not in rest and ends and not was_in_code and not scopes.is_in_code:
            out.append(f'{plain.rstrip()}  ///< {as_text(rest[2:].strip())}')
        else:
            out.append(line)
    end_block('')
    return '\n'.join(out)


def write_reference(out, names, main_page=MAIN_PAGE):
    """Writes the pages of these headers. What Doxygen complains of; empty: nothing."""
    shutil.rmtree(out, ignore_errors=True)
    copies = out / 'headers'
    copies.mkdir(parents=True)
    for name in names:
        path = copies / 'corelane' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = headers.as_installed((ROOT / name).read_text(encoding='utf-8'), True)
        path.write_text(documented(text, name), encoding='utf-8')
    (copies / 'main.hpp').write_text(main_page, encoding='utf-8')
    settings = (ROOT / 'tools/docs/Doxyfile').read_text(encoding='utf-8') + f'''
INPUT = {copies}
OUTPUT_DIRECTORY = {out}
STRIP_FROM_PATH = {copies}
STRIP_FROM_INC_PATH = {copies}
'''
    run = subprocess.run(['doxygen', '-'], input=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         check=False)
    problems = run.stdout.strip().replace(f'{copies}/corelane/', '')
    return problems or (f'doxygen ended with {run.returncode}' if run.returncode != 0 else '')


def main():
    parser = argparse.ArgumentParser(description='Writes the reference of the public headers.')
    parser.add_argument('out', nargs='?', type=pathlib.Path, default=ROOT / 'build/reference')
    out = parser.parse_args().out.resolve()
    problems = write_reference(out, public_headers())
    print(problems or out / 'html/index.html')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
