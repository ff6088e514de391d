"""Goal: every header compiles alone, with the flags of its folder. Method: for each header a source file that includes
it (twice, so that its guard is tried as well) is compiled with the command of a neighbouring source file from
compile_commands.json; ccache makes a second run cheap. One case per header.

Use: headers_test.py BUILD_FOLDER [--root FOLDER]"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tools import tidy  # noqa: E402

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


def commands_by_folder(build, root):
    """{folder of the tree: (flags, directory)} from one source file of each folder."""
    found = {}
    for command in json.loads((build / 'compile_commands.json').read_text(encoding='utf-8')):
        source = pathlib.Path(command['directory'], command['file']).resolve()
        if root not in source.parents or build in source.parents or source.suffix != '.cpp':
            continue
        folder = source.relative_to(root).parent.as_posix()
        found.setdefault(folder, (neighbour_flags(command), command['directory']))
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
    headers = [file.path for file in tidy.Tree(root).cpp(*tidy.TOP_FOLDERS) if file.suffix == '.hpp']

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
