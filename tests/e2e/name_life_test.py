"""How long an answer of the name service holds.

Goal: it is what DNS says, also behind a search domain and for a name that does not exist; DNS is not asked about names
that it did not answer. Method: a program that asks, with a name service, /etc/hosts and /etc/resolv.conf of the test's.
The argument is the program.
"""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
import namespaces                                         # noqa: E402
import tap                                                # noqa: E402
from name_service import IPV4, IPV6, NameService          # noqa: E402

ASK = sys.argv.pop(1)
NOT_ISOLATED = namespaces.isolate()
FILES = {
    '/etc/resolv.conf': 'nameserver 127.0.0.53\nsearch corp.example\noptions timeout:30 attempts:5\n',
    '/etc/hosts': '127.0.0.1 localhost\n127.0.0.7 there.example Alias  # not.example\n',
    '/etc/nsswitch.conf': 'hosts: files dns\n',
}
NO_NAME = -2


@unittest.skipIf(NOT_ISOLATED, NOT_ISOLATED)
class Life(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        folder = cls.stack.enter_context(tempfile.TemporaryDirectory())
        for path, text in FILES.items():
            if pathlib.Path(path).exists():
                namespaces.replace_file(path, text, folder)
                cls.stack.callback(subprocess.run, ['umount', str(pathlib.Path(path).resolve())], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def ask(self, name):
        done = subprocess.run([ASK, name], capture_output=True, text=True, timeout=60, check=True)
        _, error, seconds, *addresses = done.stdout.split()
        return int(error), None if seconds == '-' else int(seconds), addresses

    def test_of_addresses_is_the_records(self):
        with NameService({'a.example': ['127.0.0.2', '127.0.0.3']}, seconds=77) as service:
            error, seconds, addresses = self.ask('A.example')
            self.assertEqual((error, seconds, sorted(addresses)), (0, 77, ['127.0.0.2', '127.0.0.3']))
            # No question for a family without an address.
            self.assertEqual(service.questions['a.example', IPV4], 2)
            self.assertEqual(service.questions['a.example', IPV6], 1)

    def test_of_both_families_is_that_of_the_shorter_one(self):
        with NameService({'b.example': ['127.0.0.2', '::1']}, seconds=78) as service:
            error, seconds, addresses = self.ask('b.example')
            self.assertEqual((error, seconds, len(addresses)), (0, 78, 2))
            self.assertEqual(service.questions['b.example', IPV6], 2)

    def test_is_found_behind_a_search_domain(self):
        with NameService({'db.corp.example': ['127.0.0.4']}, seconds=5):
            self.assertEqual(self.ask('db'), (0, 5, ['127.0.0.4']))

    def test_of_a_denial_is_its_authoritys(self):
        with NameService(denial=(900, 30)):
            self.assertEqual(self.ask('nobody.example'), (NO_NAME, 30, []))
        with NameService(denial=(20, 3600)):
            self.assertEqual(self.ask('nobody.example'), (NO_NAME, 20, []))

    def test_of_a_denial_without_an_authority_is_not_told(self):
        with NameService():
            self.assertEqual(self.ask('nobody.example'), (NO_NAME, None, []))

    def test_of_names_that_dns_did_not_answer_is_not_asked_for(self):
        with NameService() as service:
            for name in 'there.example', 'THERE.example', 'alias':
                self.assertEqual(self.ask(name), (0, None, ['127.0.0.7']))
            self.assertEqual(self.ask('localhost')[:2], (0, None))
            self.assertEqual(service.questions, {})
            # Behind a `#` no name stands.
            self.assertEqual(self.ask('not.example')[0], NO_NAME)
            self.assertTrue(service.questions)


if __name__ == '__main__':
    tap.main()
