#!/usr/bin/env python3
"""Runs qc's tests of an existing build and counts every case.

Four kinds: the check of generated docs, GoogleTest binaries (as ctest knows
them), lit, Python integration tests. Each reports its cases in JSON; the last line printed is

    N passed, N failed, N skipped

A binary that crashes, times out or reports no case counts as one failure, so
that tests cannot vanish silently. Exit status 1 when anything failed.
Standard library only: it must run before .venv exists.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KINDS = ("docs", "unit", "lit", "python")
# GoogleTest binaries of minutes, and in how many processes their cases run.
SHARDS = {"CPUKernelTest": 6, "VulkanKernelTest": 4, "NVPTXKernelTest": 4}


class Tally:
    """Cases of one kind: counts, and (name, why) of each failure."""

    def __init__(self, kind):
        self.kind = kind
        self.passed = self.skipped = 0
        self.failures = []
        self.skips = []

    def fail(self, name, why):
        self.failures.append((name, why.strip()))

    def skip(self, name, why):
        self.skipped += 1
        self.skips.append((name, why.strip()))

    def __str__(self):
        return (
            f"{self.passed} passed, {len(self.failures)} failed, "
            f"{self.skipped} skipped"
        )


def run(command, timeout, **kwargs):
    """(exit status or None on time-out, combined output)"""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            errors="replace",
            text=True,
            **kwargs,
        )
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return None, output.decode(errors="replace") if isinstance(
            output, bytes
        ) else output


def tail(text, lines=25):
    return "\n".join(text.strip().splitlines()[-lines:])


def load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def gtest_binary(command, shard, directory, timeout):
    """(name, report or None, exit status, output) of one GoogleTest binary, or of
    its cases of one shard."""
    name = os.path.basename(command[0])
    shards = SHARDS.get(name, 1)
    environment = dict(
        os.environ, GTEST_TOTAL_SHARDS=str(shards), GTEST_SHARD_INDEX=str(shard)
    )
    with tempfile.TemporaryDirectory() as scratch:
        report = os.path.join(scratch, "report.json")
        status, output = run(
            command + [f"--gtest_output=json:{report}", "--gtest_brief=1"],
            timeout,
            cwd=directory,
            env=environment,
        )
        return name, load(report), status, output


def docs_test(args, tally):
    script = os.path.join(ROOT, "utils", "check-docs.sh")
    status, output = run([script, args.build], 60)
    if status == 0:
        tally.passed += 1
    else:
        tally.fail("check-docs.sh", tail(output))


def unit_tests(args, tally):
    status, listing = run(
        ["ctest", "--test-dir", args.build, "--show-only=json-v1"], 60
    )
    try:
        tests = json.loads(listing)["tests"]
    except (ValueError, KeyError):
        tally.fail("ctest", f"cannot list the tests of {args.build}: {tail(listing)}")
        return
    commands = [t["command"] for t in tests if "command" in t]
    for test in tests:
        if "command" not in test:
            tally.fail(test["name"], "not built")
    runs = [
        (command, shard)
        for command in commands
        for shard in range(SHARDS.get(os.path.basename(command[0]), 1))
    ]
    # The long ones first, so that no core idles at the end.
    runs.sort(key=lambda r: -SHARDS.get(os.path.basename(r[0][0]), 1))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = pool.map(
            lambda r: gtest_binary(*r, args.build, args.timeout), runs
        )
        for name, report, status, output in results:
            if report is None:
                how = "timed out" if status is None else f"exit status {status}"
                tally.fail(name, f"no report, {how}\n{tail(output)}")
                continue
            cases = failed = 0
            for suite in report.get("testsuites", []):
                for case in suite.get("testsuite", []):
                    cases += 1
                    full = f"{name}: {suite['name']}.{case['name']}"
                    if case.get("failures"):
                        failed += 1
                        tally.fail(full, case["failures"][0].get("failure", ""))
                    elif case.get("result") == "COMPLETED":
                        tally.passed += 1
                    else:
                        tally.skip(full, case.get("result", "not run").lower())
            if not cases:
                tally.fail(name, "has no test")
            if status != 0 and not failed:
                tally.fail(name, f"exit status {status}\n{tail(output)}")


def lit_tests(args, tally):
    suites = [os.path.join(args.build, "lit", s) for s in ("test", "lib")]
    lit = next(
        (
            path
            for name in ("lit-22", "llvm-lit", "lit")
            for path in [
                os.path.join(d, name) for d in os.environ["PATH"].split(os.pathsep)
            ]
            if os.access(path, os.X_OK)
        ),
        None,
    )
    if lit is None:
        tally.fail("lit", "lit-22 is not on PATH (package llvm-22-tools)")
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "lit.json")
        status, output = run(
            [lit, "-v", f"-j{args.jobs}", "-o", path] + suites,
            args.timeout * 2,
        )
        report = load(path)
    if report is None or not report.get("tests"):
        tally.fail("lit", f"no report, exit status {status}\n{tail(output)}")
        return
    for test in report["tests"]:
        code, name = test["code"], test["name"]
        if code in ("PASS", "XFAIL", "FLAKYPASS"):
            tally.passed += 1
        elif code in ("UNSUPPORTED", "SKIPPED", "EXCLUDED"):
            tally.skip(name, test.get("output", "") or code.lower())
        else:
            tally.fail(name, f"{code}\n{test.get('output', '')}")


def python_tests(args, tally):
    interpreter = os.path.join(ROOT, ".venv", "bin", "python")
    if not os.access(interpreter, os.X_OK):
        tally.fail("python", "there is no .venv: run utils/setup.sh")
        return
    folder = os.path.join(ROOT, "python")
    modules = sorted(
        f[:-3]
        for f in os.listdir(os.path.join(folder, "tests"))
        if f.startswith("test_") and f.endswith(".py")
    )
    environment = dict(
        os.environ,
        QC_BUILD_DIR=args.build,
        QC_TOKENIZE=os.path.join(args.build, "bin", "qc-tokenize"),
        PYTHONPATH=folder,
    )

    def one(module):
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "report.json")
            begin = time.monotonic()
            status, output = run(
                [interpreter, "-m", "qc_test.runner", f"tests.{module}", path],
                args.timeout,
                cwd=folder,
                env=environment,
            )
            return module, load(path), status, output, time.monotonic() - begin

    # Compilation and generation use all cores themselves.
    for module, report, status, output, seconds in map(one, modules):
        print(f"   {module}: {seconds:.0f} s")
        if args.verbose:
            print(output)
        if report is None:
            how = "timed out" if status is None else f"exit status {status}"
            tally.fail(module, f"no report, {how}\n{tail(output)}")
            continue
        for case in report:
            if case["outcome"] == "passed":
                tally.passed += 1
            elif case["outcome"] == "skipped":
                tally.skip(case["name"], case["detail"])
            else:
                tally.fail(case["name"], case["detail"])
        if not report:
            tally.fail(module, f"has no test\n{tail(output)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--build", default=os.path.join(ROOT, "build", "release"), help="build folder"
    )
    parser.add_argument("--only", choices=KINDS, action="append", help="kind of test")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--timeout", type=int, default=2400, help="seconds per binary or module"
    )
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    # ptxas of the package nvidia-cuda-nvcc.
    tools = os.path.join(ROOT, ".venv/lib/python*/site-packages/nvidia/cu*/bin")
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *glob.glob(tools)])

    runners = {"docs": docs_test, "unit": unit_tests, "lit": lit_tests, "python": python_tests}
    tallies = []
    for kind in args.only or KINDS:
        print(f"== {kind} tests", flush=True)
        tally = Tally(kind)
        begin = time.monotonic()
        runners[kind](args, tally)
        print(f"   {tally}, {time.monotonic() - begin:.0f} s", flush=True)
        tallies.append(tally)

    for tally in tallies:
        for name, why in tally.failures:
            print(f"\nFAILED ({tally.kind}) {name}\n{tail(why, 40)}")
    skips = [(t.kind, n, w) for t in tallies for n, w in t.skips]
    if skips:
        print("\nSkipped:")
        for kind, name, why in skips:
            print(f"  ({kind}) {name}: {why.splitlines()[0] if why else ''}")
    passed = sum(t.passed for t in tallies)
    failed = sum(len(t.failures) for t in tallies)
    skipped = sum(t.skipped for t in tallies)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
