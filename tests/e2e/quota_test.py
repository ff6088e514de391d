"""The quota commands against a server of two cores.

Goal: limits come from flags, are shown and set from the command line, and hold for the commands themselves; mistakes
are exit code 2 with what to write. Method: real processes; tokens come once an hour, so that time changes nothing.
"""

import contextlib
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import tap                                       # noqa: E402
from corelane import Server, Subscriber, run     # noqa: E402

OK, SERVER_ERROR, USAGE = range(3)


class Quotas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(
            Server('--quota.track', '--quota-session', 'requests 10/h burst 20',
                   '--quota-session', 'bytes_in 1MiB/s delay'))
        cls.url = cls.server.url

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def quota(self, *arguments, expect=OK):
        result = run('quota', *arguments, '--url', self.url)
        self.assertEqual(result.returncode, expect, f'{arguments}: {result.stdout}{result.stderr}')
        return result

    def test_the_own_limits_are_printed(self):
        lines = self.quota('get').stdout.splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r'^requests 10/h burst 20 reject: 1[89] left, [12] used, 0 exceeded, full in \S+$')
        self.assertRegex(lines[1], r'^bytes_in 1MiB/s burst 1MiB delay: \d+ left, ')
        objects = [json.loads(line) for line in self.quota('get', '--json').stdout.splitlines()]
        self.assertEqual([one['limit'] for one in objects],
                         ['requests 10/h burst 20 reject', 'bytes_in 1MiB/s burst 1MiB delay'])
        self.assertFalse(objects[0]['permissive'])

    def test_a_command_that_exceeds_them_is_refused(self):
        result = run('ping', '-n', '100', '--url', self.url)
        self.assertEqual(result.returncode, SERVER_ERROR)
        self.assertIn('rate_limited: quota of the session exceeded: requests 10/h burst 20 reject; wait ',
                      result.stderr)
        self.assertRegex(result.stderr, r'try again in \d{6} ms')
        self.assertGreaterEqual(len(result.stdout.splitlines()), 18)

    def test_limits_of_another_session_are_set_and_taken_back(self):
        with Subscriber(self.url, 'quotas') as subscriber:
            session = subscriber.session
            limits = 'requests 5/min burst 7 warn', 'deliveries 1/s'
            text = self.quota('set', '--session', session, *limits).stdout
            self.assertRegex(text, r'^requests 5/min burst 7 warn: 7 left, 0 used, 0 exceeded, full in 0')
            self.assertEqual(self.quota('get', '--session', session).stdout.splitlines()[1].split(':')[0],
                             'deliveries 1/s burst 1 reject')
            self.assertEqual(self.quota('set', '--session', session, 'none').stdout, 'no limits\n')
            self.assertIn('requests 10/h burst 20', self.quota('set', '--session', session, 'default').stdout)

    def test_an_address_and_a_principal_have_limits(self):
        for target in ('--address', '203.0.113.7'), ('--principal', 'alice'):
            self.assertEqual(self.quota('get', *target).stdout, 'no limits\n')
            self.quota('set', *target, 'requests 100/s for Publish')
            self.assertRegex(self.quota('get', *target).stdout,
                             r'^requests 100/s burst 100 reject for Publish: 100 left')
            self.assertEqual(self.quota('set', *target, 'default').stdout, 'no limits\n')

    def test_mistakes_say_what_to_write(self):
        for arguments, why in (
                ([], 'get or set'), (['put'], 'neither get nor set'), (['set'], 'LIMIT is missing'),
                (['set', 'request 5/s'], 'does not begin with requests'), (['set', 'requests 5'], 'no period'),
                (['get', '--session', 'x'], 'is no session id'),
                (['get', '--address', '::1', '--principal', 'a'], 'name one of')):
            result = run('quota', *arguments)
            self.assertEqual(result.returncode, USAGE, arguments)
            self.assertIn(why, result.stderr)
        nobody = '00000000-0000-8000-8000-000000000001'
        self.assertIn('unknown_session', self.quota('get', '--session', nobody, expect=SERVER_ERROR).stderr)

    def test_a_server_refuses_limits_that_cannot_be(self):
        result = run('serve', '--quota-session', 'requests 5 per second')
        self.assertEqual(result.returncode, USAGE)
        self.assertIn('quota-session', result.stderr)
        self.assertIn('requests 1000/s burst 2000 reject', result.stderr)


if __name__ == '__main__':
    tap.main()
