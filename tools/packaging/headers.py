#!/usr/bin/env python3
"""Writes the headers that programs outside the tree include, below a folder OUT:

    OUT/corelane/runtime/task.hpp       a header of the tree, for #include <corelane/runtime/task.hpp>
    OUT/corelane/runtime.hpp            all public headers of one folder; net.hpp and ws.hpp alike
    OUT/corelane/version.hpp            macros with the version
    OUT/corelane-framework/framework.hpp, framework/service.hpp    the framework, an include folder of its own

Use: headers.py OUT --version N.N.N [--forward | --skeleton | --stamp FILE --depfile FILE] [--print-sources]
     [--generated HEADER=FILE] PUBLIC_HEADER...

In the tree headers include each other from its root ("runtime/task.hpp"). A user's own folder `runtime` would stand in
the way, so the copies say <corelane/runtime/task.hpp>. Headers that public ones include and that are not public are
written too, marked as internal in their first line of code.

--print-sources: names the files that were copied.
--stamp: for a build: removes what else is below OUT, writes FILE, and what it depends on into the other one.
--skeleton: only what needs no header of the tree; Meson installs a folder that is there when it configures.
--forward: in place of copies, files of one line that include the header of the tree. For the examples that are built
with the tree: a changed header takes effect at once.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of the project; what flatc generates has an include of a library in quotes, too.
INCLUDE = re.compile(r'^(\s*#\s*include\s*)"((?:runtime|net|ws|protocol|services)/[^"]+)"', re.MULTILINE)
PRAGMA_ONCE = re.compile(r'^#pragma once$', re.MULTILINE)
INTERNAL_MARK = '#pragma once  // internal: no part of the interface, may change with any version'
UMBRELLA_FOLDERS = ('runtime', 'net', 'ws')
# The names under which users know headers of services/.
FRAMEWORK_NAMES = {'services/framework.hpp': 'framework.hpp', 'services/service.hpp': 'framework/service.hpp'}


def source_of(header, generated):
    return generated.get(header, ROOT / header)


def closure(public, generated):
    """The text of each public header, and of each header that these include, by its path from the root."""
    found, waiting = {}, [(header, 'the list of public headers') for header in public]
    while waiting:
        header, why = waiting.pop()
        if header in found:
            continue
        source = source_of(header, generated)
        if not source.is_file():
            raise SystemExit(f'headers.py: {why} names "{header}", and there is no file {source}')
        found[header] = source.read_text(encoding='utf-8')
        waiting += [(name, header) for _, name in INCLUDE.findall(found[header])]
    return found


def as_installed(text, is_public):
    text = INCLUDE.sub(r'\1<corelane/\2>', text)
    return text if is_public else PRAGMA_ONCE.sub(INTERNAL_MARK, text, count=1)


def umbrella(folder, public):
    """Includes all public headers of a folder, but for those of the simulation, which is a package of its own."""
    names = sorted(name for name in public if name.startswith(folder + '/') and not name.startswith('runtime/sim/'))
    return (f'#pragma once\n// All public headers of {folder}/.\n\n#include <corelane/version.hpp>\n\n'
            + ''.join(f'#include <corelane/{name}>\n' for name in names))


def version_header(version):
    major, minor, patch = (int(part) for part in version.split('.'))
    return f'''#pragma once
// The version of Corelane that these headers belong to (semantic versioning; README.md, "Versions").

#define CORELANE_VERSION_MAJOR {major}
#define CORELANE_VERSION_MINOR {minor}
#define CORELANE_VERSION_PATCH {patch}
#define CORELANE_VERSION_STRING "{version}"
// To be compared: 1,000,000 * major + 1,000 * minor + patch.
#define CORELANE_VERSION_NUMBER {major * 1000000 + minor * 1000 + patch}
'''


def headers(public, generated, version, forward):
    """All files below OUT: {path: text}."""
    files = {'corelane/version.hpp': version_header(version)}
    if forward:
        for name in public:
            files[f'corelane/{name}'] = f'#pragma once\n#include "{name}"\n'
    else:
        for name, text in closure(public, generated).items():
            files[f'corelane/{name}'] = as_installed(text, name in public)
    for folder in UMBRELLA_FOLDERS:
        if any(name.startswith(folder + '/') for name in public):
            files[f'corelane/{folder}.hpp'] = umbrella(folder, public)
    for name, known_as in FRAMEWORK_NAMES.items():
        if name in public:
            files[f'corelane-framework/{known_as}'] = f'#pragma once\n#include <corelane/{name}>\n'
    return files


def skeleton(files):
    return {name: text for name, text in files.items() if name == 'corelane/version.hpp' or '-framework/' in name}


def remove_others(out, files):
    for path in out.rglob('*'):
        if path.is_file() and path.relative_to(out).as_posix() not in files:
            path.unlink()


def write(out, files):
    for name, text in files.items():
        path = out / name
        if path.is_file() and path.read_text(encoding='utf-8') == text:
            continue   # its time stays: nothing that includes it is compiled again
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description='Writes the headers for programs outside the tree.')
    parser.add_argument('out')
    parser.add_argument('--version', required=True)
    parser.add_argument('--stamp', type=pathlib.Path)
    parser.add_argument('--depfile', type=pathlib.Path)
    parser.add_argument('--skeleton', action='store_true')
    parser.add_argument('--forward', action='store_true')
    parser.add_argument('--print-sources', action='store_true')
    parser.add_argument('--generated', action='append', default=[], metavar='HEADER=FILE')
    parser.add_argument('public', nargs='+')
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out)
    generated = {name: pathlib.Path(file) for name, _, file in (entry.partition('=') for entry in arguments.generated)}
    public = [pathlib.Path(name).resolve().relative_to(ROOT).as_posix() for name in arguments.public]
    files = headers(public, generated, arguments.version, arguments.forward or arguments.skeleton)
    write(out, skeleton(files) if arguments.skeleton else files)
    if arguments.stamp:
        remove_others(out, files)
        sources = [source_of(name, generated) for name in sorted(closure(public, generated))]
        arguments.depfile.write_text(f'{arguments.stamp}: {" ".join(map(str, sources))}\n', encoding='utf-8')
        arguments.stamp.touch()
    if arguments.print_sources:
        for name in sorted(closure(public, generated)):
            if name not in generated:
                print(ROOT / name)
    return 0


if __name__ == '__main__':
    sys.exit(main())
