"""`corelane cache` against a server of two cores.

Goal: what one command stores another one prints, and exit codes tell scripts what happened. Method: real processes, one
after the other.
"""

import contextlib
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                # noqa: E402
from corelane import Server, run          # noqa: E402

OK, SERVER_ERROR, USAGE, NOT_CONNECTED = range(4)


class Cache(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(
            Server('--cache.namespaces', 'session: ttl=30m', '--cache.value-bytes-max', '100KiB'))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def cache(self, *arguments, expect=OK, **keywords):
        result = run('cache', *arguments, '--url', self.server.url, **keywords)
        self.assertEqual(result.returncode, expect, f'{arguments}: {result.stdout}{result.stderr}')
        return result

    def test_a_value_is_printed_as_it_was_stored(self):
        for number in range(8):   # keys of both cores
            self.cache('set', f'user:{number}', f'Ada {number}')
            self.assertEqual(self.cache('get', f'user:{number}').stdout, f'Ada {number}\n')
        self.cache('set', 'from stdin', '-', input='first\nsecond\n')
        self.assertEqual(self.cache('get', 'from stdin').stdout, 'first\nsecond\n')

    def test_a_missing_key_is_1_and_prints_nothing(self):
        result = self.cache('get', 'missing', expect=SERVER_ERROR)
        self.assertEqual(result.stdout, '')
        self.assertIn('"missing": key_missing', result.stderr)
        self.cache('del', 'missing', expect=SERVER_ERROR)
        self.cache('set', 'empty', '')
        self.assertEqual(self.cache('get', 'empty').stdout, '\n')

    def test_a_version_guards_a_key(self):
        version = self.cache('set', 'guarded', 'first').stdout.split()[1]
        self.cache('set', 'guarded', 'second', '--if-version', version)
        refused = self.cache('set', 'guarded', 'third', '--if-version', version, expect=SERVER_ERROR)
        self.assertIn('version_mismatch', refused.stderr)
        self.assertEqual(self.cache('get', 'guarded').stdout, 'second\n')
        self.cache('del', 'guarded', '--if-version', version, expect=SERVER_ERROR)
        self.cache('del', 'guarded')
        self.cache('get', 'guarded', expect=SERVER_ERROR)

    def test_a_time_to_live_is_told(self):
        self.cache('set', 'short', 'x', '--ttl', '1h')
        left = json.loads(self.cache('get', 'short', '--json').stdout)['ttl_left_ms']
        self.assertTrue(0 < left <= 3_600_000)
        self.cache('set', 'session:1', 'x')
        left = json.loads(self.cache('get', 'session:1', '--json').stdout)['ttl_left_ms']
        self.assertTrue(0 < left <= 1_800_000)

    def test_numbers_are_counted(self):
        self.assertEqual(self.cache('incr', 'visits').stdout, '1\n')
        self.assertEqual(self.cache('incr', 'visits', '--by', '-5').stdout, '-4\n')
        self.cache('set', 'word', 'x')
        self.assertIn('not_a_number', self.cache('incr', 'word', expect=SERVER_ERROR).stderr)

    def test_several_keys_are_lines_in_their_order(self):
        self.cache('set', 'one', '1')
        self.cache('set', 'two', '2')
        self.assertEqual(self.cache('mget', 'two', 'one').stdout, 'two 2\none 1\n')
        result = self.cache('mget', 'one', 'absent', 'two', expect=SERVER_ERROR)
        self.assertEqual(result.stdout, 'one 1\ntwo 2\n')
        self.assertIn('"absent": key_missing', result.stderr)

    def test_the_figures_name_the_namespaces(self):
        self.cache('set', 'session:2', 'x')
        lines = [json.loads(line) for line in self.cache('stats', '--json').stdout.splitlines()]
        self.assertEqual([line['prefix'] for line in lines], ['', 'session:'])
        self.assertGreaterEqual(lines[1]['entries'], 1)
        self.assertLessEqual(lines[0]['memory_used'], lines[0]['memory_max'])
        self.assertIn('session: entries', self.cache('stats').stdout)

    def test_refusals_say_what_to_do(self):
        self.assertIn('cache.key_bytes_max', self.cache('set', 'k' * 1025, 'x', expect=SERVER_ERROR).stderr)
        self.assertIn('cache.value_bytes_max', self.cache('set', 'k', '-', input='x' * 102_401,
                                                          expect=SERVER_ERROR).stderr)

    def test_wrong_arguments_are_2(self):
        for arguments in (['cache'], ['cache', 'fetch', 'k'], ['cache', 'get'], ['cache', 'set', 'k'],
                          ['cache', 'set', 'k', 'v', '--ttl', '1'], ['cache', 'set', 'k', 'v', '--if-version', 'x'],
                          ['cache', 'incr', 'k', '--by', '1.5']):
            self.assertEqual(run(*arguments).returncode, USAGE, arguments)
        self.assertEqual(run('cache', '--help').returncode, OK)
        self.assertIn('--if-version', run('cache', 'set', '--help').stdout)


if __name__ == '__main__':
    tap.main()
