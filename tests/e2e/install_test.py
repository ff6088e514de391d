"""Programs outside the tree, made as tools/docs/library.md says.

Goal: what `meson install` installs, and the tree as a Meson subproject, serve programs of users: with clang and g++,
C++20 and C++23, their warnings as errors, and folders `net` and `runtime` of their own. Method: installs from the build
folder into a temporary prefix, and builds there the examples of tools/examples and the programs in tests/e2e/install by
pkg-config, CMake and Meson, with the files of the document; then runs them. The argument is the build folder.
"""

import concurrent.futures
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                                    # noqa: E402
from corelane import PROGRAM as BUILD, ROOT, Example, Listener   # noqa: E402

FOLDER = pathlib.Path(BUILD).resolve() / 'install_test'
STAGE = FOLDER / 'stage'
EXAMPLES = ROOT / 'tools/examples'
OWN = ROOT / 'tests/e2e/install'
GUIDE = (ROOT / 'tools/docs/library.md').read_text(encoding='utf-8')
CCACHE = ['ccache'] if shutil.which('ccache') else []
COMPILERS = {'clang': ['clang++-19', '-std=c++20'], 'g++': ['g++', '-std=c++20']}
NEWER = {'clang': ['clang++-19', '-std=c++23'], 'g++': ['g++', '-std=c++23']}
WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Werror']
PROGRAMS = {   # name: source, packages
    'runtime_cores': (EXAMPLES / 'runtime_cores.cpp', ['corelane-runtime']),
    'net_echo': (EXAMPLES / 'net_echo.cpp', ['corelane-net']),
    'echo_server': (EXAMPLES / 'echo_server.cpp', ['corelane']),
    'echo_server_test': (EXAMPLES / 'simulation/echo_server_test.cpp', ['corelane-sim', 'corelane-net']),
}
# Headers of ours are not found under these names, and a user's are.
COLLIDING = ('runtime/task.hpp', 'runtime/types.hpp', 'net/stream.hpp', 'net/network.hpp', 'services/framework.hpp')


def call(command, **keywords):
    """Runs a command; what it says is in the error if it fails."""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **keywords)
    if run.returncode != 0:
        raise AssertionError(f'{" ".join(map(str, command))} ended with {run.returncode}:\n{run.stdout[-6000:]}')
    return run.stdout


def output_of(program, *arguments):
    """What it prints to stdout; on a busy machine its log on stderr reports stalls."""
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise AssertionError(f'{program} ended with {run.returncode}: {run.stdout}{run.stderr}')
    return run.stdout


def members(archive):
    """The first four bytes of each member of an archive (ar(5)) that is no table of names or symbols."""
    data, at, found = archive.read_bytes(), 8, []
    while at < len(data):
        header = data[at:at + 60]
        size = int(header[48:58])
        if not header.startswith((b'/ ', b'// ', b'/SYM64/')):
            found.append(data[at + 60:at + 64])
        at += 60 + size + size % 2
    return found


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def user_folder(name):
    """A project folder with a user's own headers, which nobody but the user may include."""
    folder = fresh(FOLDER / name)
    for header in COLLIDING:
        (folder / header).parent.mkdir(exist_ok=True)
        (folder / header).write_text('#error a header of the user is taken for one of Corelane\n', encoding='utf-8')
    return folder


def of_guide(language):
    """The first block of the document in a language."""
    return re.search(rf'```{language}\n(.*?)```', GUIDE, re.DOTALL).group(1)


@functools.cache
def prefix():
    """Installs, once. From then on pkg-config and programs find it."""
    fresh(STAGE)
    call(['meson', 'install', '-C', BUILD, '--no-rebuild', '--tags', 'devel'],
         env={**os.environ, 'DESTDIR': str(STAGE)})
    config = next(STAGE.rglob('corelane-runtime.pc'))
    os.environ['PKG_CONFIG_PATH'] = str(config.parent)
    os.environ['LD_LIBRARY_PATH'] = str(config.parent.parent)
    return next(parent for parent in config.parents if (parent / 'include').is_dir())


def pkg_config(*arguments):
    prefix()
    return call(['pkg-config', *arguments]).split()


def compile_with(compiler, arguments, folder):
    call([*CCACHE, *compiler, *WARNINGS, '-I.', *arguments], cwd=folder)


def build_by_pkg_config(compiler, source, packages, target):
    """Compiles and links apart, so that the compiler cache serves."""
    compile_with(compiler, ['-c', source, '-o', f'{target}.o', *pkg_config('--cflags', *packages)], target.parent)
    compile_with(compiler, [f'{target}.o', '-o', target, *pkg_config('--libs', *packages)], target.parent)


def runs(case, programs):
    """The programs do what they are for: {name of PROGRAMS: path}."""
    for name, path in programs.items():
        with case.subTest(path):
            RUNS[name](case, path)


def run_cores(case, path):
    size = (ROOT / 'README.md').stat().st_size
    lines = output_of(path, ROOT / 'README.md').splitlines()
    case.assertEqual(sorted(lines), [f'core 0: {size} bytes', f'core 1: {size} bytes', 'done'])


def run_in_the_simulation(case, path):
    case.assertEqual(output_of(path), '50 seeds passed\n')


def run_net_echo(case, path):
    with Listener('127.0.0.1:0', program=path) as server:
        with socket.create_connection((server.host, server.port), 60) as peer:
            peer.sendall(b'hello')
            peer.shutdown(socket.SHUT_WR)
            with peer.makefile('rb') as answer:
                case.assertEqual(answer.read(), b'hello')
        server.signal(signal.SIGTERM)
        case.assertEqual(server.exit_code(), 0)


def run_echo_server(case, path):
    with Example(path) as server:
        with urllib.request.urlopen(f'http://{server.address}/healthz', timeout=60) as answer:
            case.assertEqual(answer.status, 200)
        server.signal(signal.SIGTERM)
        case.assertEqual(server.exit_code(), 0)


RUNS = {'runtime_cores': run_cores, 'net_echo': run_net_echo, 'echo_server': run_echo_server,
        'echo_server_test': run_in_the_simulation}


class Install(unittest.TestCase):
    def test_archives_hold_machine_code_and_no_bitcode(self):
        archives = list(prefix().rglob('libcorelane*.a'))
        self.assertGreater(len(archives), 0)
        for archive in archives:
            with archive.open('rb') as head:
                self.assertEqual(head.read(8), b'!<arch>\n', f'{archive.name} is a thin archive')
            self.assertEqual(set(members(archive)), {b'\x7fELF'}, archive.name)

    def test_uninstalling_leaves_nothing(self):
        stage = fresh(FOLDER / 'uninstalled')
        call(['meson', 'install', '-C', BUILD, '--no-rebuild', '--tags', 'devel'],
             env={**os.environ, 'DESTDIR': str(stage)})
        self.assertTrue(any(stage.rglob('task.hpp')))
        call(['meson', '--internal', 'uninstall'], cwd=BUILD)   # what `ninja uninstall` runs
        self.assertEqual([path for path in stage.rglob('*') if not path.is_dir()], [])

    def test_internal_headers_are_marked_and_all_names_begin_with_corelane(self):
        include = prefix() / 'include'
        self.assertEqual(sorted(path.name for path in include.iterdir()), ['corelane', 'corelane-framework'])
        self.assertIn('internal', (include / 'corelane/runtime/errand.hpp').read_text(encoding='utf-8'))
        self.assertNotIn('internal:', (include / 'corelane/runtime/task.hpp').read_text(encoding='utf-8'))
        for header in include.rglob('*.hpp'):
            rooted = re.findall(r'^\s*#\s*include\s*"(?:runtime|net|ws|protocol|services)/',
                                header.read_text(encoding='utf-8'), re.MULTILINE)
            self.assertEqual(rooted, [], header)

    def test_steps_of_the_tutorial_by_its_commands(self):
        prefix()
        folder = user_folder('tutorial')
        text = (ROOT / 'tools/docs/tutorial.md').read_text(encoding='utf-8')
        commands = re.findall(r'^clang\+\+-19 .*', text, re.MULTILINE)
        self.assertEqual(len(commands), 2)
        for command in commands:
            name = re.search(r' (\w+)\.cpp ', command)[1]
            shutil.copy(EXAMPLES / f'tutorial/{name}.cpp', folder)
            # Compiled and linked apart, so that the compiler cache serves.
            command = command.replace('clang++-19', ' '.join([*CCACHE, 'clang++-19']))
            call(['bash', '-ec', command.replace(f'-o {name} ', '-c ').replace('--libs', '')], cwd=folder)
            call(['bash', '-ec', command.replace(f'{name}.cpp', f'{name}.o')], cwd=folder)
        self.assertEqual(output_of(folder / '01_hello'), 'core 0 counted 5 letters\n')
        self.assertEqual(output_of(folder / '10_simulation'), 'seeds that fail: 0\n')

    def test_public_headers_and_options_compile_with_warnings_as_errors(self):
        folder = user_folder('headers')
        flags = pkg_config('--cflags', 'corelane')
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(compile_with, compiler, [
                    '-c', OWN / 'headers.cpp', '-o', f'{name}.o', *flags], folder) for name, compiler in NEWER.items()]:
                done.result()

    def test_programs_by_pkg_config(self):
        prefix()   # before several threads ask for it
        folder = user_folder('pkg-config')
        built, jobs = {}, []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for compiler, command in COMPILERS.items():
                for name, (source, packages) in PROGRAMS.items():
                    target = f'{name}-{compiler}'
                    jobs.append(pool.submit(build_by_pkg_config, command, source, packages, folder / target))
                    built.setdefault(compiler, {})[name] = folder / target
            for job in jobs:
                job.result()
        for programs in built.values():
            runs(self, programs)

    def test_the_commands_of_the_page_on_the_simulation_do_what_it_says(self):
        page = (ROOT / 'tools/docs/simulation.md').read_text(encoding='utf-8')
        folder = user_folder('simulation')
        shutil.copy(EXAMPLES / 'simulation/echo_server_test.cpp', folder)
        environment = {**os.environ, 'PATH': f'{prefix() / "bin"}:{os.environ["PATH"]}'}
        seed, ran = None, 0
        for line in re.findall(r'^[^#\n].*', '\n'.join(re.findall(r'```sh\n(.*?)```', page, re.DOTALL)), re.MULTILINE):
            command = line.partition('  #')[0].replace('$(date +%s)', '1000')
            # Which seed is the first to fail changes with the version; the page shows one.
            if seed is not None:
                command = re.sub(r'(CORELANE_SEED=|seed-)\d+', rf'\g<1>{seed}', command)
            run = subprocess.run(['sh', '-c', command], cwd=folder, env=environment, text=True, check=False,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
            if found := re.search(r'random decisions make seed (\d+) fail', run.stdout):
                seed = found[1]
            fails = 'careless' in command and 'quiet' not in command
            self.assertEqual(run.returncode, 1 if fails else 0, f'{command}\n{run.stdout}')
            if 'CORELANE_' in command:
                self.assertIn('answered lines are in no journal', run.stdout, command)
            ran += 1
        self.assertGreater(ran, 7)
        schedule, = folder.glob('*.schedule')
        decisions = [line for line in schedule.read_text(encoding='utf-8').splitlines() if not line.startswith('#')]
        self.assertIn(len(decisions), range(1, 10))

    @unittest.skipUnless(shutil.which('cmake'), 'no cmake (Debian: cmake)')
    def test_programs_by_cmake(self):
        folder = user_folder('cmake')
        shutil.copy(EXAMPLES / 'echo_server.cpp', folder / 'main.cpp')
        shutil.copy(EXAMPLES / 'simulation/echo_server_test.cpp', folder)
        (folder / 'CMakeLists.txt').write_text(of_guide('cmake') + '''
target_include_directories(my_server PRIVATE .)
find_package(corelane-sim REQUIRED)
add_executable(echo_server_test echo_server_test.cpp)
target_link_libraries(echo_server_test PRIVATE corelane::net corelane::sim)
find_package(corelane-net 99 QUIET)
if(corelane-net_FOUND)
  message(FATAL_ERROR "a version that is not there was found")
endif()
''', encoding='utf-8')
        call(['cmake', '-S', '.', '-B', 'build', '-G', 'Ninja', f'-DCMAKE_PREFIX_PATH={prefix()}',
              '-DCMAKE_CXX_COMPILER=g++', *[f'-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}' for launcher in CCACHE]],
             cwd=folder)
        call(['ninja', '-C', 'build'], cwd=folder)
        runs(self, {'echo_server': folder / 'build/my_server', 'echo_server_test': folder / 'build/echo_server_test'})

    def test_programs_as_a_meson_subproject_need_liburing_and_fmt_alone(self):
        folder = user_folder('subproject')
        (folder / 'subprojects').mkdir()
        (folder / 'subprojects/corelane').symlink_to(ROOT)
        shutil.copy(EXAMPLES / 'runtime_cores.cpp', folder / 'main.cpp')
        shutil.copy(EXAMPLES / 'net_echo.cpp', folder)
        (folder / 'meson.build').write_text(of_guide('meson') + '''
executable('net_echo', 'net_echo.cpp', dependencies: dependency('corelane-net', fallback: 'corelane'))
''', encoding='utf-8')
        # The fallback, whatever is installed. Without debug information the compiler cache serves.
        call(['meson', 'setup', 'build', '--wrap-mode', 'forcefallback', '--buildtype', 'plain', '--warnlevel', '3',
              '--werror'], cwd=folder,
             env={**os.environ, 'CXX': ' '.join([*CCACHE, 'clang++-19']), 'CC': 'clang-19'})
        asked = json.loads(call(['meson', 'introspect', '--dependencies', 'build'], cwd=folder))
        self.assertEqual({entry['name'] for entry in asked if not entry['name'].startswith('corelane')},
                         {'threads', 'liburing', 'fmt'})
        # The second program is only compiled: all of net/ in one more variant would take half a minute.
        call(['ninja', '-C', 'build', 'my_program', 'net_echo.p/net_echo.cpp.o'], cwd=folder)
        runs(self, {'runtime_cores': folder / 'build/my_program'})


if __name__ == '__main__':
    tap.main()
