"""`qc-compile --tune` measures, remembers, and later compilations use it."""

import json
import os
import unittest

from qc_test import tools

STORY = os.path.join(tools.EXAMPLES, "stories260K")
PROMPT = ["--prompt", "Once upon a time", "--temperature", "0"]
# LLVM's name of a CPU, and a flag of /proc/cpuinfo that it has.
RARE = {"sapphirerapids": "avx512_fp16", "alderlake": "avx_vnni"}


class TuningTest(tools.Scratch):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = tools.compile_model(STORY, os.path.join(cls.folder, "plain"))
        cls.cache = os.path.join(cls.folder, "cache")
        cls.file = os.path.join(cls.cache, "qc", "tuning.json")
        cls.tuned = os.path.join(cls.folder, "tuned")
        cls.log = cls.compile(
            cls.tuned, "--tune", "--tune-seconds=10", "--mcpu=native"
        ).stderr

    @classmethod
    def compile(cls, output, *options, cache=None, **kwargs):
        return tools.run(
            [tools.tool("qc-compile"), STORY, "-o", output, *options],
            env=dict(os.environ, XDG_CACHE_HOME=cache or cls.cache),
            **kwargs,
        )

    def tokens(self, executable):
        return tools.run([executable, *PROMPT, "--tokens", "60", "--quiet"]).stdout

    def tuning(self, executable):
        info = json.loads(tools.run([executable, "--info", "--json"]).stdout)
        return info.get("tuning")

    def test_measures_and_says_so(self):
        # One line for each decision, nothing else; figures where it measured.
        for line in self.log.splitlines():
            self.assertRegex(line, r"^tune: \S.*/(int8|f32): ")
        self.assertRegex(self.log, r"\d us")

    def test_remembers(self):
        with open(self.file) as file:
            content = json.load(file)
        self.assertEqual(content["version"], 1)
        self.assertGreaterEqual(len(content["tunings"]), 1)
        for entry in content["tunings"]:
            self.assertEqual(entry["mcpu"], "native")
            self.assertRegex(entry["kernels"], r"^\w+<.*>/(int8|f32)$")
        self.assertEqual(os.listdir(os.path.dirname(self.file)), ["tuning.json"])

    def test_computes_the_same(self):
        self.assertEqual(self.tokens(self.tuned), self.tokens(self.plain))
        tools.run([self.tuned, "--self-test"])

    def test_later_compilation_is_the_same(self):
        again = self.path("again")
        self.assertEqual(self.compile(again, "--mcpu=native").stderr, "")
        with open(again, "rb") as one, open(self.tuned, "rb") as other:
            self.assertEqual(one.read(), other.read())

    def test_what_is_remembered_is_used(self):
        cache = self.path("cache2")
        os.makedirs(os.path.join(cache, "qc"))
        with open(self.file) as file:
            content = json.load(file)
        for entry in content["tunings"]:
            entry["tuning"] = "token-tile=2,sums=2"
        path = os.path.join(cache, "qc", "tuning.json")
        with open(path, "w") as file:
            json.dump(content, file)
        used, other, ignored = (self.path(n) for n in ("used", "other", "ignored"))
        self.compile(used, cache=cache)
        self.assertIn("token-tile=2,sums=2", self.tuning(used)["kernels"])
        self.assertTrue(self.tuning(used)["measured_on"])
        self.assertIn("token-tile=2,sums=2", tools.run([used, "--info"]).stdout)
        self.assertEqual(self.tokens(used), self.tokens(self.plain))
        tools.run([used, "--self-test"])
        # Another CPU to generate for, and --no-tuning: as if nothing were there.
        self.compile(other, "--mcpu=x86-64-v2", cache=cache)
        self.assertIsNone(self.tuning(other))
        self.compile(ignored, "--no-tuning", cache=cache)
        with open(ignored, "rb") as one, open(self.plain, "rb") as two:
            self.assertEqual(one.read(), two.read())
        # Another machine's measurements.
        for entry in content["tunings"]:
            entry["cpu"] = "Z80"
        with open(path, "w") as file:
            json.dump(content, file)
        self.compile(other, cache=cache)
        self.assertIsNone(self.tuning(other))

    def test_explicit_constants(self):
        path = self.path("explicit")
        for text in ("token-tile=1,sums=1", "token-tile=16,sums=16,strip=1,prefetch=64"):
            self.compile(path, f"--tuning={text}")
            self.assertEqual(self.tuning(path), {"kernels": text})
            self.assertEqual(self.tokens(path), self.tokens(self.plain))
            tools.run([path, "--self-test"])

    def test_foreign_cpu_is_refused(self):
        names = [n for n, flag in RARE.items() if flag not in tools.cpu_flags()]
        if not names:
            self.skipTest("skipped: this CPU has all of " + ", ".join(RARE.values()))
        path = self.path("foreign")
        done = self.compile(path, "--tune", f"--mcpu={names[0]}", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(
            done.stderr,
            "qc-compile: error: --tune: this machine cannot run kernels for "
            f"--mcpu={names[0]}\n",
        )
        self.assertFalse(os.path.exists(path))


if __name__ == "__main__":
    unittest.main()
