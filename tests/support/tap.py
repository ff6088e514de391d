"""Runs the unittest cases of the calling script and prints TAP, so that each case counts as one.

Use: `if __name__ == '__main__': tap.main()`, and in Meson `test(..., protocol: 'tap')`. Arguments of the script are its
own; `-k TEXT` among them selects the cases whose name contains TEXT.
"""

import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    """Prints one TAP line per case as it ends, with its traceback as comments under it."""

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.number = 0
        self.failed = 0
        self.problems = {}

    def report(self, test, failed, directive='', detail=''):
        self.number += 1
        self.failed += failed
        name = test.id().rpartition('__main__.')[2]
        print(f'{"not ok" if failed else "ok"} {self.number} - {name}{directive}', file=self.out)
        for line in detail.splitlines():
            print('# ' + line, file=self.out)
        self.out.flush()

    def note(self, test, error):
        owner = getattr(test, 'test_case', test)   # a subtest belongs to its case
        self.problems.setdefault(owner, []).append(''.join(traceback.format_exception(*error)))

    def addError(self, test, err):
        self.note(test, err)
        if not isinstance(test, unittest.TestCase):   # setUpClass or setUpModule: no stopTest comes
            self.report(test, True, detail=''.join(self.problems.pop(test)))

    def addFailure(self, test, err):
        self.note(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(subtest, err)

    def addSkip(self, test, reason):
        self.problems[test] = None
        self.report(test, False, directive=f' # SKIP {reason}')

    def stopTest(self, test):
        super().stopTest(test)
        if test in self.problems and self.problems[test] is None:
            return
        problems = self.problems.pop(test, [])
        self.report(test, bool(problems), detail='\n'.join(problems))


def main():
    loader = unittest.TestLoader()
    if '-k' in sys.argv[1:-1]:
        loader.testNamePatterns = [f'*{sys.argv[sys.argv.index("-k", 1) + 1]}*']
    suite = loader.loadTestsFromModule(sys.modules['__main__'])
    out = sys.stdout
    print('TAP version 13', file=out)
    result = TapResult(out)
    suite.run(result)
    print(f'1..{result.number}', file=out)
    sys.exit(1 if result.failed or result.number == 0 else 0)
