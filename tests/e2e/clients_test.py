"""Goal: a client in another language is what flatc generates and a few lines. Method: the programs of tests/e2e/clients
are made as protocol/README.md says, each talks with a server of its own, and all say the same of it.

    clients_test.py CORELANE FLATC CLIENT_CPP NODE_MODULES_FOLDER
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                # noqa: E402
from corelane import PATIENCE_S, ROOT, Server   # noqa: E402

FLATC, CLIENT_CPP, MODULES = (pathlib.Path(sys.argv.pop(1)).resolve() for _ in range(3))
CLIENTS = ROOT / 'tests' / 'e2e' / 'clients'
SCHEMA = ROOT / 'protocol' / 'schema.fbs'
SAID = '''\
whoami websocket 8
pong hello
subscribed none none
ack 1 1
event news 1 first
direct to you true
broadcast to all true
error unknown_session 7
'''


class Clients(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_it(self, *command, **keywords):
        done = subprocess.run([str(word) for word in command], cwd=self.folder, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False, **keywords)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def generate(self, language):
        self.run_it(FLATC, language, '-o', 'generated', SCHEMA)

    def test_python(self):
        for package in 'flatbuffers', 'websockets':
            if subprocess.run(['/usr/bin/python3', '-c', f'import {package}'], capture_output=True,
                              check=False).returncode != 0:
                self.skipTest(f'Python has no {package} (Debian: python3-{package})')
        self.generate('--python')
        with Server() as server:
            said = self.run_it('/usr/bin/python3', '-B', CLIENTS / 'client.py', server.url,
                               env={**os.environ, 'PYTHONPATH': 'generated'})
        self.assertEqual(said.lower(), SAID)

    def test_typescript(self):
        node, modules = shutil.which('node'), (MODULES / 'node_modules').resolve()
        compiler = modules / 'typescript' / 'bin' / 'tsc'
        if node is None or not compiler.exists() or not (modules / 'flatbuffers').exists():
            self.skipTest('no node, or npm\'s typescript and flatbuffers are not installed (tests/e2e/setup)')
        self.generate('--ts')
        (self.folder / 'node_modules').symlink_to(modules)
        shutil.copy(CLIENTS / 'client.ts', self.folder)
        # All that was generated, not only what the client imports.
        self.run_it(node, compiler, '--target', 'es2020', '--module', 'commonjs', '--lib', 'es2020,dom', '--strict',
                    '--outDir', 'js', 'client.ts', *sorted(self.folder.rglob('fbs/*.ts')))
        start = ("globalThis.WebSocket ??= require('ws'); const print = (...words) => console.log(words.join(' '));"
                 "require('./js/client.js').main(process.argv[1], print)"
                 ".catch((error) => { console.error(error); process.exit(1); });")
        with Server() as server:
            said = self.run_it(node, '-e', start, server.url)
        self.assertEqual(said, SAID)

    def test_cpp(self):
        with Server('--tcp-listen', '127.0.0.1:0') as server:
            port = server.out.find(r'^listening on \S+:(\d+) .*tcp')[0].group(1)
            said = self.run_it(CLIENT_CPP, '127.0.0.1', port)
        self.assertEqual(said, SAID.replace('websocket', 'tcp'))


if __name__ == '__main__':
    tap.main()
