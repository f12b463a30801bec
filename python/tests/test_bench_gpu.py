"""bench/gpu without a GPU: what it reads of qc's profiles, what it refuses, its
tables. The measurements themselves need PyTorch and a device."""

import argparse
import contextlib
import copy
import importlib
import io
import json
import os
import stat
import sys

from qc_test import tools

FOLDER = os.path.join(tools.ROOT, "bench", "gpu")
DEVICE = "NVIDIA H100 80GB HBM3"
PRODUCT = "matmul_4096x4096_grouped_bits_4_group_128_scale_f16_int8_t512_m1"
BYTES = 4096 * 4096 // 2 + 4096 * 32 * 2


def load(name):
    sys.path.insert(0, FOLDER)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(FOLDER)


qc_profile, report = load("qc_profile"), load("kernel_report")
timing, bench = load("kernel_timing"), load("bench_kernels")


def profile(tokens=16, microseconds=4.0, name=PRODUCT):
    kernel = {"name": name, "launches": 32, "microseconds": microseconds, "bytes": BYTES}
    other = {"name": "advance", "launches": 1, "microseconds": 1.0, "bytes": 0}
    steps = {
        key: {"tokens": t, "microseconds": 200.0, "kernels": [kernel, other]}
        for key, t in (("decode", 1), ("prefill", tokens))
    }
    return copy.deepcopy({"device": DEVICE, "model": "m", "format": "f", "steps": steps})


def peer(microseconds, tokens=1, **more):
    return {
        "engine": "torch f16", "format": "", "rows": 4096, "columns": 4096,
        "tokens": tokens, "microseconds": microseconds, "bytes": 2 * 4096 * 4096,
        "rotation_bytes": 1 << 30, **more,
    }  # fmt: skip


def record(*results, models=()):
    gpu = {"name": DEVICE, "capability": "9.0", "multiprocessors": 132,
           "memory_bytes": 80 << 30, "l2_bytes": 50 << 20, "driver": "580"}  # fmt: skip
    return {
        "machine": {"gpu": gpu, "cpu": "a CPU", "cpus": 2, "kernel": "6"},
        "date": "2026-11-27", "commands": [["bench"]], "versions": {"qc": "1"},
        "rounds": 3, "replays": 20, "caches": 4, "skipped": [["bnb", "no bnb"]],
        "rates": {"copy": 3e12, "read": 3e12, "f16": 7e14, "int8": 1e15,
                  "launch_us": 1.5},
        "models": list(models), "results": list(results),
    }  # fmt: skip


class BenchGPUTest(tools.Scratch):
    def executable(self, text, status=0):
        path = self.path("qc-model")
        with open(path, "w") as file:
            file.write(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\necho a reason >&2\nexit {status}\n")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def test_names_of_products(self):
        q4 = "grouped bits 4 group 128 scale f16 int8"
        for name, wanted in (
            (PRODUCT, (4096, 4096, q4)),
            # Both of one kernel; the residual and the tile are no part of the format.
            ("matmul_5632x2048_grouped_bits_4_group_128_scale_f16_int8_5632x2048_grouped_"
             "bits_4_group_128_scale_f16_silu_m32_mma", (11264, 2048, q4)),
            ("matmul_2048x5632_lut_nf4_group_64_int8_residual_m64_mma",
             (2048, 5632, "lut nf4 group 64 int8")),
            # Codebooks have such a part, too.
            ("matmul_256x2048_codebook_2x8_g8_m1", (256, 2048, "codebook 2x8 g8")),
            ("attention_32_4x64f16_3e000000", None),
            ("embedding_32000x2048_grouped_bits_8", None),
        ):  # fmt: skip
            self.assertEqual(qc_profile.parse_product(name), wanted, name)

    def test_profiles_that_are_refused(self):
        qc_profile.check(profile(), 16, DEVICE)
        fat = profile()
        fat["steps"]["decode"]["kernels"][0]["bytes"] *= 100
        for tokens, device, what in (
            (512, DEVICE, profile()),
            (16, "NVIDIA H200", profile()),
            (16, DEVICE, fat),
            (16, DEVICE, profile(microseconds=0)),
        ):
            with self.assertRaises(qc_profile.Mismatch):
                qc_profile.check(what, tokens, device)

    def test_executables(self):
        good = self.executable(json.dumps(profile()))
        self.assertEqual(qc_profile.run(good, 16, DEVICE), profile())
        for text, status, reason in (
            ("", 4, "exit status 4: a reason"),
            ("not JSON", 0, "not a profile"),
            ("{}", 0, "not a profile"),
        ):
            with self.assertRaises(qc_profile.Failed) as caught:
                qc_profile.run(self.executable(text, status), 16, DEVICE)
            self.assertIn(reason, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
        with self.assertRaises(qc_profile.Failed):
            qc_profile.run(self.path("none"), 16, DEVICE)

    def test_medians(self):
        runs = [(t, profile(t, us)) for us in (4.0, 9.0, 5.0) for t in (16, 512)]
        steps = qc_profile.merge(runs)
        self.assertEqual(sorted(steps), [1, 16, 512])
        # The first token is measured beside each prompt.
        self.assertEqual(len(steps[1]["runs"]), 6)
        self.assertEqual(steps[16]["kernels"][0]["microseconds"], 5.0)
        with self.assertRaises(qc_profile.Mismatch):
            qc_profile.merge([*runs, (16, profile(name="matmul_32x128_f32"))])

    def test_rotation(self):
        cache = 50 << 20
        for size in (1000, BYTES, cache, 300 << 20):
            copies = timing.copies_needed(size, cache)
            self.assertGreaterEqual((copies - 1) * size, timing.CACHES * cache)
            for time in (0.5, 20, 1e4, 1e6):
                launches = timing.launches_of(copies, time)
                self.assertEqual(launches % copies, 0)
                if launches < timing.LEAST_LAUNCHES:
                    self.assertGreaterEqual(launches * time, timing.LEAST_MICROSECONDS)
        self.assertEqual(timing.replays_of(20, 500), 20)
        self.assertEqual(timing.replays_of(20, 1e6), 3)

    def test_tables(self):
        steps = qc_profile.merge([(16, profile(16)), (512, profile(512))])
        own = qc_profile.products(steps, "qc model")
        self.assertEqual({r["tokens"] for r in own}, {1, 16, 512})
        model = {"engine": "qc model", "steps": {str(t): s for t, s in steps.items()}}
        text = report.markdown(record(peer(10.0), *own, models=[model]))
        # 8.65 MB in 4 us, of 3 TB/s; the peer takes 10 us.
        row = "| qc model | grouped bits 4 group 128 scale f16 int8 | 4.00 | 8.65 | 2163 |"
        self.assertIn(row + " 8.4 | 72% | **2.50** |", text)
        self.assertIn("- bnb: skipped: no bnb", text)
        self.assertIn("## qc model, a step of 512 tokens", text)

    def test_what_the_cache_holds_is_not_compared(self):
        own = qc_profile.products(qc_profile.merge([(16, profile())]), "qc model")
        for result in own:
            result["rotation_bytes"] = 60 << 20
        text = report.markdown(record(peer(10.0), *own))
        self.assertIn("| 4.00 | 8.65 | (cache) | 8.4 |  |  |", text)

    def test_reports_again(self):
        output = self.path("again")
        report.write(record(peer(10.0)), output)
        with open(output + ".md") as file:
            text = file.read()
        os.remove(output + ".md")
        with contextlib.redirect_stdout(io.StringIO()):
            report.main([output + ".json"])
        with open(output + ".md") as file:
            self.assertEqual(file.read(), text)
        for arguments in ([], [self.path("none.json")]):
            with self.assertRaises(SystemExit) as caught:
                report.main(arguments)
            self.assertNotIn("\n", str(caught.exception))

    def test_arguments(self):
        self.assertEqual(bench.shapes_list("64x128,64x128"), [(64, 128)])
        self.assertEqual(bench.tokens_list("16,1"), [1, 16])
        for parse, text in (
            (bench.shapes_list, "4096"),
            (bench.shapes_list, "33x128"),
            (bench.shapes_list, "32x100"),
            (bench.shapes_list, "-32x128"),
            (bench.tokens_list, "0"),
            (bench.tokens_list, ""),
        ):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                parse(text)
        done = tools.run(
            [sys.executable, os.path.join(FOLDER, "bench_kernels.py"), "--output",
             self.path("x"), "--qc", self.path("none")], check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 2)
        self.assertIn("expected an executable of qc-compile", done.stderr)
