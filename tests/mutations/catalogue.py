"""The catalogue of planted bugs: *.toml beside this file, read and checked against the tree."""

import dataclasses
import pathlib
import re
import tomllib

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
KEYS = {'id', 'file', 'breaks', 'old', 'new', 'tests', 'equivalent'}


@dataclasses.dataclass(frozen=True)
class Mutation:
    id: str
    file: str            # below the root
    breaks: str          # what goes wrong, for a reader
    old: str             # text that the file holds exactly once
    new: str
    tests: tuple         # of (executable, gtest filter or '')
    equivalent: str      # why nobody can tell the difference; empty: somebody can
    catalogue: str       # the file that lists it

    def applied_to(self, text):
        return text.replace(self.old, self.new, 1)


def parse_test(text):
    executable, _, selected = text.partition(':')
    return executable.strip(), selected.strip()


def read(folder=FOLDER):
    """All mutations, in the order of their files. Raises ValueError for an entry that is none."""
    found = []
    for path in sorted(folder.glob('*.toml')):
        for entry in tomllib.loads(path.read_text(encoding='utf-8')).get('mutation', []):
            name = f'{path.name}: {entry.get("id", "an entry without id")}'
            wrong = (KEYS - {'equivalent'} - entry.keys()) | (entry.keys() - KEYS)
            if wrong:
                raise ValueError(f'{name}: missing or unknown: {", ".join(sorted(wrong))}')
            found.append(Mutation(id=entry['id'], file=entry['file'], breaks=entry['breaks'], old=entry['old'],
                                  new=entry['new'], tests=tuple(map(parse_test, entry['tests'])),
                                  equivalent=entry.get('equivalent', ''), catalogue=path.name))
    return found


def gtest_names(root=ROOT):
    """All names of gtest cases that sources define, 'Suite.Name'; '/' marks those of parameters."""
    names = set()
    for path in (root / 'tests').rglob('*.cpp'):
        for match in re.finditer(r'^(?:TYPED_)?TEST(_P|_F)?\((\w+),\s*(\w+)\)', path.read_text(encoding='utf-8'),
                                 re.MULTILINE):
            names.add(f'{match[2]}.{match[3]}')
    return names


def executables(root=ROOT):
    """The names of the test programs, from the meson.build files."""
    names = set()
    for path in (root / 'tests').rglob('meson.build'):
        names.update(re.findall(r"executable\('(\w+)'", path.read_text(encoding='utf-8')))
    return names


def filter_fits(selected, names):
    """Each part of a gtest filter selects something."""
    for part in selected.split(':'):
        pattern = re.compile(re.escape(part).replace(r'\*', '.*').replace(r'\?', '.'))
        if not any(pattern.fullmatch(name) for name in names):
            return False
    return True


def problems(mutations, root=ROOT):
    """What is wrong with the entries: each as 'ID: reason'."""
    names = gtest_names(root)
    programs = executables(root)
    seen = set()
    for mutation in mutations:
        if mutation.id in seen:
            yield f'{mutation.id}: the id is used twice'
        seen.add(mutation.id)
        path = root / mutation.file
        if not path.is_file():
            yield f'{mutation.id}: there is no file {mutation.file}'
            continue
        count = path.read_text(encoding='utf-8').count(mutation.old) if mutation.old else 0
        if count != 1:
            yield (f'{mutation.id}: its old text is {count} times in {mutation.file}, not once: '
                   f'mend the entry in tests/mutations/{mutation.catalogue}')
        if mutation.new == mutation.old:
            yield f'{mutation.id}: it changes nothing'
        if not mutation.tests:
            yield f'{mutation.id}: no test is named'
        for program, selected in mutation.tests:
            if program not in programs:
                yield f'{mutation.id}: no meson.build below tests/ has an executable {program}'
            if selected and not filter_fits(selected, names):
                yield f'{mutation.id}: no test fits "{selected}"'
