"""Layers on the CPU and on a GPU (`--target=cpu,spirv`, `cpu,nvptx`): golden
logits of each family, the CPU target's tokens. The GPUs are those of test_vulkan
(lavapipe) and test_cuda (the test driver)."""

import json
import os
import unittest

import numpy as np

from qc_test import tools
from tests import test_cuda, test_vulkan
from tests.test_golden import FAMILIES, RANDOM, TRAINED, identifier

STORIES = os.path.join(tools.EXAMPLES, "stories260K")
LAYERS = 5


class MixedTest(tools.Scratch):
    def setUp(self):
        if test_vulkan.device_problem():
            self.skipTest(
                f"skipped: no Vulkan device ({test_vulkan.device_problem()})"
            )

    def compile(self, source, layers, *options):
        """With `layers` on the GPU; None: the CPU target."""
        if layers is not None:
            options += ("--target=cpu,spirv", f"--gpu-layers={layers}")
        name = identifier(os.path.basename(source), *options)
        return tools.compile_model(source, self.path(name), *options)

    def check_golden(self, source, layers, prompts):
        golden = np.load(f"{source}/golden.npz")
        executable = self.compile(source, layers, "--quantize=none")
        for ids_key, logits_key, greedy_key in prompts:
            ids = self.write_ids(golden[ids_key])
            prefill = tools.logits(executable, ids, self.path("prefill"))
            decode = tools.logits(
                executable, ids, self.path("decode"), "--token-by-token"
            )
            error = tools.relative(prefill, golden[logits_key])
            apart = tools.relative(decode, prefill)
            print(f"{os.path.basename(source)}, {layers} layers on the GPU: "
                  f"{error:.1e} to transformers, {apart:.1e} prefill to decode")  # fmt: skip
            self.assertLessEqual(error, 1e-3)
            self.assertLessEqual(apart, 1e-3)
            greedy = [int(t) for t in golden[greedy_key][:16]]
            self.assertEqual(tools.generate_ids(executable, ids, 16), greedy)
        os.remove(executable)

    def test_tokens_of_the_cpu(self):
        """Wherever the layers lie, ends included."""
        ids = self.write_ids([1, 403, 407])
        for recipe in ("int4_sym", "nf4"):
            options = (f"--quantize={recipe}", "--activations=f32", "--kv-cache=f32")
            cpu = self.compile(STORIES, None, *options)
            for layers in (0, 1, LAYERS - 1, LAYERS, LAYERS + 7):
                mixed = self.compile(STORIES, layers, *options)
                for draws in tools.DRAWS:
                    expected = tools.draw_ids(cpu, ids, draws, 60)
                    actual = tools.draw_ids(mixed, ids, draws, 60)
                    self.assertEqual(actual, expected, (recipe, layers, draws))

    def test_default_arithmetic(self):
        """int8 activations and an f16 cache on both sides: flips of codes change
        less than rounding to int8 does, see test_vulkan."""
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(150)])
        cpu = tools.logits(self.compile(STORIES, None), ids, self.path("cpu"))
        exact = tools.logits(
            self.compile(STORIES, None, "--activations=f32"), ids, self.path("f32")
        )
        mixed = tools.logits(self.compile(STORIES, 2), ids, self.path("mixed"))
        self.assertLessEqual((mixed - cpu).std(), (cpu - exact).std())

    def test_prompts_in_chunks(self):
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(299)])
        cpu = self.compile(STORIES, None, "--quantize=none")
        expected = tools.logits(cpu, ids, self.path("cpu"))
        for tokens in (1, 7, 128):
            mixed = self.compile(
                STORIES, 3, "--quantize=none", f"--max-tokens={tokens}"
            )
            actual = tools.logits(mixed, ids, self.path("mixed"))
            self.assertLessEqual(tools.relative(actual, expected), 1e-5)

    def test_perplexity(self):
        text = os.path.join(tools.EXAMPLES, "..", "README.md")
        results = []
        for layers in (None, 2):
            model = self.compile(STORIES, layers, "--quantize=none")
            done = tools.run([model, "--perplexity", text, "--json"])
            results.append(json.loads(done.stdout)["perplexity"])
        self.assertLessEqual(abs(results[1] / results[0] - 1), 1e-5)

    def test_chat(self):
        """Answers that end before the context does; going back in between."""
        folder = test_vulkan.chatting_model(self.path("chatting"))
        command = ["--temperature", "0", "--tokens", "7", "--stop", " a"]
        lines = "Once upon\nThe dog\nLily\n"
        cpu = self.compile(folder, None, "--quantize=none")
        mixed = self.compile(folder, 3, "--quantize=none")
        self.assertEqual(
            test_vulkan.chat([mixed, *command], lines),
            test_vulkan.chat([cpu, *command], lines),
        )

    def test_info_and_self_test(self):
        mixed = self.compile(STORIES, 2)
        self.assertRegex(
            tools.run([mixed, "--info"]).stdout,
            r"placement +3 layers on the CPU, 2 and the head on a GPU \(spirv\): "
            r"\d+ bytes of weights, 256 of KV cache a token",
        )
        info = json.loads(tools.run([mixed, "--info", "--json"]).stdout)
        whole = json.loads(
            tools.run([self.compile(STORIES, None), "--info", "--json"]).stdout
        )
        self.assertEqual(info["parameters"], whole["parameters"])
        self.assertEqual(info["bits_per_weight"], whole["bits_per_weight"])
        self.assertEqual(info["abi"]["gpu_layers"], 2)
        offset = info["abi"]["device_weights_offset"]
        self.assertEqual(offset % 4096, 0)
        self.assertGreater(info["abi"]["weights_bytes"], offset)
        done = tools.run([mixed, "--self-test"])
        self.assertRegex(done.stdout, r"6 passed, 0 failed\n(.*\n)+3 passed, 0 failed on ")

    def test_failures_are_one_line(self):
        mixed = self.compile(STORIES, 2)
        empty = dict(os.environ, VK_ICD_FILENAMES="/nonexistent.json",
                     VK_DRIVER_FILES="/nonexistent.json")  # fmt: skip
        done = tools.run([mixed, "--prompt", "x"], check=False, env=empty)
        self.assertEqual(done.returncode, 4)
        self.assertRegex(done.stderr, r"^\S+: error: no Vulkan d.*\n$")
        for options, message in (
            (("--target=cpu,spirv",), "needs the number of last layers"),
            (("--target=cpu,spirv", "--gpu-layers=-1"), "needs the number"),
            (("--target=spirv", "--gpu-layers=1"), "--gpu-layers is for"),
            (("--target=spirv,cpu",), "expected cpu, spirv, nvptx, cpu,spirv"),
        ):
            done = tools.run([tools.tool("qc-compile"), STORIES, *options,
                              "-o", self.path("bad")], check=False)  # fmt: skip
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, rf"^qc-compile: error: .*{message}.*\n$")
            self.assertFalse(os.path.exists(self.path("bad")))


class MixedCudaTest(test_cuda.CudaTest):
    """The same through the CUDA runtime."""

    def compile_mixed(self, source, layers, *options):
        name = identifier("mixed", os.path.basename(source), str(layers), *options)
        path = self.path(name)
        return tools.compile_model(
            source, path, "--target=cpu,nvptx", f"--gpu-layers={layers}",
            f"--dump-dir={path}.dump", *options,
        )  # fmt: skip

    def test_mixed_tokens_of_the_cpu(self):
        ids = self.write_ids([1, 403, 407])
        options = ("--quantize=int4_sym", "--activations=f32", "--kv-cache=f32")
        cpu = self.compile_for_cpu(STORIES, *options)
        for layers in (1, LAYERS - 1):
            mixed = self.compile_mixed(STORIES, layers, *options)
            for draws in tools.DRAWS:
                expected = tools.draw_ids(cpu, ids, draws, 20)
                with self.driver(mixed):
                    actual = tools.draw_ids(mixed, ids, draws, 20)
                self.assertEqual(actual, expected, (layers, draws))

    def test_mixed_prompts_in_chunks(self):
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(40)])
        cpu = self.compile_for_cpu(STORIES, "--quantize=none")
        expected = tools.logits(cpu, ids, self.path("cpu"))
        mixed = self.compile_mixed(STORIES, 2, "--quantize=none", "--max-tokens=7")
        self.assertLessEqual(tools.relative(self.logits(mixed, ids), expected), 1e-5)


# The inherited cases ran in test_cuda.
for name in dir(test_cuda.CudaTest):
    if name.startswith("test_"):
        setattr(MixedCudaTest, name, None)


def add_cases():
    for family in FAMILIES:

        def case(self, family=family):
            self.check_golden(tools.shared("golden", family), 1, RANDOM)

        setattr(MixedTest, f"test_{identifier(family)}", case)
    for model, prompts in TRAINED.items():
        for layers in (1, 4):

            def case(self, model=model, prompts=prompts, layers=layers):
                self.check_golden(tools.shared("models", model), layers, prompts)

            setattr(MixedTest, f"test_{identifier(model, str(layers))}", case)


add_cases()

if __name__ == "__main__":
    unittest.main()
