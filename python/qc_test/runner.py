"""python -m qc_test.runner MODULE REPORT.json: runs the unittest cases of one
module and writes [{"name", "outcome": passed|failed|skipped, "detail"}].

A case that has failing subtests counts as one failure.
"""

import json
import sys
import unittest


class Recorder(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.report = []

    def _add(self, test, outcome, detail=""):
        self.report.append(
            {"name": test.id(), "outcome": outcome, "detail": detail}
        )

    def addSuccess(self, test):
        super().addSuccess(test)
        self._add(test, "passed")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._add(test, "passed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._add(test, "failed", "passed, but was expected to fail")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._add(test, "skipped", reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._add(test, "failed", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._add(test, "failed", self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            log = self.failures or self.errors
            self._add(test, "failed", f"{subtest.id()}\n{log[-1][1]}")


def main():
    module, path = sys.argv[1:]
    try:
        suite = unittest.defaultTestLoader.loadTestsFromName(module)
    except unittest.SkipTest as skip:
        with open(path, "w") as file:
            json.dump(
                [{"name": module, "outcome": "skipped", "detail": str(skip)}], file
            )
        return 0
    # Output of passing cases stays: tests print the figures they measure.
    runner = unittest.TextTestRunner(
        stream=sys.stderr, verbosity=2, resultclass=Recorder
    )
    result = runner.run(suite)
    with open(path, "w") as file:
        json.dump(result.report, file)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
