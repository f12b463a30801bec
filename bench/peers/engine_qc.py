"""qc: executables that qc-compile makes."""

import json
import os
import sys

from engine import Absent, Engine, HERE, expect, run_process
from hf_weights import Folder

ROOT = os.path.dirname(os.path.dirname(HERE))


class QC(Engine):
    name = "qc"
    caches = ("f16", "i8")

    def __init__(self, args):
        super().__init__(args)
        build = args.build or os.path.join(ROOT, "build", "release")
        self.bin = os.path.join(build, "bin")
        if not os.path.exists(self.tool("qc-compile")):
            raise Absent(f"no {self.tool('qc-compile')}: ninja qc-tools, or --build")
        self.bandwidth = {}

    def tool(self, name):
        return os.path.join(self.bin, name)

    def version(self):
        done = run_process(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"])
        return done.stdout.strip()

    def prepare_commands(self, key):
        out, spelling = self.path(key), self.spelling(key)
        if spelling.startswith("--"):
            options = spelling.split()
            yield [self.tool("qc-compile"), self.model, "-o", out, *options]
            return
        imported, quantized = out + ".import.mlir", out + ".mlir"
        yield [self.tool("qc-import"), self.model, "-o", imported]
        # Embedding and head as everywhere else.
        rest = "qc-quantize-rtn{bits=8 group-size=128 targets=all}"
        pipeline = f"builtin.module({spelling},{rest})"
        yield [self.tool("qc-opt"), imported, f"--pass-pipeline={pipeline}",
               "-o", quantized]  # fmt: skip
        yield [self.tool("qc-compile"), quantized, "-o", out]

    def library(self, key, cache):
        """Shared object of the same model: --bench starts from empty caches, the
        C interface from any position."""
        path = self.path(key) + ("" if cache == "f16" else "-" + cache) + ".so"
        if not os.path.exists(path):
            command = list(self.prepare_commands(key))[-1]
            command[command.index("-o") + 1] = path
            run_process([*command, "--emit=shared", f"--kv-cache={cache}"], cwd=self.folder)
        return path

    def describe(self, key):
        info = run_process([self.path(key), "--info", "--json"]).json()
        return {
            "shape": Folder(self.model).shape(),
            "spelling": self.spelling(key),
            "bits_per_weight": info.get("bits_per_weight"),
            "bytes": info["bytes_per_token"],
        }

    def bench(self, key, threads, prompt, tokens, repeat):
        command = [self.path(key), "--bench", "--json", "--threads", threads,
                   "--bench-prompt", prompt, "--bench-tokens", tokens,
                   "--repeat", repeat]  # fmt: skip
        done = run_process(command)
        report = done.json()
        expect("qc threads", report["threads"], threads)
        expect("qc prompt", report["prefill"]["tokens"], prompt)
        expect("qc tokens", report["decode"]["tokens"], tokens)
        stream = report["stream_bytes_per_second"]
        self.bandwidth[threads] = max(self.bandwidth.get(threads, 0), stream)
        return report, done.command

    def run(self, key, threads, workloads):
        results = {}
        for w in workloads:
            if w.context:
                command = [sys.executable, os.path.join(HERE, "worker_qc.py"),
                           self.library(key, w.cache), str(threads),
                           json.dumps(vars(w))]  # fmt: skip
                done = run_process(command)
                results[w.name] = {**done.json(), "command": done.command}
                continue
            prompt, tokens = (w.tokens, 1) if w.kind == "prefill" else (1, w.tokens)
            report, command = self.bench(key, threads, prompt, tokens, w.repeat)
            results[w.name] = {"rate": report[w.kind]["best"], "command": command}
        return results

    def process_command(self, key, threads, prompt, tokens):
        ids = os.path.join(self.folder, f"ids-{prompt}.txt")
        with open(ids, "w") as file:
            file.write(" ".join(str((i * 7919 + 1) % 30000) for i in range(prompt)))
        return [self.path(key), "--generate-ids", ids, "--tokens", tokens,
                "--temperature", 0, "--ignore-eos", "--threads", threads]  # fmt: skip
