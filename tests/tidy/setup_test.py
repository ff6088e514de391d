"""Goal: tools/setup installs what is missing and never removes a package of the user's.
Method: the real script with a PATH in which apt-get, dpkg-query, id and sudo are scripts of the test that write down
how they were called; apt-get -s answers what the case says. Nothing of the host is changed."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
from tests.support import tap  # noqa: E402

SETUP = ROOT / 'tools' / 'setup'

# As apt-get -s writes it where Debian's default Boost (1.74) is installed.
BOOST_PLAN = '''Reading package lists...
Building dependency tree...
The following packages will be REMOVED:
  libboost-dev libboost1.74-dev
The following NEW packages will be installed:
  libboost1.81-dev
Remv libboost-dev [1.74.0.3]
Remv libboost1.74-dev [1.74.0+ds1-21]
Inst libboost1.81-dev (1.81.0-5+deb12u1 Debian:12.11/oldstable [amd64])
Conf libboost1.81-dev (1.81.0-5+deb12u1 Debian:12.11/oldstable [amd64])
'''
CLEAN_PLAN = '''Reading package lists...
Inst libboost1.81-dev (1.81.0-5+deb12u1 Debian:12.11/oldstable [amd64])
Conf libboost1.81-dev (1.81.0-5+deb12u1 Debian:12.11/oldstable [amd64])
'''

FAKES = {
    'apt-get': '''#!/bin/bash
echo "apt-get $*" >> "$SETUP_LOG"
if [ "$1" = -s ]; then
  updated=$(grep -c "^apt-get update" "$SETUP_LOG")
  cat "$SETUP_PLANS/$updated"
  exit "$(cat "$SETUP_PLANS/status")"
fi
''',
    # All but what the case misses is installed.
    'dpkg-query': '''#!/bin/bash
for word in "$@"; do
  case $word in -*) ;; *) [[ " $SETUP_MISSING " = *" $word "* ]] || echo "$word installed" ;; esac
done
''',
    'id': '#!/bin/bash\necho 1000\n',
    'node': '#!/bin/bash\n',
    # Runs the fake apt-get; nothing else as root.
    'sudo': '''#!/bin/bash
echo "sudo $*" >> "$SETUP_LOG"
if [ "$1" = apt-get ]; then exec "$@"; fi
cat > /dev/null < /dev/stdin || true
''',
}


class Setup(unittest.TestCase):

    def run_setup(self, missing, plan, later=None, status=0, **environment):
        """The exit status, stderr and the calls; `plan` is what apt-get -s says, `later` after an update."""
        with tempfile.TemporaryDirectory() as folder:
            base = pathlib.Path(folder)
            bin_folder, plans, log = base / 'bin', base / 'plans', base / 'log'
            bin_folder.mkdir()
            plans.mkdir()
            log.touch()
            (plans / '0').write_text(plan, encoding='utf-8')
            (plans / '1').write_text(plan if later is None else later, encoding='utf-8')
            (plans / 'status').write_text(str(status), encoding='utf-8')
            for name, text in FAKES.items():
                (bin_folder / name).write_text(text, encoding='utf-8')
                (bin_folder / name).chmod(0o755)
            run = subprocess.run(
                [SETUP], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
                env={'PATH': f'{bin_folder}:{os.environ["PATH"]}', 'SETUP_LOG': str(log), 'SETUP_PLANS': str(plans),
                     'SETUP_MISSING': missing, **environment})
            return run.returncode, run.stderr, log.read_text(encoding='utf-8').splitlines()

    def test_a_package_of_the_users_is_not_removed(self):
        status, told, calls = self.run_setup('libboost1.81-dev', BOOST_PLAN)
        self.assertEqual(status, 1)
        for words in ('nothing was changed', 'libboost-dev libboost1.74-dev', 'libboost1.81-dev', 'BOOST_ROOT=',
                      'apt-get remove libboost-dev libboost1.74-dev'):
            self.assertIn(words, told)
        # Tried, as the user: nothing else.
        self.assertEqual(calls, ['apt-get -s install --no-install-recommends libboost1.81-dev'])

    def test_a_conflict_that_only_new_lists_show_is_one_too(self):
        status, told, calls = self.run_setup('libboost1.81-dev', CLEAN_PLAN, later=BOOST_PLAN)
        self.assertEqual(status, 1)
        self.assertIn('libboost1.74-dev', told)
        self.assertEqual([call for call in calls if call.startswith('sudo')], ['sudo apt-get update -qq'])

    def test_any_other_package_is_as_safe(self):
        plan = 'Remv docker.io [20.10]\nInst qemu-user-static (1:7.2 Debian:12 [amd64])\n'
        status, told, calls = self.run_setup('qemu-user-static', plan)
        self.assertEqual(status, 1)
        self.assertIn('would remove: docker.io', told)
        self.assertNotIn('Boost', told)
        self.assertEqual(len(calls), 1)

    def test_what_is_missing_is_installed_and_apt_may_remove_nothing(self):
        status, told, calls = self.run_setup('libboost1.81-dev valgrind', CLEAN_PLAN)
        self.assertEqual((status, told), (0, ''))
        install = [call for call in calls if call.startswith('sudo apt-get install')]
        self.assertEqual(len(install), 1)
        self.assertIn(' --no-remove ', install[0])
        self.assertTrue(install[0].endswith(' valgrind libboost1.81-dev'), install[0])

    def test_nothing_is_called_when_all_is_there(self):
        self.assertEqual(self.run_setup('', CLEAN_PLAN), (0, '', []))

    def test_a_boost_from_elsewhere_is_taken(self):
        status, _, calls = self.run_setup('libboost1.81-dev', BOOST_PLAN, BOOST_ROOT='/opt/boost')
        self.assertEqual((status, calls), (0, []))

    def test_what_cannot_be_tried_is_left_to_the_installation(self):
        status, _, calls = self.run_setup('valgrind', 'E: Unable to locate package valgrind\n', status=100)
        self.assertEqual(status, 0)
        self.assertIn('sudo apt-get update -qq', calls)
        self.assertTrue(any('install -y' in call for call in calls))


if __name__ == '__main__':
    tap.main()
