#!/usr/bin/python3
"""Goal: protocol/schema.fbs is for every language that flatc knows. Method: `flatc --help` says which those are; code
is generated for each, with and without the options that add to it, and loaded, compiled or at least parsed by what the
machine has for the language. Where that is nothing, generating is the test.

    schema_languages_test.py FLATC
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests' / 'support'))
import tap   # noqa: E402

FLATC = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith('-') else 'flatc'
SCHEMA = ROOT / 'protocol' / 'schema.fbs'
LIMIT_S = 300   # for a hang; nothing here takes long
OPTIONS = ([], ['--gen-object-api'], ['--gen-mutable'], ['--gen-onefile'],
           ['--gen-all', '--gen-object-api', '--gen-mutable'])
TYPES = ('UUID', 'Message', 'WhoAmIReply', 'ChannelResult', 'BroadcastEvent')

# What flatc 2.0.8 makes of UUID for Lua is a file Uuid.lua that others require as UUID: see protocol/README.md.
LUA = '''
package.preload['flatbuffers'] = function() return {N = {}, view = {}, binaryArray = {}} end
package.preload['protocol.fbs.UUID'] = function() return require('protocol.fbs.Uuid') end
for index = 1, #arg do assert(type(require(arg[index])) == 'table', arg[index]) end
'''
PARSE_JAVA = '''
import com.sun.source.util.JavacTask;
import javax.tools.*;

public class Parse {
  public static void main(String[] names) throws Exception {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    DiagnosticCollector<JavaFileObject> found = new DiagnosticCollector<>();
    StandardJavaFileManager files = compiler.getStandardFileManager(found, null, null);
    ((JavacTask) compiler.getTask(null, files, found, null, null, files.getJavaFileObjects(names))).parse();
    for (Diagnostic<?> one : found.getDiagnostics()) System.err.println(one);
    System.exit(found.getDiagnostics().isEmpty() ? 0 : 1);
  }
}
'''


def run(*command, folder=None, **keywords):
    return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=LIMIT_S,
                          check=False, **keywords)


def languages():
    """The flags that generate code, without what only changes them or makes data."""
    text = run(FLATC, '--help').stdout
    return re.findall(r'^ +(?:-\w, )?(--[\w-]+) +Generate (?:\S+ )*?'
                      r'(?:(?:files|classes|code|headers) for tables/structs|Json schema)$', text, re.M)


def modules(folder, suffix):
    return ['.'.join(path.relative_to(folder).with_suffix('').parts) for path in sorted(folder.rglob('*' + suffix))]


class Checks:
    """By language: a command that loads, compiles or parses what lies in the folder, or None where there is no tool."""

    @staticmethod
    def python(folder, _):
        code = 'import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)'
        if run('/usr/bin/python3', '-c', 'import flatbuffers').returncode != 0:
            return None
        return ['/usr/bin/python3', '-B', '-c', code, *modules(folder, '.py')]

    @staticmethod
    def cpp(folder, options):
        compiler = next(filter(shutil.which, ('clang++-19', 'c++', 'g++')), None)
        files = list(folder.rglob('*.h'))
        # Comparing and mutating come with the object API; one compilation shows both.
        return compiler and [compiler, '-std=c++17', '-Wall', '-fsyntax-only', '-x', 'c++', *files] if options in (
            OPTIONS[0], OPTIONS[-1]) else None

    @staticmethod
    def lua(folder, _):
        (folder / 'load.lua').write_text(LUA)
        interpreter = next(filter(shutil.which, ('lua5.4', 'lua5.3', 'lua', 'luajit')), None)
        return interpreter and [interpreter, 'load.lua', *(name for name in modules(folder, '.lua') if name != 'load')]

    @staticmethod
    def java(folder, options):
        (folder / 'Parse.java').write_text(PARSE_JAVA)
        java = shutil.which('javac') and shutil.which('java')
        return java and [java, 'Parse.java', *folder.rglob('fbs/*.java')] if options in (
            OPTIONS[0], OPTIONS[-1]) else None

    @staticmethod
    def php(folder, _):
        # Each file is linted by a process of its own, so one shell does them all.
        return shutil.which('php') and ['sh', '-c', 'for f; do php -l "$f" >/dev/null || exit 1; done', 'sh',
                                        *folder.rglob('*.php')]

    @staticmethod
    def go(folder, _):
        return shutil.which('gofmt') and ['gofmt', '-e', '-l', *folder.rglob('*.go')]

    @staticmethod
    def rust(folder, _):
        # Without FlatBuffers' crate nothing compiles; formatting parses it. A shim of rustup is there without it.
        if run('rustfmt', '--version').returncode != 0 if shutil.which('rustfmt') else True:
            return None
        return ['sh', '-c', 'for f; do rustfmt --edition 2021 --emit stdout "$f" >/dev/null || exit 1; done', 'sh',
                *folder.rglob('*.rs')]

    @staticmethod
    def dart(folder, _):
        return shutil.which('dart') and ['dart', 'format', '--output', 'none', *folder.rglob('*.dart')]

    @staticmethod
    def swift(folder, _):
        return shutil.which('swiftc') and ['swiftc', '-parse', *folder.rglob('*.swift')]

    @staticmethod
    def jsonschema(folder, _):
        return ['/usr/bin/python3', '-m', 'json.tool', *folder.rglob('*.json'), os.devnull]


class Languages(unittest.TestCase):
    def generate(self, language, options):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        result = pathlib.Path(folder.name)
        # Lua's generator ignores -o, so the folder is also the current one.
        done = run(FLATC, language, *options, '-o', result, SCHEMA, folder=result)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, '', ''), (language, options))
        return result

    def test_flatc_says_which_languages_it_knows(self):
        self.assertGreaterEqual(set(languages()), {'--cpp', '--go', '--java', '--dart', '--ts', '--csharp', '--python',
                                                   '--lobster', '--lua', '--rust', '--php', '--kotlin', '--jsonschema',
                                                   '--swift'})

    def test_the_schema_has_nothing_that_a_language_lacks(self):
        text = re.sub(r'//.*', '', SCHEMA.read_text())
        self.assertNotRegex(text, r'\[\s*\w+\s*:\s*\d+\s*\]', 'arrays in structs: four languages of fourteen')
        self.assertNotIn('nested_flatbuffer', text)
        self.assertIn('namespace protocol.fbs;', text)


def add_test_of(language):
    def test(self):
        for options in OPTIONS:
            with self.subTest(options):
                folder = self.generate(language, options)
                text = '\n'.join(path.read_text() for path in folder.rglob('*') if path.is_file()).lower()
                for name in TYPES:
                    self.assertIn(name.lower(), text)
                check = getattr(Checks, language.strip('-'), None)
                command = check(folder, options) if check else None
                if command:
                    done = run(*command, folder=folder)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    setattr(Languages, f'test_generates_{language.strip("-")}', test)


for one in languages():
    add_test_of(one)


if __name__ == '__main__':
    tap.main()
