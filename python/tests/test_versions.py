"""--mcpu=x86-64-multi: one executable, several versions of the code over the same
packed weights. Each version that this machine runs is forced by QC_ISA; emulated
CPUs pick theirs themselves."""

import json
import os
import shutil
import unittest

import numpy as np

from qc_test import tools

STORY = os.path.join(tools.EXAMPLES, "stories260K")
# Best first, and what cpuid must report beyond the psABI's level.
VERSIONS = {
    "x86-64-v4-amx": (
        "x86-64-v4",
        {"avx512_vnni", "avx512vbmi", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"},
    ),
    "x86-64-v4-vbmi": ("x86-64-v4", {"avx512_vnni", "avx512vbmi"}),
    "x86-64-v4-vnni": ("x86-64-v4", {"avx512_vnni"}),
    "x86-64-v4": ("x86-64-v4", set()),
    "x86-64-v3-vnni": ("x86-64-v3", {"avx_vnni"}),
    "x86-64-v3": ("x86-64-v3", set()),
    "x86-64-v2": ("x86-64-v2", set()),
}


def runs_here(version):
    level, features = VERSIONS[version]
    return level in tools.cpu_levels() and features <= tools.cpu_flags()


def forced(version):
    return {**os.environ, "QC_ISA": version}


class VersionsTest(tools.Scratch):
    compiled = {}

    def executable(self, *options):
        """Of stories260K for all versions, compiled once for the class."""
        if options not in self.compiled:
            path = os.path.join(self.folder, f"multi{len(self.compiled)}")
            tools.compile_model(STORY, path, "--mcpu=x86-64-multi", *options)
            self.compiled[options] = path
        return self.compiled[options]

    def need(self, version):
        if not runs_here(version):
            self.skipTest(f"skipped: this CPU does not run {version}")

    def check_golden(self, version):
        self.need(version)
        golden = np.load(tools.shared("models", "stories260K", "golden.npz"))
        executable = self.executable("--quantize=none")
        ids = self.write_ids(golden["p0_ids"])
        environment = forced(version)
        out = self.path(f"{version}.npy")
        tools.run([executable, "--logits", ids, "--output", out], env=environment)
        error = tools.relative(np.load(out), golden["p0_logits"])
        print(f"{version}: {error:.1e} to transformers")
        self.assertLessEqual(error, 1e-3)
        done = tools.run(
            [executable, "--generate-ids", ids, "--tokens", 16,
             "--temperature", 0, "--ignore-eos"], env=environment
        )  # fmt: skip
        greedy = [int(word) for word in done.stdout.split()]
        self.assertEqual(greedy, [int(t) for t in golden["p0_greedy"][:16]])

    def check_formats(self, version):
        """Kernels of packed weights against sums in double."""
        self.need(version)
        for quantize in ("int4_sym", "nf4"):
            executable = self.executable(f"--quantize={quantize}")
            self.check_self_test(executable, version)

    def check_self_test(self, executable, version):
        done = tools.run([executable, "--self-test"], env=forced(version))
        self.assertRegex(done.stdout, r"(?m)^[1-9]\d* passed, 0 failed$")

    def test_codebooks(self):
        """Row blocks of 64 for AVX-512's look-ups; other versions take them in
        pieces."""
        module, quantized = self.path("m.mlir"), self.path("q.mlir")
        tools.run([tools.tool("qc-import"), STORY, "-o", module])
        passes = f"qc-quantize-aqlm{{books=2 bits=8 output-dir={self.folder}}}"
        tools.run([tools.tool("qc-opt"), module, "-o", quantized,
                   f"--pass-pipeline=builtin.module({passes})"])  # fmt: skip
        executable = tools.compile_model(
            quantized, self.path("codebooks"), "--mcpu=x86-64-multi"
        )
        for version in filter(runs_here, VERSIONS):
            with self.subTest(version=version):
                self.check_self_test(executable, version)

    def info(self, *prefix, env=None):
        executable = self.executable("--quantize=none")
        done = tools.run([*prefix, executable, "--info", "--json"], env=env)
        return json.loads(done.stdout)["abi"]

    def test_info(self):
        """All versions, and the best that this machine runs."""
        abi = self.info()
        self.assertEqual(abi["versions"], list(VERSIONS))
        best = next((v for v in VERSIONS if runs_here(v)), None)
        if best is None:
            self.skipTest("skipped: this CPU does not run x86-64-v2")
        self.assertEqual(abi["target_cpu"], best)
        text = tools.run([self.executable("--quantize=none"), "--info"]).stdout
        listed = ", ".join(VERSIONS)
        self.assertRegex(text, f"(?m)^code versions +{listed}: {best} runs here$")

    def test_one_copy_of_the_weights(self):
        """The blob is as large as that of one version for the widest vectors."""
        single = tools.compile_model(
            STORY, self.path("single"), "--mcpu=x86-64-v4-vbmi", "--quantize=none"
        )
        done = tools.run([single, "--info", "--json"])
        self.assertEqual(
            self.info()["weights_bytes"], json.loads(done.stdout)["abi"]["weights_bytes"]
        )

    def test_forced_version_that_the_cpu_lacks(self):
        version = next((v for v in VERSIONS if not runs_here(v)), None)
        prefix = ()
        if version is None:  # a CPU that runs all of them
            if not shutil.which("qemu-x86_64"):
                self.skipTest("skipped: no qemu-x86_64 (package qemu-user)")
            version, prefix = "x86-64-v3", ("qemu-x86_64", "-cpu", "Nehalem")
        self.check_refusal(
            version, 4, rf"this CPU lacks [a-z0-9., ]+, .*--mcpu={version}\)$", prefix
        )

    def test_forced_version_unknown(self):
        self.check_refusal(
            "x86-64-v9", 2, rf"QC_ISA=x86-64-v9: .* {', '.join(VERSIONS)}$"
        )

    def check_refusal(self, version, code, message, prefix=()):
        ids = self.write_ids([1, 2, 3])
        done = tools.run(
            [*prefix, self.executable("--quantize=none"), "--generate-ids", ids,
             "--tokens", 2],
            check=False, env=forced(version),
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr.rstrip("\n"), message)

    def check_emulated(self, cpu, version):
        if not shutil.which("qemu-x86_64"):
            self.skipTest("skipped: no qemu-x86_64 (package qemu-user)")
        prefix = ["qemu-x86_64", "-cpu", cpu]
        self.assertEqual(self.info(*prefix)["target_cpu"], version)
        golden = np.load(tools.shared("models", "stories260K", "golden.npz"))
        done = tools.run(
            [*prefix, self.executable("--quantize=none"), "--generate-ids",
             self.write_ids(golden["p0_ids"]), "--tokens", 8,
             "--temperature", 0, "--ignore-eos"]
        )  # fmt: skip
        greedy = [int(word) for word in done.stdout.split()]
        self.assertEqual(greedy, [int(t) for t in golden["p0_greedy"][:8]])

    def test_emulated_nehalem_runs_v2(self):
        self.check_emulated("Nehalem", "x86-64-v2")

    def test_emulated_haswell_runs_v3(self):
        self.check_emulated("Haswell", "x86-64-v3")


def add_cases():
    for version in VERSIONS:
        for check in ("golden", "formats"):

            def case(self, check=check, version=version):
                getattr(self, f"check_{check}")(version)

            name = version.replace("-", "_")
            setattr(VersionsTest, f"test_{check}_{name}", case)


add_cases()

if __name__ == "__main__":
    unittest.main()
