"""Executables for Vulkan (`--target=spirv`): golden logits of each family, and
the same greedy tokens as the CPU target. In CI the device is lavapipe, mesa's
Vulkan on the CPU."""

import functools
import os
import pty
import subprocess
import tempfile
import unittest

import numpy as np

from qc_test import tools
from tests.test_golden import FAMILIES, RANDOM, TRAINED, identifier

STORIES = os.path.join(tools.EXAMPLES, "stories260K")


@functools.cache
def device_problem():
    """Why there is no device; "" if there is one."""
    with tempfile.TemporaryDirectory(prefix="qc-test-") as folder:
        executable = tools.compile_model(STORIES, f"{folder}/vk", "--target=spirv")
        done = tools.run([executable, "--list-devices"], check=False)
        return "" if done.returncode == 0 else done.stderr.strip()


def chatting_model(folder):
    """The committed model with a chat template."""
    os.makedirs(folder)
    for name in os.listdir(STORIES):
        os.symlink(f"{STORIES}/{name}", f"{folder}/{name}")
    with open(f"{folder}/chat_template.jinja", "w") as file:
        file.write("{% for m in messages %}{{ m.content }} {% endfor %}")
    return folder


def chat(command, lines):
    """What the program prints when `lines` come from a terminal."""
    terminal, end = pty.openpty()
    with subprocess.Popen(
        command, stdin=end, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(end)
        os.write(terminal, lines.encode() + b"\x04")
        out, errors = process.communicate(timeout=60)
        os.close(terminal)
    if process.returncode:
        raise AssertionError(errors)
    return out


class VulkanTest(tools.Scratch):
    def setUp(self):
        if device_problem():
            self.skipTest(f"skipped: no Vulkan device ({device_problem()})")

    def compile(self, source, *options):
        name = identifier(os.path.basename(source), *options)
        return tools.compile_model(source, self.path(name), *options)

    def check_golden(self, source, prompts, cache, bound):
        golden = np.load(f"{source}/golden.npz")
        executable = self.compile(
            source, "--target=spirv", "--quantize=none", f"--kv-cache={cache}"
        )
        for ids_key, logits_key, greedy_key in prompts:
            ids = self.write_ids(golden[ids_key])
            prefill = tools.logits(executable, ids, self.path("prefill"))
            decode = tools.logits(
                executable, ids, self.path("decode"), "--token-by-token"
            )
            error = tools.relative(prefill, golden[logits_key])
            apart = tools.relative(decode, prefill)
            print(
                f"{os.path.basename(source)} vulkan {cache} {ids_key}: "
                f"{error:.1e} to transformers, {apart:.1e} prefill to decode"
            )
            self.assertLessEqual(error, bound)
            self.assertLessEqual(apart, bound)
            if cache == "f32":
                greedy = [int(t) for t in golden[greedy_key][:16]]
                self.assertEqual(tools.generate_ids(executable, ids, 16), greedy)
        os.remove(executable)

    def test_greedy_tokens_of_the_cpu(self):
        """200 tokens of the committed model, for each recipe."""
        ids = self.write_ids([1])
        for recipe in ("int4_sym", "int4_asym", "int8", "nf4", "none"):
            options = (f"--quantize={recipe}", "--activations=f32")
            cpu = self.compile(STORIES, *options)
            gpu = self.compile(STORIES, "--target=spirv", *options)
            expected = tools.generate_ids(cpu, ids, 200)
            self.assertEqual(tools.generate_ids(gpu, ids, 200), expected, recipe)

    def test_draws_of_the_cpu(self):
        """The same tokens whether the device or the host looks at the logits."""
        ids = self.write_ids([1, 403, 407])
        options = ("--quantize=int4_sym", "--activations=f32", "--kv-cache=f32")
        cpu = self.compile(STORIES, *options)
        gpu = self.compile(STORIES, "--target=spirv", *options)
        for draws in tools.DRAWS:
            # Counts that whole turns of steps do and do not divide.
            for count in (1, 2, 6, 90):
                expected = tools.draw_ids(cpu, ids, draws, count)
                self.assertEqual(tools.draw_ids(gpu, ids, draws, count), expected, draws)

    def test_chat_takes_steps_back(self):
        """An answer ends in the middle of steps that ran ahead."""
        folder = chatting_model(self.path("chatting"))
        answers = []
        for target in ("cpu", "spirv"):
            model = self.compile(folder, f"--target={target}", "--quantize=none")
            answers.append(chat([model, "--temperature", "0", "--tokens", "7",
                                 "--stop", " a"],
                                "Once upon\nThe dog\nLily\n"))  # fmt: skip
        self.assertEqual(answers[1], answers[0])
        self.assertGreater(len(answers[0].split()), 6)

    def test_int8_activations(self):
        """The codes are the CPU's but where an activation lies on the border of
        two codes; what such flips change stays below what rounding to int8 itself
        changes (root mean squares)."""
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(150)])
        for recipe in ("int4_sym", "int4_asym", "int8", "nf4"):
            logits = {}
            for target in ("cpu", "spirv"):
                for activations in ("f32", "int8"):
                    options = (f"--quantize={recipe}", f"--activations={activations}")
                    executable = self.compile(STORIES, f"--target={target}", *options)
                    logits[target, activations] = tools.logits(
                        executable, ids, self.path("out")
                    )
            apart = logits["spirv", "int8"] - logits["cpu", "int8"]
            rounding = logits["cpu", "int8"] - logits["cpu", "f32"]
            print(f"{recipe}: flips {apart.std():.1e}, int8 {rounding.std():.1e}, "
                  f"median of flips {np.median(np.abs(apart)):.1e}")  # fmt: skip
            self.assertLessEqual(apart.std(), rounding.std(), recipe)

    def test_int8_cache(self):
        """The CPU's codes and scales, but where an element lies on the border of
        two codes: such flips are rare, so most logits agree to f32 rounding."""
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(150)])
        logits = {}
        for target in ("cpu", "spirv"):
            for cache in ("f32", "i8"):
                executable = self.compile(
                    STORIES, f"--target={target}", "--quantize=none",
                    f"--kv-cache={cache}",
                )  # fmt: skip
                logits[target, cache] = tools.logits(
                    executable, ids, self.path("out")
                )
        apart = np.abs(logits["spirv", "i8"] - logits["cpu", "i8"])
        rounding = np.abs(logits["cpu", "i8"] - logits["cpu", "f32"])
        print(f"int8 cache: {np.median(apart):.1e} apart (median), {apart.max():.1e} "
              f"at most; int8 changes {np.median(rounding):.1e}")  # fmt: skip
        self.assertGreater(np.median(rounding), 1e-3)
        self.assertLessEqual(np.median(apart), np.median(rounding) / 100)
        self.assertLessEqual(apart.std(), rounding.std())

    def test_positions_beyond_a_workgroup(self):
        """Attention over more positions than threads, prompts in odd chunks."""
        ids = self.write_ids([1] + [(37 * i) % 512 for i in range(299)])
        cpu = self.compile(STORIES, "--quantize=none")
        expected = tools.logits(cpu, ids, self.path("cpu"))
        for tokens in (1, 7, 128):
            gpu = self.compile(
                STORIES, "--target=spirv", "--quantize=none", f"--max-tokens={tokens}"
            )
            actual = tools.logits(gpu, ids, self.path("gpu"))
            self.assertLessEqual(tools.relative(actual, expected), 1e-5)

    def test_without_a_loader(self):
        """The executable starts where there is no Vulkan, and says so."""
        gpu = self.compile(STORIES, "--target=spirv")
        empty = dict(os.environ, VK_ICD_FILENAMES="/nonexistent.json",
                     VK_DRIVER_FILES="/nonexistent.json")  # fmt: skip
        self.assertIn("any", tools.run([gpu, "--info"], env=empty).stdout)
        done = tools.run([gpu, "--prompt", "x"], check=False, env=empty)
        self.assertEqual(done.returncode, 4)
        self.assertRegex(done.stderr, r"^\S+: error: no Vulkan d.*\n$")

    def test_validation_layer(self):
        """Khronos' validation layer, with checks of synchronization between
        dispatches, finds nothing to say."""
        layer = "VK_LAYER_KHRONOS_validation"
        settings = {
            "enables": "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT",
            "report_flags": "error,warn,info",
        }
        with open(self.path("vk_layer_settings.txt"), "w") as file:
            for key, value in settings.items():
                file.write(f"khronos_validation.{key} = {value}\n")
        env = dict(os.environ, VK_INSTANCE_LAYERS=layer,
                   VK_LAYER_SETTINGS_PATH=self.path("vk_layer_settings.txt"))  # fmt: skip
        ids = self.write_ids([1, 5, 300, 42, 7, 99, 100, 3, 4])
        for recipe, activations in (("none", "f32"), ("int4_sym", "int8")):
            gpu = self.compile(STORIES, "--target=spirv", f"--quantize={recipe}",
                               f"--activations={activations}")  # fmt: skip
            command = [gpu, "--generate-ids", ids, "--tokens", "6", "--temperature", "0"]
            done = tools.run(command, env=env, check=False)
            said = done.stdout + done.stderr
            self.assertEqual(done.returncode, 0, said[-2000:])
            if "Khronos Validation Layer Active" not in said:
                self.skipTest(f"skipped: no {layer} (Debian: vulkan-validationlayers)")
            self.assertIn("SYNCHRONIZATION_VALIDATION", said[:2000])
            # That of Debian 12 adds up the shared memory of all entry points of
            # a module, where the specification means those that one uses.
            found = [
                line
                for line in said.splitlines()
                if ("Validation Error" in line or "Validation Warning" in line)
                and "RuntimeSpirv-Workgroup-06530" not in line
            ]
            self.assertFalse(found, "\n".join(found[:3]))

    def test_self_test(self):
        for recipe, tests in (("int4_sym", 3), ("int8", 2), ("nf4", 3), ("e8p", 3), ("none", 2)):
            gpu = self.compile(STORIES, "--target=spirv", f"--quantize={recipe}")
            done = tools.run([gpu, "--self-test"])
            self.assertIn(f"{tests} passed, 0 failed on ", done.stdout)

    def test_devices(self):
        gpu = self.compile(STORIES, "--target=spirv")
        listed = tools.run([gpu, "--list-devices"]).stdout
        self.assertRegex(listed, r"^0  \S")
        done = tools.run([gpu, "--prompt", "x", "--device", "99"], check=False)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"--device 99: expected 0.* see --list-devices")
        done = tools.run([gpu, "--generate-ids", self.write_ids([1]), "--tokens", "1",
                          "--device", "0"])  # fmt: skip
        self.assertEqual(len(done.stdout.split()), 1)
        cpu = self.compile(STORIES)
        done = tools.run([cpu, "--list-devices"], check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("compiled for the CPU", done.stderr)

    def faulty(self, fault, *arguments, options=()):
        """Runs the model with a Vulkan loader that fails."""
        gpu = self.compile(STORIES, "--target=spirv", *options)
        folder = os.path.join(tools.BUILD, "unittests", "faulty-vulkan")
        self.assertTrue(os.path.exists(f"{folder}/libvulkan.so.1"), folder)
        return tools.run(
            [gpu, *(arguments or ("--generate-ids", self.write_ids([1]), "--tokens", "2"))],
            check=False,
            env=dict(os.environ, LD_LIBRARY_PATH=folder, QC_FAULT=fault),
        )

    def test_failures_are_one_line(self):
        slow = ("--prompt", "x", "--device-timeout", "1")
        for fault, code, message, options in (
            ("lost", 6, r"a step of 1 tokens: the device was lost", ()),
            ("hang", 6, r"a step of \d+ tokens: no answer in 1 seconds", slow),
            ("memory", 5, r"out of device memory for \d+ bytes of \w+", ()),
            ("none", 4, r"no Vulkan device was found", ()),
            ("old", 4, r"cannot run this model: Vulkan 1.0, expected 1.1", ()),
            ("limits", 4, r"2 storage buffers a kernel, expected \d+", ()),
            ("loader", 4, r"Vulkan loader is too old: version 1.0, expected 1.1", ()),
        ):
            done = self.faulty(fault, *options)
            self.assertEqual(done.returncode, code, (fault, done.stderr))
            self.assertRegex(done.stderr, rf"^\S+: error: .*{message}[^\n]*\n$", fault)

    def test_floor(self):
        """Kernels for Vulkan 1.1, which a newer device does not take, against its own."""
        for options in (), ("--activations=f32",):
            gpu = self.compile(STORIES, "--target=spirv", *options)
            ids = self.write_ids([1, 403, 407, 261, 378, 432, 9, 13, 300, 17, 21])
            best = tools.logits(gpu, ids, self.path("best"))
            for step in (), ("--token-by-token",):
                path = self.path("floor.npy")
                done = self.faulty("floor", "--logits", ids, "--output", path, *step,
                                   options=options)  # fmt: skip
                self.assertEqual(done.returncode, 0, done.stderr)
                error = tools.relative(np.load(path), best)
                print(f"stories260K vulkan floor {options} {step}: {error:.1e}")
                self.assertLessEqual(error, 2e-2 if not options else 1e-4)
        self.assertIn("Vulkan 1.1", self.faulty("floor", "--list-devices").stdout)
        self.assertIn(" 0 failed", self.faulty("floor", "--self-test").stdout)

    def test_two_devices(self):
        listed = self.faulty("two", "--list-devices").stdout.splitlines()
        self.assertEqual(len(listed) % 2, 0)
        self.assertEqual([line[0] for line in listed[:2]], ["0", "1"])
        ids = self.write_ids([1])
        for device in ("0", "1", listed[0][3:8]):
            done = self.faulty("two", "--generate-ids", ids, "--tokens", "2",
                               "--device", device)  # fmt: skip
            self.assertEqual(len(done.stdout.split()), 2, done.stderr)
        done = self.faulty("two", "--prompt", "x", "--device", str(len(listed)))
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"expected 0 to {len(listed) - 1}", done.stderr)
        listed = self.faulty("limits", "--list-devices").stdout
        self.assertIn("cannot run this model: 2 storage buffers", listed)


def add_cases():
    # f16 has 11 bits: a key or value is off by 2^-11 of itself, which the layers
    # carry on; the bound is that of python/tests for f16 caches on the CPU.
    for cache, bound in (("f32", 1e-3), ("f16", 1e-2)):
        for family in FAMILIES:

            def case(self, family=family, cache=cache, bound=bound):
                self.check_golden(tools.shared("golden", family), RANDOM, cache, bound)

            setattr(VulkanTest, identifier("test", family, cache), case)
        for model, prompts in TRAINED.items():

            def case(self, model=model, prompts=prompts, cache=cache, bound=bound):
                source = tools.shared("models", model)
                self.check_golden(source, prompts, cache, bound)

            setattr(VulkanTest, identifier("test", model, cache), case)


add_cases()

if __name__ == "__main__":
    unittest.main()
