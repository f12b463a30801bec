"""Paths of qc's tools and of the shared data, and running them from tests."""

import functools
import os
import subprocess
import tempfile
import unittest

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("QC_BUILD_DIR", os.path.join(ROOT, "build", "release"))
SHARED = os.path.realpath(
    os.environ.get("QC_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))
)
EXAMPLES = os.path.join(ROOT, "examples")
# What --tune remembered on this machine must not change a test.
os.environ["XDG_CACHE_HOME"] = os.path.join(BUILD, "no-cache")

# What each x86-64 level (psABI) adds, as /proc/cpuinfo spells it.
LEVELS = {
    "x86-64-v2": {"sse4_2", "ssse3", "popcnt", "cx16"},
    "x86-64-v3": {"avx2", "fma", "f16c", "bmi2", "movbe", "abm"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v4-vnni": {"avx512_vnni"},  # qc's name: v4 with VNNI
}


def tool(name):
    return os.path.join(BUILD, "bin", name)


def shared(*parts):
    """Path in the shared data; skips the test when it is not there."""
    path = os.path.join(SHARED, *parts)
    if not os.path.exists(path):
        raise unittest.SkipTest(f"skipped: no shared data at {path}")
    return path


@functools.cache
def cpu_flags():
    try:
        with open("/proc/cpuinfo") as file:
            line = next((l for l in file if l.startswith("flags")), "")
    except OSError:
        line = ""
    return frozenset(line.split(":")[-1].split())


def cpu_levels():
    """--mcpu values that this machine runs, `native` last."""
    levels = []
    for level, needed in LEVELS.items():
        if not needed <= cpu_flags():
            break
        levels.append(level)
    return levels + ["native"]


def run(command, check=True, timeout=600, text=True, **kwargs):
    """CompletedProcess; raises AssertionError with stderr if `check` fails."""
    done = subprocess.run(
        [part if isinstance(part, bytes) else str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        text=text,
        **kwargs,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"exit status {done.returncode}: {' '.join(map(str, command))}\n"
            f"{done.stderr}"
        )
    return done


class Scratch(unittest.TestCase):
    """A test case with a folder of its own, removed afterwards."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory(prefix="qc-test-")
        cls.folder = cls._folder.name

    @classmethod
    def tearDownClass(cls):
        cls._folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write_ids(self, ids):
        path = self.path("ids.txt")
        with open(path, "w") as file:
            file.write(" ".join(map(str, ids)) + "\n")
        return path


def compile_model(model, output, *options):
    run([tool("qc-compile"), model, "-o", output, *options])
    return output


def logits(executable, ids_file, scratch, *options):
    """float32 [ids, vocabulary] that the executable computes."""
    path = scratch + ".npy"
    run([executable, "--logits", ids_file, "--output", path, *options])
    return np.load(path)


def generate_ids(executable, ids_file, count):
    done = run(
        [executable, "--generate-ids", ids_file, "--tokens", count,
         "--temperature", 0, "--ignore-eos"]
    )  # fmt: skip
    return [int(word) for word in done.stdout.split()]


# Draws that the device prepares, and such that need all logits.
DRAWS = (
    ("--temperature", "0"),
    ("--temperature", "0.9", "--seed", "1"),
    ("--temperature", "1.5", "--seed", "2", "--top-k", "64", "--top-p", "1"),
    ("--temperature", "1", "--seed", "3", "--top-k", "5", "--min-p", "0"),
    ("--temperature", "1", "--seed", "4", "--top-k", "0"),
    ("--temperature", "0", "--repetition-penalty", "1.2"),
)


def draw_ids(executable, ids, options, count, **more):
    done = run([executable, "--generate-ids", ids, "--tokens", count, *options],
                     **more)  # fmt: skip
    return [int(word) for word in done.stdout.split()]


def relative(actual, expected):
    """max |actual - expected| as a share of the range of `expected`."""
    actual, expected = (np.asarray(a, np.float64) for a in (actual, expected))
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}, expected {expected.shape}")
    if not np.isfinite(actual).all():
        raise AssertionError("not all values are finite")
    return float(np.abs(actual - expected).max() / np.ptp(expected))
