"""Engines that are Python packages: each runs in a worker process of the
interpreter --python names (of an environment that has them)."""

import json
import os
import sys

from engine import Absent, Engine, HERE, Mismatch, run_process


class PythonEngine(Engine):
    package = converter = worker = ""

    def __init__(self, args):
        super().__init__(args)
        self.python = args.python or sys.executable
        code = f"import {self.package} as p; print(p.__version__)"
        try:
            self.found = run_process([self.python, "-c", code]).stdout.strip()
        except (RuntimeError, OSError):
            raise Absent(f"{self.python} cannot import {self.package}") from None

    def version(self):
        return self.found

    def script(self, name, *arguments):
        return [self.python, os.path.join(HERE, name), *map(str, arguments)]

    def prepare_commands(self, key):
        yield self.script(
            self.converter, self.model, self.path(key), "--format",
            *self.spelling(key).split(),
        )

    def describe(self, key):
        with open(os.path.join(self.path(key), "convert.json")) as file:
            record = json.load(file)
        return {
            "shape": record["shape"],
            "spelling": f"{record['format']} g{record['group_size']}",
            "bits_per_weight": None,
            "bytes": record["bytes"] - record["embedding_bytes"],
        }

    def run(self, key, threads, workloads):
        asked = json.dumps([vars(w) for w in workloads])
        command = self.script(self.worker, self.path(key), threads, "--run", asked)
        done = run_process(command)
        report = done.json()
        for w in workloads:
            row = report[w.name]
            # The number of busy threads, as the system counted it.
            if row.pop("busy") > threads + 0.3:
                raise Mismatch(f"{self.name}: more than {threads} threads were busy")
            if row.pop("tokens") != w.tokens:
                raise Mismatch(f"{self.name}: another number of tokens")
            row["command"] = done.command
        return report

    def process_command(self, key, threads, prompt, tokens):
        return self.script(
            self.worker, self.path(key), threads, "--once", prompt, tokens
        )


class OpenVINO(PythonEngine):
    name, package = "openvino", "openvino_genai"
    converter, worker = "convert_openvino.py", "worker_openvino.py"


class OnnxRuntime(PythonEngine):
    name, package = "onnxruntime", "onnxruntime"
    converter, worker = "convert_onnx.py", "worker_onnxruntime.py"
