"""Goal: every header compiles alone, with the flags of its folder. Method: a header that is the first include of a
source file of this build has been compiled alone by it. For each other header a source file that includes it (twice, so
that its guard is tried as well) is compiled with the command of a neighbouring source file from compile_commands.json;
ccache makes a second run cheap. One case per header that is compiled here.

Use: headers_test.py BUILD_FOLDER [--root FOLDER]"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tools import tidy  # noqa: E402

FIRST_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', re.MULTILINE)
DROPPED = {'-c', '-MD', '-fpch-instantiate-templates', '-Winvalid-pch'}
DROPPED_WITH_VALUE = {'-o', '-MQ', '-MF', '-include-pch'}


def neighbour_flags(command):
    """The command of a source file without its input, outputs, optimisation, debug format and precompiled header."""
    words, flags, skip = shlex.split(command['command']), [], False
    source = command['file']
    for index, word in enumerate(words):
        if skip:
            skip = False
        elif word in DROPPED_WITH_VALUE:
            skip = True
        elif word == '-include' and words[index + 1].endswith(('pch.hpp', 'pch.h')):
            skip = True
        elif word in DROPPED or word == source or word.startswith(('-O', '-g', '-flto')):
            continue
        else:
            flags.append(word)
    return flags


def sources_of(build, root):
    """(path below the root, command) of each source file of the tree that the build compiles."""
    for command in json.loads((build / 'compile_commands.json').read_text(encoding='utf-8')):
        source = pathlib.Path(command['directory'], command['file']).resolve()
        if root in source.parents and build not in source.parents and source.suffix == '.cpp':
            yield source.relative_to(root), command


def commands_by_folder(build, root):
    """{folder of the tree: (flags, directory)} from one source file of each folder."""
    found = {}
    for source, command in sources_of(build, root):
        found.setdefault(source.parent.as_posix(), (neighbour_flags(command), command['directory']))
    return found


def first_includes(build, root):
    """The headers that are the first include of a source file."""
    found = set()
    for source in {source for source, _ in sources_of(build, root)}:
        match = FIRST_INCLUDE.search((root / source).read_text(encoding='utf-8'))
        if match:
            found.add(match.group(1))
    return found


def nearest(folders, header):
    """The folder whose flags fit: the header's own, else one below the same parent, else one of the same top folder."""
    own = pathlib.PurePosixPath(header).parent
    for parent in (own, *own.parents):
        name = parent.as_posix()
        if name == '.':
            return None
        if name in folders:
            return name
        below = [folder for folder in sorted(folders) if folder.startswith(name + '/')]
        if below:
            return below[0]
    return None


def compile_alone(header, flags, directory, out):
    """The compiler's complaints, or an empty string."""
    source = out / (header.replace('/', '__') + '.cpp')
    text = f'#include "{header}"\n#include "{header}"\n'
    if not source.exists() or source.read_text(encoding='utf-8') != text:
        source.write_text(text, encoding='utf-8')
    run = subprocess.run(flags + ['-O0', '-c', str(source), '-o', str(source.with_suffix('.o'))],
                         cwd=directory, capture_output=True, text=True, check=False)
    return '' if run.returncode == 0 else (run.stdout + run.stderr or f'status {run.returncode}')


def build_generated(build):
    """Headers that the build makes must be there before a header that includes them is compiled."""
    targets = json.loads((build / 'meson-info' / 'intro-targets.json').read_text(encoding='utf-8'))
    wanted = [os.path.relpath(name, build) for target in targets if target['type'] == 'custom'
              for name in target['filename'] if name.endswith(('_generated.h', '_generated.hpp'))]
    if wanted:
        subprocess.run(['ninja', '-C', str(build), *wanted], stdout=sys.stderr, check=True)


def main():
    parser = argparse.ArgumentParser(description='Compiles each header alone.')
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--root', type=pathlib.Path, default=ROOT)
    arguments = parser.parse_args()
    build, root = arguments.build.resolve(), arguments.root.resolve()

    build_generated(build)
    folders = commands_by_folder(build, root)
    out = build / 'tidy_headers'
    out.mkdir(exist_ok=True)
    compiled = first_includes(build, root)
    headers = [file.path for file in tidy.Tree(root).cpp(*tidy.TOP_FOLDERS)
               if file.suffix == '.hpp' and file.path not in compiled]

    failed = 0
    print('TAP version 13')
    print(f'1..{len(headers)}')
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = []
        for header in headers:
            folder = nearest(folders, header)
            jobs.append((header, pool.submit(compile_alone, header, *folders[folder], out) if folder else None))
        for number, (header, job) in enumerate(jobs, 1):
            problem = job.result() if job else 'no source file of this folder is built: whose flags should it take?'
            failed += bool(problem)
            print(f'{"not ok" if problem else "ok"} {number} - {header}')
            for line in problem.splitlines()[:40]:
                print('# ' + line)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
