"""The documents and the settings.

Goal: documents name no setting that there is not, and tests/README.md says of each limit, with its default, which test
holds it. Method: --print-config of a program that has all settings, and the Markdown files of the tree.
"""

import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap   # noqa: E402

PROGRAM = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE_SUFFIXES = {'cpp', 'hpp', 'md', 'py', 'toml', 'txt', 'tsv', 'conf', 'yaml', 'socket', 'service'}


def settings():
    """(section, key) and the default of each, as --print-config writes it."""
    text = subprocess.run([PROGRAM, '--print-config'], check=True, capture_output=True, text=True).stdout
    found, section = {}, ''
    for line in text.splitlines():
        if match := re.fullmatch(r'\[(\w+)\]', line):
            section = match.group(1)
        elif match := re.fullmatch(r'(\w+) = (.*)  # default', line):
            found[section, match.group(1)] = match.group(2)
    return found


def as_people_write_it(value):
    """1000000 as 1,000,000 and "30s" as 30 s."""
    value = value.strip('"')
    if value.isdigit():
        return f'{int(value):,}'
    return re.sub(r'(\d)([A-Za-z])', r'\1 \2', value)


def documents():
    for path in sorted(ROOT.rglob('*.md')):
        # perf/ names fields of its own results.
        if not {'build', 'node_modules', '.git', 'perf'} & set(path.relative_to(ROOT).parts):
            yield path.relative_to(ROOT), path.read_text()


class Documents(unittest.TestCase):
    def test_each_setting_that_they_name_is_there(self):
        known = settings()
        sections = '|'.join({section for section, _ in known})
        named, unknown = 0, []
        for path, text in documents():
            for section, key in re.findall(rf'(?<![\w./-])({sections})\.([a-z][a-z_]+)(?![\w(])(?!\.\w)', text):
                if key in FILE_SUFFIXES:
                    continue
                named += 1
                if (section, key) not in known:
                    unknown.append(f'{path}: {section}.{key}')
        self.assertEqual(unknown, [])
        self.assertGreater(named, 20)

    def test_each_limit_has_its_default_and_a_test_in_the_table(self):
        table = (ROOT / 'tests/README.md').read_text()
        for (section, key), value in settings().items():
            if section not in ('limits', 'http'):
                continue
            default = '' if value == '0' else f' {as_people_write_it(value)}'
            names = [f'`{key}`{default}', f'`{section}.{key}`{default}']
            rows = [line for line in table.splitlines()
                    if line.startswith('|') and any(name in line.split('|')[1] for name in names)]
            self.assertEqual(len(rows), 1, f'{names[1]} in the table of limits')


if __name__ == '__main__':
    tap.main()
