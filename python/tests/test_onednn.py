"""`--prefill-backend=onednn`: golden logits of a real model with and without it,
what runs where the library is missing, and which combinations are refused."""

import ctypes
import os

import numpy as np

from qc_test import tools

SOURCE = "babyllama-tok105"


def problem():
    """Why oneDNN cannot multiply here, or nothing."""
    try:
        ctypes.CDLL("libdnnl.so.2")
    except OSError as error:
        return str(error)
    if "avx512f" not in tools.cpu_flags():
        return "oneDNN's kernels for packed weights need AVX-512"
    return ""


class OneDNNTest(tools.Scratch):
    def compile(self, *options, check=True):
        return tools.run(
            [tools.tool("qc-compile"), self.source, "-o", self.path("o"), *options], check=check
        )

    def setUp(self):
        self.source = tools.shared("models", SOURCE)

    def executable(self):
        done = self.compile(
            "--quantize=none", "--mcpu=x86-64-v4", "--prefill-backend=onednn", check=False
        )
        if "built without oneDNN" in done.stderr:
            self.skipTest("skipped: qc was built without oneDNN")
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.path("o")

    def test_golden_logits(self):
        if why := problem():
            self.skipTest(f"skipped: {why}")
        golden = np.load(f"{self.source}/golden.npz")
        ids, expected = golden["p0_ids"], golden["p0_logits"]
        # The golden prompt is short: it stands at the beginning of a long one,
        # which later tokens do not change.
        long = np.concatenate([ids, np.resize(ids[1:], 140 - len(ids))])
        file = self.write_ids(long)
        with_it = self.executable()
        without = tools.compile_model(
            self.source, self.path("g"), "--quantize=none", "--mcpu=x86-64-v4"
        )
        for name in (with_it, without):
            for threads in (1, 2, 3):
                logits = tools.logits(name, file, self.path("l"), "--threads", threads)
                error = tools.relative(logits[: len(ids)], expected)
                print(os.path.basename(name), threads, f"{error:.1e}")
                self.assertLess(error, 1e-4)
        # oneDNN itself says what it runs: bits may well be equal.
        done = tools.run(
            [with_it, "--logits", file, "--output", self.path("v.npy"), "--quiet"],
            env={**os.environ, "DNNL_VERBOSE": "1"},
        )
        self.assertRegex(done.stdout, r"onednn_verbose,exec,cpu,matmul,brg.*f32::blocked:BA16a16b")

    def test_missing_library(self):
        if "avx512f" not in tools.cpu_flags():
            self.skipTest("skipped: this CPU has no AVX-512")
        executable = self.executable()
        # Of this name is another file: the loader gives up.
        folder = self.path("empty")
        os.makedirs(folder)
        open(f"{folder}/libdnnl.so.2", "w").close()
        ids = self.write_ids(np.arange(1, 131) % 100)
        plain = tools.compile_model(
            self.source, self.path("g"), "--quantize=none", "--mcpu=x86-64-v4"
        )
        command = [executable, "--logits", ids, "--output", self.path("a.npy")]
        done = tools.run(command, env={**os.environ, "LD_LIBRARY_PATH": folder})
        self.assertRegex(
            done.stderr, r"\Anote: libdnnl\.so\.2 not found, prompts are computed without it [^\n]*\n\Z"
        )
        expected = tools.logits(plain, ids, self.path("b"))
        np.testing.assert_array_equal(np.load(self.path("a.npy")), expected)

    def test_refusals(self):
        self.executable()
        for options, words in (
            (["--prefill-backend=mkl"], "expected generated or onednn"),
            (["--prefill-backend=onednn", "--reproducible"], "--reproducible"),
            (["--prefill-backend=onednn", "--target=spirv"], "is for --target=cpu"),
            (["--prefill-backend=onednn", "--max-tokens=64"], "--max-tokens"),
            (["--prefill-backend=onednn", "--quantize=int8"], "no matmul has f32"),
            (["--prefill-backend=onednn", "--mcpu=x86-64-v3"], "no matmul has f32"),
        ):
            quantize = [] if any("quantize" in o for o in options) else ["--quantize=none"]
            done = self.compile(*quantize, *options, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    import unittest

    unittest.main()
