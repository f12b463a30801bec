"""Executables for NVIDIA GPUs (`--target=nvptx`): golden logits of each family,
the CPU target's greedy tokens, and one line for each failure. There is no GPU in
CI: a libcuda.so.1 of the tests (test/Unit/Support/CUDA) checks the calls and runs
the LLVM IR of the kernels on the CPU (test/Unit/Support/NVVM).

With QC_TEST_GPU=1 in the environment NVIDIA's driver and the GPU of this machine
are used instead, for all but the failures."""

import contextlib
import ctypes
import functools
import glob
import json
import os
import tempfile
import unittest
import unittest.mock

import numpy as np

from qc_test import tools
from tests.test_golden import FAMILIES, RANDOM, TRAINED, identifier

STORIES = os.path.join(tools.EXAMPLES, "stories260K")
FAKE = os.path.join(tools.BUILD, "unittests", "fake-cuda")
ON_GPU = os.environ.get("QC_TEST_GPU") == "1"


@functools.cache
def target_problem():
    """Why qc-compile does not compile for the target; "" if it does."""
    with tempfile.TemporaryDirectory(prefix="qc-test-") as folder:
        done = tools.run(
            [tools.tool("qc-compile"), STORIES, "--target=nvptx", "-o", f"{folder}/a"],
            check=False,
        )
        return done.stderr.strip()[:200] if done.returncode else ""


class CudaTest(tools.Scratch):
    def setUp(self):
        if target_problem():
            self.skipTest(f"skipped: no --target=nvptx ({target_problem()})")
        self.assertTrue(os.path.exists(f"{FAKE}/libcuda.so.1"), FAKE)

    def compile(self, source, *options):
        """An executable; the IR of its kernels lies beside it."""
        name = identifier(os.path.basename(source), *options)
        path = self.path(name)
        return tools.compile_model(
            source, path, "--target=nvptx", f"--dump-dir={path}.dump", *options
        )

    def compile_for_cpu(self, source, *options):
        name = identifier("cpu", os.path.basename(source), *options)
        return tools.compile_model(source, self.path(name), *options)

    @contextlib.contextmanager
    def driver(self, executable, fault="", **more):
        """The environment in which the test driver runs the kernels."""
        if ON_GPU:
            if fault or more:
                self.skipTest("skipped: a GPU does not fail on demand")
            yield
            return
        (kernels,) = glob.glob(f"{executable}.dump/*kernels.ll")
        with unittest.mock.patch.dict(
            os.environ,
            LD_LIBRARY_PATH=FAKE,
            QC_FAKE_CUDA_KERNELS=kernels,
            QC_FAULT=fault,
            **more,
        ):
            yield

    def logits(self, executable, ids, *options):
        with self.driver(executable):
            return tools.logits(executable, ids, self.path("out"), *options)

    def greedy(self, executable, ids, count):
        with self.driver(executable):
            return tools.generate_ids(executable, ids, count)

    def check_golden(self, source, prompts, cache, bound, *options):
        golden = np.load(f"{source}/golden.npz")
        options = ("--quantize=none", f"--kv-cache={cache}", *options)
        executable = self.compile(source, *options)
        for ids_key, logits_key, greedy_key in prompts:
            ids = self.write_ids(golden[ids_key])
            prefill = self.logits(executable, ids)
            decode = self.logits(executable, ids, "--token-by-token")
            error = tools.relative(prefill, golden[logits_key])
            apart = tools.relative(decode, prefill)
            name = " ".join((os.path.basename(source), "cuda", *options[1:], ids_key))
            print(
                f"{name}: {error:.1e} to transformers, {apart:.1e} prefill to decode"
            )
            self.assertLessEqual(error, bound)
            self.assertLessEqual(apart, bound)
            if cache == "f32":
                greedy = [int(t) for t in golden[greedy_key][:16]]
                self.assertEqual(self.greedy(executable, ids, 16), greedy)
        os.remove(executable)

    def test_greedy_tokens_of_the_cpu(self):
        """60 tokens of the committed model, for each recipe."""
        ids = self.write_ids([1])
        for recipe in ("int4_sym", "int4_asym", "int8", "nf4", "none"):
            options = (f"--quantize={recipe}", "--activations=f32")
            cpu = self.compile_for_cpu(STORIES, *options)
            gpu = self.compile(STORIES, *options)
            expected = tools.generate_ids(cpu, ids, 60)
            self.assertEqual(self.greedy(gpu, ids, 60), expected, recipe)

    def test_draws_of_the_cpu(self):
        """The same tokens whether the device or the host looks at the logits."""
        ids = self.write_ids([1, 403, 407])
        options = ("--quantize=int4_sym", "--activations=f32", "--kv-cache=f32")
        cpu = self.compile_for_cpu(STORIES, *options)
        gpu = self.compile(STORIES, *options)
        for draws in tools.DRAWS:
            for count in (1, 6, 30):
                expected = tools.draw_ids(cpu, ids, draws, count)
                with self.driver(gpu):
                    actual = tools.draw_ids(gpu, ids, draws, count)
                self.assertEqual(actual, expected, draws)

    def test_int8_activations(self):
        """The codes are the CPU's but where an activation lies on the border of
        two codes; what such flips change stays below what rounding to int8 itself
        changes (root mean squares)."""
        numbers = [1] + [(37 * i) % 512 for i in range(60)]
        for recipe in ("int4_sym", "int4_asym", "int8", "nf4", "e8p"):
            ids = self.write_ids(numbers)
            logits = {}
            for activations in ("f32", "int8"):
                options = (f"--quantize={recipe}", f"--activations={activations}")
                cpu = self.compile_for_cpu(STORIES, *options)
                logits["cpu", activations] = tools.logits(cpu, ids, self.path("out"))
            rounding = logits["cpu", "int8"] - logits["cpu", "f32"]
            # By dp4a, and several tokens on tensor cores.
            for arch in ("sm_75", "sm_80"):
                gpu = self.compile(STORIES, *options, f"--gpu-arch={arch}")
                apart = self.logits(gpu, ids) - logits["cpu", "int8"]
                print(f"{recipe} {arch}: flips {apart.std():.1e}, "
                      f"int8 {rounding.std():.1e}")  # fmt: skip
                self.assertLessEqual(apart.std(), rounding.std(), recipe)
            # Of one token: tables in shared memory.
            if recipe == "e8p":
                apart = self.logits(gpu, ids, "--token-by-token")
                apart -= logits["cpu", "int8"]
                self.assertLessEqual(apart.std(), rounding.std(), recipe)
            # Steps of at most 16 tokens have kernels of their own.
            few = self.logits(gpu, self.write_ids(numbers[:9]))
            apart = few - logits["cpu", "int8"][:9]
            self.assertLessEqual(apart.std(), rounding.std(), recipe)
            greedy = self.greedy(gpu, self.write_ids(numbers[:9]), 1)
            self.assertEqual(greedy, [int(few[-1].argmax())], recipe)

    def test_int8_cache(self):
        """As test_vulkan.py: most logits agree with the CPU's to f32 rounding."""
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(60)])
        options = ("--quantize=none", "--kv-cache=i8")
        plain = self.compile_for_cpu(STORIES, "--quantize=none", "--kv-cache=f32")
        cpu = self.compile_for_cpu(STORIES, *options)
        expected = tools.logits(cpu, ids, self.path("out"))
        apart = np.abs(self.logits(self.compile(STORIES, *options), ids) - expected)
        rounding = np.abs(expected - tools.logits(plain, ids, self.path("out")))
        self.assertGreater(np.median(rounding), 1e-3)
        self.assertLessEqual(np.median(apart), np.median(rounding) / 100)
        self.assertLessEqual(apart.std(), rounding.std())

    def test_positions_beyond_a_block(self):
        """Attention over more positions than threads, prompts in odd chunks."""
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(299)])
        cpu = self.compile_for_cpu(STORIES, "--quantize=none")
        expected = tools.logits(cpu, ids, self.path("cpu"))
        for tokens in (7, 128):
            gpu = self.compile(STORIES, "--quantize=none", f"--max-tokens={tokens}")
            self.assertLessEqual(tools.relative(self.logits(gpu, ids), expected), 1e-5)

    def test_without_a_driver(self):
        """The executable starts where there is no driver, and says so."""
        gpu = self.compile(STORIES)
        with open(os.path.join(self.folder, "libcuda.so.1"), "w"):
            pass
        broken = dict(os.environ, LD_LIBRARY_PATH=self.folder)
        cases = [(broken, r"libcuda\.so\.1 cannot be loaded: ")]
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            cases.append((dict(os.environ), r"libcuda\.so\.1 is not installed "))
        for env, message in cases:
            self.assertIn("any", tools.run([gpu, "--info"], env=env).stdout)
            for options in (("--prompt", "x"), ("--list-devices",), ("--self-test",)):
                done = tools.run([gpu, *options], check=False, env=env)
                self.assertEqual(done.returncode, 4)
                self.assertRegex(done.stderr, rf"^\S+: error: .*{message}[^\n]*\n$")

    def test_self_test(self):
        heads_of_16 = tools.shared("models", "babyllama-tok105")
        for source, recipe, arch, tests in (
            (STORIES, "int4_sym", "sm_75", 3),
            (STORIES, "nf4", "sm_75", 3),
            (STORIES, "int8", "sm_75", 2),
            (STORIES, "e8p", "sm_75", 3),
            (STORIES, "none", "sm_75", 2),
            (STORIES, "int4_sym", "sm_80", 4),  # with steps of few tokens
            (heads_of_16, "none", "sm_80", 2),  # attention on tensor cores
            (heads_of_16, "int8", "sm_80", 3),
        ):
            gpu = self.compile(source, f"--quantize={recipe}", f"--gpu-arch={arch}")
            with self.driver(gpu):
                done = tools.run([gpu, "--self-test"])
            device = "" if ON_GPU else "Emulated GPU A"
            self.assertIn(f"{tests} passed, 0 failed on {device}", done.stdout)

    def test_profile(self):
        """Each kernel of a step with its launches; the bytes are of weights."""
        gpu = self.compile(STORIES, "--gpu-arch=sm_90", "--max-tokens=64")
        options = ("--profile", "--bench-prompt", "20", "--bench-tokens", "5")
        with self.driver(gpu):
            text = tools.run([gpu, *options]).stdout
            steps = json.loads(tools.run([gpu, *options, "--json"]).stdout)["steps"]
        self.assertIn("prefill of 20 tokens: ", text)
        self.assertIn("behind 4 tokens, decode of 1 tokens: ", text)
        self.assertEqual([s["tokens"] for s in steps.values()], [1, 20])
        launches = {k["name"]: k["launches"] for k in steps["decode"]["kernels"]}
        attention = [n for n in launches if n.startswith("attention_step_8_4x8f16")]
        self.assertEqual([launches[n] for n in attention], [5])
        (down,) = (k for k in steps["decode"]["kernels"]
                   if k["name"].startswith("matmul_64x172_"))  # fmt: skip
        self.assertEqual(down["launches"], 5)
        # 2 blocks of 32 rows, 3 groups of 64: codes of 4 bits and a scale in f16.
        self.assertEqual(down["bytes"], 64 * 192 // 2 + 64 * 3 * 2)
        self.assertGreater(down["microseconds"], 0)
        cpu = self.compile_for_cpu(STORIES)
        done = tools.run([cpu, "--profile"], check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--profile: this model was compiled for the CPU", done.stderr)

    def faulty(self, fault, *options, **more):
        """Runs the model with a driver that fails."""
        gpu = self.compile(STORIES)
        options = options or ("--generate-ids", self.write_ids([1]), "--tokens", "2")
        with self.driver(gpu, fault, **more):
            return tools.run([gpu, *options], check=False)

    def test_failures_are_one_line(self):
        slow = ("--prompt", "x", "--device-timeout", "1")
        lost = r"a step of 1 tokens: the device was lost: "
        for fault, code, message, options in (
            ("error:700", 6, lost + r".*CUDA_ERROR_ILLEGAL_ADDRESS", ()),
            ("error:214", 6, lost + r".*CUDA_ERROR_ECC_UNCORRECTABLE", ()),
            ("error:702", 6, lost + r".*CUDA_ERROR_LAUNCH_TIMEOUT", ()),
            ("hang", 6, r"a step of \d+ tokens: no answer in 1 seconds", slow),
            ("memory", 5, r"out of device memory for \d+ bytes of weights", ()),
            ("pinned", 5, r"not enough memory for \d+ pinned bytes of ids", ()),
            ("none", 4, r"no NVIDIA GPU was found", ()),
            ("old", 4, r"driver is too old: it has CUDA 11.2, expected 11.4", ()),
            ("busy", 4, r"cannot be opened: .*CUDA_ERROR_DEVICE_UNAVAILABLE", ()),
        ):
            done = self.faulty(fault, *options)
            self.assertEqual(done.returncode, code, (fault, done.stderr))
            self.assertRegex(done.stderr, rf"^\S+: error: .*{message}[^\n]*\n$", fault)

    def test_code_for_another_device(self):
        done = self.faulty("", QC_FAKE_CUDA_ARCH="52")
        self.assertEqual(done.returncode, 4)
        self.assertRegex(
            done.stderr,
            r"^\S+: error: device 'Emulated GPU A' cannot run this model: it has "
            r"compute capability 5.2, the model's code is for [^\n]*\n$",
        )
        listed = self.faulty("", "--list-devices", QC_FAKE_CUDA_ARCH="52").stdout
        self.assertIn("cannot run this model: it has compute capability", listed)
        # A device that is newer than the code, and code that does not compile.
        self.assertEqual(self.faulty("", QC_FAKE_CUDA_ARCH="120").returncode, 0)
        for fault, message in (("image", "CUDA_ERROR_INVALID_PTX.*Parsing error"),
                               ("ptx", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION")):  # fmt: skip
            done = self.faulty(fault, QC_FAKE_CUDA_ARCH="120")
            self.assertEqual(done.returncode, 4)
            self.assertRegex(done.stderr, rf"^\S+: error: .*{message}[^\n]*\n$", fault)

    def test_devices(self):
        listed = self.faulty("two", "--list-devices").stdout.splitlines()
        self.assertEqual(len(listed), 2)
        self.assertRegex(
            listed[1], r"^1  Emulated GPU B \(compute capability 9.0, CUDA 12.4, 8.6 GB\)$"
        )
        ids = self.write_ids([1])
        for device in ("0", "1", "gpu b"):
            done = self.faulty("two", "--generate-ids", ids, "--tokens", "2",
                               "--device", device)  # fmt: skip
            self.assertEqual(len(done.stdout.split()), 2, done.stderr)
        done = self.faulty("two", "--prompt", "x", "--device", "2")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"--device 2: expected 0 to 1 .*--list-devices")


def add_cases():
    # The bounds of test_vulkan.py, whose kernels these are; with sm_80 attention is
    # on tensor cores.
    for bound, cache, *options in (
        (1e-3, "f32"),
        (1e-2, "f16"),
        (1e-2, "f16", "--gpu-arch=sm_80"),
    ):
        sources = [(("golden", family), RANDOM) for family in FAMILIES]
        sources += [(("models", model), prompts) for model, prompts in TRAINED.items()]
        for source, prompts in sources:

            def case(self, source=source, row=(prompts, cache, bound, *options)):
                self.check_golden(tools.shared(*source), *row)

            setattr(CudaTest, identifier("test", source[1], cache, *options), case)


add_cases()

if __name__ == "__main__":
    unittest.main()
