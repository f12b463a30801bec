"""llama.cpp: llama-bench and llama-quantize, from PATH or --llama-bin."""

import os
import shutil
import sys

from engine import Absent, Engine, HERE, expect, run_process
from gguf_shape import read_gguf_shape


class LlamaCpp(Engine):
    name = "llama.cpp"
    caches = ("f16", "i8")

    def __init__(self, args):
        super().__init__(args)
        where = args.llama_bin
        self.bench_tool = shutil.which("llama-bench", path=where)
        self.quantize_tool = shutil.which("llama-quantize", path=where)
        if not self.bench_tool:
            raise Absent("no llama-bench on PATH; --llama-bin names its folder")

    def version(self):
        return getattr(self, "commit", "")

    def path(self, key):
        # Several rows may share one file.
        return os.path.join(self.folder, self.spelling(key) + ".gguf")

    def prepare_commands(self, key):
        if not self.quantize_tool:
            raise Absent("no llama-quantize beside llama-bench")
        f16 = os.path.join(self.folder, "f16.gguf")
        if not os.path.exists(f16):
            run_process([self.args.python or sys.executable,
                         os.path.join(HERE, "convert_gguf.py"), self.model,
                         f16])  # fmt: skip
        yield [self.quantize_tool, f16, self.path(key), self.spelling(key),
               os.cpu_count()]  # fmt: skip

    def describe(self, key):
        shape, embedding, size = read_gguf_shape(self.path(key))
        return {
            "shape": shape,
            "spelling": self.spelling(key),
            "bits_per_weight": None,
            "bytes": size - embedding,
        }

    def bench(self, key, threads, prompts, tokens, depth, repeat, extra=()):
        command = [self.bench_tool, "-m", self.path(key), "-t", threads,
                   "-p", ",".join(map(str, prompts)) or 0, "-n", tokens,
                   "-d", depth, "-r", repeat, "-o", "json", *extra]  # fmt: skip
        done = run_process(command)
        rows = done.json()
        for row in rows:
            expect("llama.cpp threads", row["n_threads"], threads)
            expect("llama.cpp context", row["n_depth"], depth)
            self.commit = row["build_commit"]
        return rows, done.command

    def run(self, key, threads, workloads):
        results = {}
        for w in workloads:
            prefill = w.kind == "prefill"
            rows, command = self.bench(
                key, threads, [w.tokens] if prefill else [],
                0 if prefill else w.tokens, w.context, w.repeat,
                () if not w.context else ("-fa", "on") if w.cache == "f16"
                else ("-fa", "on", "-ctk", "q8_0", "-ctv", "q8_0"),
            )  # fmt: skip
            (row,) = rows
            field = "n_prompt" if prefill else "n_gen"
            expect("llama.cpp tokens", row[field], w.tokens)
            results[w.name] = {"rate": max(row["samples_ts"]), "command": command}
        return results

    def process_command(self, key, threads, prompt, tokens):
        return [self.bench_tool, "-m", self.path(key), "-t", threads, "-p", prompt,
                "-n", tokens, "-r", 1, "--no-warmup", "-o", "json"]  # fmt: skip
