"""Bad input: each tool says in one line what is wrong, and leaves no file.

Each row of a table is one case: what to do, and a regular expression that the
message must contain (what it is about, so that a user finds the place).
"""

import contextlib
import os
import resource
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time
import unittest

import make_random_model
from qc_test import broken, tools

TINY = ["--shape", "tiny", "--set", "num_hidden_layers=1"]
HUGE = 1 << 40

# name: (damage, message)
FOLDERS = {
    "header_empty_file": (broken.write(broken.WEIGHTS, b""), r"model\.safetensors"),
    "header_seven_bytes": (broken.write(broken.WEIGHTS, b"1234567"), r"model\.safetensors"),
    "header_longer_than_file": (
        broken.edit_bytes(lambda d: struct.pack("<Q", len(d)) + d[8:]),
        r"model\.safetensors.*header",
    ),
    "header_length_overflows": (
        broken.edit_bytes(lambda d: b"\xff" * 8 + d[8:]),
        r"model\.safetensors.*header",
    ),
    "header_truncated": (
        broken.edit_bytes(lambda d: d[:200]),
        r"model\.safetensors.*header",
    ),
    "header_not_json": (
        broken.write(broken.WEIGHTS, struct.pack("<Q", 8) + b"not json"),
        r"model\.safetensors",
    ),
    "header_not_an_object": (
        broken.write(broken.WEIGHTS, struct.pack("<Q", 8) + b"[1,2,3] "),
        r"model\.safetensors",
    ),
    "header_deeply_nested": (
        broken.write(broken.WEIGHTS, struct.pack("<Q", 200000) + b"[" * 200000),
        r"model\.safetensors",
    ),
    "entry_without_dtype": (broken.edit_entry(dtype=None), r"q_proj.*dtype"),
    "entry_without_shape": (broken.edit_entry(shape=None), r"q_proj.*shape"),
    "entry_without_offsets": (broken.edit_entry(data_offsets=None), r"q_proj.*offsets"),
    "entry_offsets_reversed": (broken.edit_entry(data_offsets=[4096, 0]), r"q_proj"),
    "entry_offsets_negative": (broken.edit_entry(data_offsets=[-4, 16380]), r"q_proj"),
    "entry_offsets_past_end": (broken.edit_header(broken.offsets_past_end), r"lm_head"),
    "entry_offsets_huge": (
        broken.edit_entry(data_offsets=[0, (1 << 64) - 1]), r"q_proj",
    ),
    "entry_overlapping": (broken.edit_header(broken.overlapping), r"overlap|gap|bytes"),
    "entry_duplicate": (broken.edit_bytes(broken.duplicate_entry), r"q_proj"),
    "entry_shape_and_bytes_differ": (broken.edit_entry(shape=[64, 63]), r"q_proj"),
    "entry_shape_negative": (broken.edit_entry(shape=[-64, -64]), r"q_proj"),
    "entry_shape_overflows": (broken.edit_entry(shape=[HUGE, HUGE]), r"q_proj"),
    "entry_shape_not_integers": (broken.edit_entry(shape=["64", 64]), r"q_proj"),
    "entry_dtype_unknown": (broken.edit_entry(dtype="F12"), r"q_proj.*F12|F12.*q_proj"),
    "entry_dtype_not_float": (
        broken.edit_entry(dtype="I32"), r"q_proj.*I32|I32.*q_proj",
    ),
    "data_truncated": (
        broken.edit_bytes(lambda d: d[:-4]), r"model\.safetensors",
    ),
    "weights_missing": (broken.remove(broken.WEIGHTS), r"safetensors"),
    "tensor_missing": (broken.drop, r"q_proj"),
    "entry_removed_leaves_a_gap": (broken.edit_header(broken.gap), r"bytes|gap"),
    "tensor_transposed": (
        broken.edit_header(broken.transposed_k), r"k_proj.*(32.*64|64.*32)",
    ),
    "shard_missing": (broken.shard(broken.missing_shard), r"model-00002-of-00002"),
    "shard_without_its_tensor": (broken.shard(broken.wrong_shard), r"q_proj"),
    "shard_outside_folder": (broken.shard(broken.escaping_shard), r"passwd"),
    "index_not_json": (
        broken.shard(lambda f, i: i.__setitem__("weight_map", 7)), r"index.*weight_map",
    ),
    "config_missing": (broken.remove("config.json"), r"config\.json"),
    "config_not_json": (broken.write("config.json", b"{"), r"config\.json"),
    "config_not_an_object": (broken.write("config.json", b"[]"), r"config\.json"),
    "config_without_hidden_size": (
        broken.edit_config(hidden_size=None), r"hidden_size",
    ),
    "config_hidden_size_is_text": (
        broken.edit_config(hidden_size="64"), r"hidden_size",
    ),
    "config_hidden_size_negative": (
        broken.edit_config(hidden_size=-64), r"hidden_size",
    ),
    "config_hidden_size_huge": (
        broken.edit_config(hidden_size=1 << 62), r"hidden_size|embed_tokens",
    ),
    "config_contradicts_shape": (
        broken.edit_config(intermediate_size=100), r"(gate|up|down)_proj.*100",
    ),
    "config_vocabulary_contradicts": (
        broken.edit_config(vocab_size=100), r"embed_tokens.*100|lm_head.*100",
    ),
    "config_more_layers": (
        broken.edit_config(num_hidden_layers=2), r"model\.layers\.1\.",
    ),
    "config_layers_huge": (
        broken.edit_config(num_hidden_layers=1 << 60), r"num_hidden_layers|model\.layers\.1\.",
    ),
    "config_no_heads": (
        broken.edit_config(num_attention_heads=0), r"num_attention_heads",
    ),
    "config_heads_not_divisible": (
        broken.edit_config(num_attention_heads=3), r"num_attention_heads|num_key_value_heads",
    ),
    "config_head_dim_odd": (broken.edit_config(head_dim=15), r"head_dim"),
    "config_architecture_unknown": (
        broken.edit_config(architectures=["FooForCausalLM"], model_type="foo"),
        r"[Ff]oo",
    ),
    "config_activation_unknown": (
        broken.edit_config(hidden_act="softmaxish"), r"hidden_act.*softmaxish|softmaxish",
    ),
    "config_rope_type_unknown": (
        broken.edit_config(rope_scaling={"rope_type": "spiral", "factor": 2.0}),
        r"spiral",
    ),
    "tokenizer_not_json": (
        broken.write("tokenizer.json", b"{\"model\": "), r"tokenizer\.json",
    ),
}  # fmt: skip
# These need the values of the weights, which only quantization reads.
VALUES = {
    "weight_nan": (broken.poison(float("nan")), r"q_proj.*(nan|NaN|finite)"),
    "weight_infinite": (broken.poison(float("inf")), r"q_proj.*(inf|finite)"),
    "norm_nan": (
        broken.poison(float("nan"), "model.norm.weight"),
        r"model\.norm\.weight.*(nan|NaN|finite)",
    ),
}
COMPILE_OPTIONS = {
    "quantize_unknown": (["--quantize=int5"], r"int5"),
    "group_size_not_a_number": (["--group-size=abc"], r"group-size"),
    "group_size_negative": (["--group-size=-7"], r"group-size.*-7|-7"),
    "group_size_without_groups": (
        ["--quantize=none", "--group-size=7"], r"--group-size.*--quantize",
    ),
    "tune_seconds_without_tune": (["--tune-seconds=7"], r"--tune-seconds.*--tune$"),
    "jobs_negative": (["--jobs=-1"], r"error: --jobs=-1: expected .* 0 to \d+$"),
    "runtime_not_an_archive": (
        ["--runtime=/etc/passwd"], r"error: --runtime='/etc/passwd': is not an archive",
    ),
    "mcpu_unknown": (["--mcpu=i8086"], r"i8086"),
    "target_unknown": (["--target=toaster"], r"toaster"),
    "emit_unknown": (["--emit=jar"], r"error: --emit=jar: expected exe, .* or cubin"),
    "phase_unknown": (["--compile-to=nirvana"], r"nirvana"),
    "kv_cache_unknown": (["--kv-cache=f3"], r"f3"),
    "activations_unknown": (["--activations=int3"], r"int3"),
    "max_tokens_zero": (["--max-tokens=0"], r"max-tokens"),
    "option_unknown": (["--frobnicate"], r"error: .*frobnicate"),
}  # fmt: skip
# Options of the executable; IDS and TEXT stand for files made by the case.
RUN = {
    "option_unknown": (["--frobnicate"], r"frobnicate"),
    "option_without_value": (["--prompt"], r"prompt"),
    "tokens_not_a_number": (["--prompt", "a", "--tokens", "many"], r"tokens"),
    "tokens_negative": (["--prompt", "a", "--tokens", "-3"], r"tokens"),
    "temperature_nan": (["--prompt", "a", "--temperature", "nan"], r"temperature"),
    "temperature_negative": (["--prompt", "a", "--temperature", "-1"], r"temperature"),
    "top_p_above_one": (["--prompt", "a", "--top-p", "2"], r"top-p"),
    "threads_zero": (["--prompt", "a", "--threads", "0"], r"threads"),
    "threads_huge": (["--prompt", "a", "--threads", "99999999999999999999"], r"threads"),
    "prompt_invalid_utf8": (["--prompt", b"a\xff\xfeb"], r"UTF-8"),
    "prompt_truncated_utf8": (["--prompt", b"caf\xc3"], r"UTF-8"),
    "prompt_surrogate": (["--prompt", b"\xed\xa0\x80"], r"UTF-8"),
    "prompt_too_long": (["--prompt", "word " * 2000], r"512"),
    "ids_file_missing": (["--generate-ids", "/nonexistent/ids"], r"/nonexistent/ids"),
    "ids_file_is_folder": (["--generate-ids", "/"], r"/"),
    "perplexity_file_missing": (["--perplexity", "/nonexistent/t"], r"/nonexistent/t"),
    "perplexity_file_empty": (["--perplexity", "/dev/null"], r"/dev/null|empty|tokens"),
    "perplexity_mode_unknown": (
        ["--perplexity", "/etc/passwd", "--perplexity-mode", "vibes"], r"vibes",
    ),
}  # fmt: skip
IDS = {
    "too_large": ("1 2 512", r"512"),
    "negative": ("1 -1 2", r"-1"),
    "not_numbers": ("1 two 3", r"two"),
    "overflow": ("1 99999999999999999999", r"9999|range|id"),
    "empty": ("", r"ids|empty"),
    "more_than_context": ("1 " * 600, r"512"),
}
CRASHES = ("Assertion", "Stack dump", "LLVM ERROR", "terminate called", "PLEASE submit")


class BadInput(tools.Scratch):
    def expect(self, command, message, leaves_no=None, **kwargs):
        """The command fails by itself with one line that matches `message`."""
        done = tools.run(command, check=False, timeout=120, text=False, **kwargs)
        stderr = done.stderr.decode(errors="replace")
        self.assertGreater(
            done.returncode, 0, f"{command}: status {done.returncode}\n{stderr[:2000]}"
        )
        lines = stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, f"one line expected: {stderr[:2000]}")
        self.assertEqual(stderr.count("\n"), 1, "an empty line")
        self.assertLess(len(lines[0]), 500)
        for crash in CRASHES:
            self.assertNotIn(crash, stderr)
        self.assertRegex(lines[0], message)
        if leaves_no:
            folder, name = os.path.split(leaves_no)
            left = [f for f in os.listdir(folder) if f.startswith(name)]
            self.assertEqual(left, [], "files are left behind")

    def interrupt(self, command, out, number=signal.SIGINT, sigint=signal.SIG_DFL):
        """Ctrl-C, or another signal, while the command writes under a temporary
        name. `sigint`: what the command inherits; these tests may run in a
        background job, which ignores it."""
        folder, name = os.path.split(out)

        def left():
            return [f for f in os.listdir(folder) if f.startswith(name)]

        process = subprocess.Popen(
            command, preexec_fn=lambda: signal.signal(signal.SIGINT, sigint)
        )
        while process.poll() is None and not left():
            time.sleep(0.001)
        time.sleep(0.02)
        process.send_signal(number)
        self.assertEqual(process.wait(timeout=120), -number, "came too late")
        self.assertEqual(left(), [], "files are left behind")

    @contextlib.contextmanager
    def full_device(self):
        """A device without space, that must still be there afterwards: a tool
        that renames a temporary file over its output would replace it. Root
        gets a copy, lest it harm the machine's."""
        device = "/dev/full"
        if os.geteuid() == 0:
            device = self.path("full")
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        try:
            yield device
            self.assertTrue(stat.S_ISCHR(os.lstat(device).st_mode), "replaced")
        finally:
            if device != "/dev/full":
                os.remove(device)


class ModelFolderTest(BadInput):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.intact = os.path.join(cls.folder, "intact")
        make_random_model.main([cls.intact, *TINY])

    def damaged(self, damage):
        folder = self.path("model")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.intact, folder)
        damage(folder)
        return folder

    def test_intact_folder_compiles(self):
        """Else all cases below could fail for a wrong reason."""
        out = self.path("fine")
        tools.run([tools.tool("qc-import"), self.intact, "-o", out + ".mlir"])
        tools.compile_model(self.intact, out)
        self.assertTrue(os.access(out, os.X_OK))

    def test_folder_missing(self):
        for name in ("qc-import", "qc-compile"):
            self.expect(
                [tools.tool(name), "/nonexistent/model", "-o", self.path("out")],
                r"/nonexistent/model",
                self.path("out"),
            )

    def test_ir_syntax(self):
        path = self.path("bad.mlir")
        with open(path, "w") as file:
            file.write("module {\n  qc.nonsense\n}\n")
        self.expect(
            [tools.tool("qc-compile"), path, "-o", self.path("out")],
            r"bad\.mlir:2",
            self.path("out"),
        )

    def check_folder(self, tool_names, damage, message):
        folder = self.damaged(damage)
        for name in tool_names:
            out = self.path("out")
            self.expect([tools.tool(name), folder, "-o", out], message, out)

    def check_values(self, damage, message):
        for recipe in ("int4_sym", "none"):
            out = self.path("out")
            self.expect(
                [tools.tool("qc-compile"), self.damaged(damage), "-o", out,
                 f"--quantize={recipe}"],
                message,
                out,
            )  # fmt: skip

    def check_option(self, options, message):
        out = self.path("out")
        self.expect(
            [tools.tool("qc-compile"), self.intact, "-o", out, *options], message, out
        )


class OutputTest(BadInput):
    """Outputs that cannot be written. Root may write anywhere: no chmod here."""

    model = os.path.join(tools.EXAMPLES, "stories260K")

    def test_folder_does_not_exist(self):
        for name in ("qc-import", "qc-compile"):
            out = self.path("nowhere/out")
            self.expect([tools.tool(name), self.model, "-o", out], r"nowhere")

    def test_output_is_a_folder(self):
        os.makedirs(self.path("taken"), exist_ok=True)
        for name in ("qc-import", "qc-compile"):
            self.expect([tools.tool(name), self.model, "-o", self.path("taken")], r"taken")
        self.assertTrue(os.path.isdir(self.path("taken")))

    def test_device_full(self):
        with self.full_device() as device:
            self.expect([tools.tool("qc-import"), self.model, "-o", device], "full")
            self.expect([tools.tool("qc-compile"), self.model, "-o", device], "full")

    def test_interrupt(self):
        out = self.path("interrupted")
        command = [tools.tool("qc-compile"), self.model, "-o", out]
        self.interrupt(command, out)
        self.interrupt(command, out, signal.SIGTERM)
        # As `command &` in a script.
        self.interrupt(command, out, signal.SIGTERM, signal.SIG_IGN)

    def test_size_limit(self):
        """A limit on sizes of files, as a shell's ulimit -f."""

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

        for recipe in ("int4_sym", "none"):
            out = self.path("out")
            self.expect(
                [tools.tool("qc-compile"), self.model, "-o", out, f"--quantize={recipe}"],
                "File too large",
                out,
                preexec_fn=limit,
            )

    @contextlib.contextmanager
    def small_disk(self, size):
        if os.geteuid() != 0:
            self.skipTest("skipped: only root can mount a small tmpfs")
        with tempfile.TemporaryDirectory() as mount:
            done = tools.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mount], check=False
            )
            if done.returncode != 0:
                self.skipTest("skipped: mount is not permitted here")
            try:
                yield mount
            finally:
                tools.run(["umount", mount])

    def test_no_space(self):
        # Less than the executable's runtime alone; the IR gets a full disk.
        with self.small_disk("256k") as disk:
            out = f"{disk}/out"
            message = r"out|[Nn]o space"
            self.expect([tools.tool("qc-compile"), self.model, "-o", out], message, out)
            with open(f"{disk}/ballast", "wb") as file:
                with contextlib.suppress(OSError):
                    file.write(b"0" * (256 << 10))
            self.expect([tools.tool("qc-import"), self.model, "-o", out], message, out)


class ExecutableTest(BadInput):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.story = tools.compile_model(
            os.path.join(tools.EXAMPLES, "stories260K"), os.path.join(cls.folder, "story")
        )

    def test_interrupt(self):
        ids, out = self.path("ids.txt"), self.path("interrupted.npy")
        with open(ids, "w") as file:
            file.write("5 " * 512)
        # Many threads are slow enough to be interrupted.
        command = [self.story, "--logits", ids, "--output", out, "--token-by-token"]
        self.interrupt([*command, "--threads", "64"], out)

    def test_intact_executable_runs(self):
        tools.run([self.story, "--prompt", "a", "--tokens", "3", "--temperature", "0"])

    def check_run(self, options, message):
        self.expect([self.story, *options], message)

    def check_ids(self, text, message):
        path = self.path("ids.txt")
        with open(path, "w") as file:
            file.write(text)
        self.expect([self.story, "--generate-ids", path, "--tokens", "2"], message)
        out = self.path("logits.npy")
        self.expect([self.story, "--logits", path, "--output", out], message, out)

    def test_logits_output_not_writable(self):
        path = self.write_ids([1, 2])
        self.expect(
            [self.story, "--logits", path, "--output", self.path("no/f.npy")], r"no/f\.npy"
        )
        with self.full_device() as device:
            self.expect([self.story, "--logits", path, "--output", device], "full")

    def damaged(self, change):
        path = self.path("damaged")
        with open(self.story, "rb") as file:
            data = bytearray(file.read())
        data = change(data)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o755)
        return path

    def test_truncated(self):
        """The end of the file, with the table of its sections, is gone."""
        for cut in (1, 100, 5000):
            path = self.damaged(lambda d, cut=cut: d[:-cut])
            self.expect([path, "--info"], r"damaged|truncated|payload|corrupt")

    def test_trailer_damaged(self):
        def flip(data):
            data[-40] ^= 0x55
            return data

        self.expect([self.damaged(flip), "--info"], r"damaged|corrupt|payload|trailer|checksum")

    def test_weights_damaged(self):
        """Nothing but the self-test reads all weights."""

        def flip(data):
            # The first section, before the metadata.
            data[data.rindex(b'{"architecture"') - 4096] ^= 0x55
            return data

        self.expect([self.damaged(flip), "--self-test"], r"damaged.*'weights' is damaged")
        self.expect([self.damaged(lambda d: d[:-1]), "--self-test"], r"truncated")

    def test_no_tokenizer(self):
        folder, out = self.path("bare"), self.path("bare-exe")
        make_random_model.main([folder, *TINY])
        tools.compile_model(folder, out)
        self.expect([out, "--prompt", "Hello"], r"tokenizer")

    def test_cpu_lacks_features(self):
        """An AVX2 executable on an emulated CPU of 2008 that has none."""
        if not shutil.which("qemu-x86_64"):
            self.skipTest("skipped: no qemu-x86_64 (package qemu-user)")
        model = os.path.join(tools.EXAMPLES, "stories260K")
        v3 = tools.compile_model(model, self.path("v3"), "--mcpu=x86-64-v3")
        command = ["qemu-x86_64", "-cpu", "Nehalem", v3, "--prompt", "a", "--tokens", "1"]
        done = tools.run(command, check=False)
        self.assertGreater(done.returncode, 0)
        # qemu itself may warn about features of the emulated CPU.
        lines = [l for l in done.stderr.splitlines() if not l.startswith("qemu-x86_64:")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertRegex(lines[0], r"avx2|AVX2")

    def test_cpu_has_features(self):
        """The same emulated CPU runs what was compiled for x86-64-v2."""
        if not shutil.which("qemu-x86_64"):
            self.skipTest("skipped: no qemu-x86_64 (package qemu-user)")
        model = os.path.join(tools.EXAMPLES, "stories260K")
        v2 = tools.compile_model(
            model, self.path("v2"), "--mcpu=x86-64-v2", "--quantize=none"
        )
        ids = self.write_ids([1, 403, 407, 261])
        options = ["--generate-ids", ids, "--tokens", "8", "--temperature", "0"]
        emulated = tools.run(["qemu-x86_64", "-cpu", "Nehalem", v2, *options])
        self.assertEqual(emulated.stdout, tools.run([v2, *options]).stdout)


def add_cases():
    def add(cls, prefix, table, method, *before):
        for name, row in table.items():

            def case(self, row=row):
                getattr(self, method)(*before, *row)

            setattr(cls, f"test_{prefix}_{name}", case)

    both = ("qc-import", "qc-compile")
    add(ModelFolderTest, "folder", FOLDERS, "check_folder", both)
    add(ModelFolderTest, "values", VALUES, "check_values")
    add(ModelFolderTest, "compile", COMPILE_OPTIONS, "check_option")
    add(ExecutableTest, "run", RUN, "check_run")
    add(ExecutableTest, "ids", IDS, "check_ids")


add_cases()

if __name__ == "__main__":
    unittest.main()
