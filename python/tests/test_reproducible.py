"""Reproducible mode (`--reproducible`, docs/Reproducible.md): the logits of a
model are the same 32 bits on each x86-64 level and number of threads, on Vulkan
(lavapipe in CI) and on CUDA (the emulator of test_cuda.py), for a prompt at once
and token by token, and within the usual tolerance of the golden ones."""

import os

import numpy as np

from qc_test import tools
from tests import test_cuda, test_vulkan
from tests.test_golden import FAMILIES, RANDOM, TRAINED, identifier

STORIES = os.path.join(tools.EXAMPLES, "stories260K")
# More positions than threads of a workgroup, in two chunks of a prompt.
PROMPT = [1] + [(37 * i) % 512 for i in range(149)]


class ReproducibleTest(tools.Scratch):
    missing = ""  # why a target was not compared
    cuda_tokens = 20

    def compile(self, source, *options):
        name = identifier("r", os.path.basename(source), *options)
        return tools.compile_model(
            source, self.path(name), "--reproducible", *options
        )

    def cpu_logits(self, source, ids, options):
        # SSE, AVX2 and the best that runs here.
        levels = tools.cpu_levels()
        for level in sorted({*levels[:2], levels[-1]}):
            executable = self.compile(source, f"--mcpu={level}", *options)
            for threads in (1, 2):
                run = ("--threads", threads)
                yield f"{level}, {threads} threads", tools.logits(
                    executable, ids, self.path("cpu"), *run
                )
            yield f"{level}, token by token", tools.logits(
                executable, ids, self.path("cpu"), "--token-by-token"
            )
            os.remove(executable)

    def vulkan_logits(self, source, ids, options):
        if test_vulkan.device_problem():
            self.missing = f"no Vulkan device ({test_vulkan.device_problem()})"
            return
        executable = self.compile(source, "--target=spirv", *options)
        for run in ((), ("--token-by-token",)):
            yield " ".join(("vulkan", *run)), tools.logits(
                executable, ids, self.path("gpu"), *run
            )
        os.remove(executable)

    def cuda_logits(self, source, ids, options):
        if test_cuda.target_problem():
            self.missing = f"no --target=nvptx ({test_cuda.target_problem()})"
            return
        dump = self.path(identifier("dump", os.path.basename(source), *options))
        executable = self.compile(
            source, "--target=nvptx", f"--dump-dir={dump}", *options
        )
        (kernels,) = (f for f in os.listdir(dump) if f.endswith("kernels.ll"))
        environment = dict(
            os.environ,
            LD_LIBRARY_PATH=test_cuda.FAKE,
            QC_FAKE_CUDA_KERNELS=os.path.join(dump, kernels),
        )
        path = self.path("cuda.npy")
        # The emulator is slow: the beginning of a long prompt.
        with open(ids) as file:
            words = file.read().split()
        for count, run in ((self.cuda_tokens, ()), (6, ("--token-by-token",))):
            start = self.path("start.txt")
            with open(start, "w") as short:
                short.write(" ".join(words[:count]) + "\n")
            tools.run([executable, "--logits", start, "--output", path, *run],
                      env=environment)  # fmt: skip
            yield " ".join(("cuda", *run)), np.load(path)
        os.remove(executable)

    def check(self, source, tokens, *options):
        """The logits, of which all targets have the same bits."""
        ids = self.write_ids(tokens)
        expected = None
        for target in (self.cpu_logits, self.vulkan_logits, self.cuda_logits):
            for name, logits in target(source, ids, options):
                self.assertEqual(logits.dtype, np.float32)
                self.assertTrue(np.isfinite(logits).all(), name)
                bits = logits.view(np.uint32)
                if expected is None:
                    expected = bits
                apart = np.count_nonzero(bits != expected[: len(bits)])
                self.assertEqual(apart, 0, f"{name}, {options}: of {bits.size}")
        if self.missing:
            self.skipTest(f"skipped, but for CPUs: {self.missing}")
        return expected.view(np.float32)

    def check_golden(self, source, prompts):
        golden = np.load(f"{source}/golden.npz")
        for cache, bound in (("f32", 1e-3), ("f16", 1e-2)):
            for ids_key, logits_key, _ in prompts[:1]:
                logits = self.check(
                    source, golden[ids_key], "--quantize=none", f"--kv-cache={cache}"
                )
                error = tools.relative(logits, golden[logits_key])
                print(f"{os.path.basename(source)} {cache}: {error:.1e}")
                self.assertLessEqual(error, bound)

    def check_recipe(self, recipe, activations, cache):
        options = (f"--quantize={recipe}", f"--activations={activations}",
                   f"--kv-cache={cache}")  # fmt: skip
        logits = self.check(STORIES, PROMPT, *options)
        # Right, too: apart from the default mode as much as roundings of int8
        # activations or of the cache may flip, in root mean squares.
        ids = self.write_ids(PROMPT)
        plain = tools.compile_model(STORIES, self.path("plain"), *options)
        exact = tools.compile_model(
            STORIES, self.path("exact"), f"--quantize={recipe}",
            "--activations=f32", "--kv-cache=f32"
        )  # fmt: skip
        default = tools.logits(plain, ids, self.path("plain"))
        exact = tools.logits(exact, ids, self.path("exact"))
        rounding = np.std(default - exact)
        apart = np.std(logits - default)
        print(f"{options}: {apart:.1e} to the default mode, rounding {rounding:.1e}")
        self.assertLessEqual(apart, max(rounding, 1e-5 * np.ptp(exact)))

    def test_int4(self):
        self.cuda_tokens = len(PROMPT)
        self.check_recipe("int4_sym", "int8", "f16")

    def test_int4_asymmetric(self):
        self.check_recipe("int4_asym", "int8", "i8")

    def test_int4_f32(self):
        self.check_recipe("int4_asym", "f32", "f16")

    def test_int8(self):
        self.check_recipe("int8", "int8", "i8")

    def test_nf4(self):
        self.check_recipe("nf4", "int8", "f32")

    def test_nf4_f32(self):
        self.check_recipe("nf4", "f32", "i8")

    def test_e8p(self):
        self.check_recipe("e8p", "int8", "f16")

    def test_unquantized(self):
        self.check_recipe("none", "f32", "i8")

    def check_pass(self, name, passes, *options):
        module = self.path("m.mlir")
        quantized = self.path(f"{name}.mlir")
        tools.run([tools.tool("qc-import"), STORIES, "-o", module])
        tools.run([tools.tool("qc-opt"), module, "-o", quantized,
                   f"--pass-pipeline=builtin.module({passes})"])  # fmt: skip
        for activations in ("int8", "f32"):
            self.check(quantized, PROMPT, f"--activations={activations}")

    def test_codebooks(self):
        self.check_pass(
            "aqlm", f"qc-quantize-aqlm{{books=2 bits=8 output-dir={self.folder}}}"
        )

    def test_two_bits(self):
        self.check_pass(
            "two",
            "qc-quantize-rtn{bits=2 group-size=32 symmetric=false "
            f"output-dir={self.folder}}}",
        )

    def test_gelu(self):
        """Activations that no supported family has."""
        module = self.path("silu.mlir")
        tools.run([tools.tool("qc-import"), STORIES, "-o", module])
        with open(module) as file:
            text = file.read()
        for kind in ("gelu", "gelu_tanh", "relu"):
            changed = self.path(f"{kind}.mlir")
            with open(changed, "w") as file:
                file.write(text.replace("<silu>", f"<{kind}>"))
            self.assertNotEqual(text.count("<silu>"), 0)
            self.check(changed, PROMPT[:20], "--quantize=none")

    def test_scale_of_a_row(self):
        """A scale a row: blocks as long as K, which shares split by chunks."""
        self.check(STORIES, PROMPT, "--quantize=int8", "--group-size=-1")

    def test_info(self):
        executable = self.compile(STORIES)
        text = tools.run([executable, "--info"]).stdout
        self.assertRegex(text, "(?m)^arithmetic +reproducible")
        plain = tools.compile_model(STORIES, self.path("plain"))
        self.assertNotIn("reproducible", tools.run([plain, "--info"]).stdout)

    def test_bf16_is_refused(self):
        done = tools.run(
            [tools.tool("qc-compile"), STORIES, "-o", self.path("x"),
             "--reproducible", "--activations=bf16"], check=False
        )  # fmt: skip
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"\A[^\n]*--reproducible[^\n]*\n\Z")


def add_cases():
    for family in FAMILIES:

        def case(self, family=family):
            self.check_golden(tools.shared("golden", family), RANDOM)

        setattr(ReproducibleTest, identifier("test", family), case)
    for model, prompts in TRAINED.items():

        def case(self, model=model, prompts=prompts):
            self.check_golden(tools.shared("models", model), prompts)

        setattr(ReproducibleTest, identifier("test", model), case)


add_cases()
