"""What the benchmark asks of an engine, and running processes."""

import dataclasses
import json
import os
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass(frozen=True)
class Workload:
    """`tokens` decoded one by one, or evaluated in one call ("prefill"), with
    `context` tokens in a cache of `cache` elements before. `repeat` times, the
    best counts."""

    name: str
    kind: str
    tokens: int
    context: int = 0
    repeat: int = 2
    cache: str = "f16"


# Short calls are repeated more often: a stray interrupt is a large part of one.
WORKLOADS = [
    Workload("decode", "decode", 64),
    Workload("decode at context 2048", "decode", 32, context=2016, repeat=1),
    Workload("decode at context 2048 (int8 cache)", "decode", 32, context=2016,
             repeat=1, cache="i8"),  # fmt: skip
    Workload("batch 4", "prefill", 4, repeat=40),
    Workload("batch 8", "prefill", 8, repeat=40),
    Workload("batch 16", "prefill", 16, repeat=40),
    Workload("prefill 512", "prefill", 512),
]

# What each engine has that is closest: (name there, options). All have the same
# shape; bits per weight differ and stand beside each result.
FORMATS = {
    "int4": {
        "qc": "--quantize=int4_sym --group-size=128",
        "llama.cpp": "Q4_0",
        "openvino": "int4",
        "onnxruntime": "int4",
    },
    "int4 g64": {
        "qc": "--quantize=int4_sym --group-size=64",
        "llama.cpp": "Q4_0",
        "openvino": "int4 --group-size 64",
        "onnxruntime": "int4 --group-size 64",
    },
    "int4 g32": {
        "qc": "--quantize=int4_sym --group-size=32",
        "llama.cpp": "Q4_0",
        "openvino": "int4 --group-size 32",
        "onnxruntime": "int4 --group-size 32",
    },
    "int8": {
        "qc": "--quantize=int8",
        "llama.cpp": "Q8_0",
        "openvino": "int8",
        "onnxruntime": "int8",
    },
    "nf4": {"qc": "--quantize=nf4", "llama.cpp": "IQ4_NL", "openvino": "nf4"},
    "3 bits": {
        "qc": "qc-quantize-rtn{bits=3 group-size=64}",
        "llama.cpp": "Q3_K_S",
    },
    "2 bits": {"qc": "qc-quantize-rtn{bits=2 group-size=64}", "llama.cpp": "Q2_K"},
    # Two bits hold ternary weights, too.
    "2 bits g256": {
        "qc": "qc-quantize-rtn{bits=2 group-size=256}",
        "llama.cpp": "TQ2_0",
    },
    "1 bit": {"qc": "qc-quantize-rtn{bits=1 group-size=128}", "llama.cpp": "Q1_0"},
    # Random weights have no structure to find: one iteration is as good as any.
    "codebooks 2x8": {
        "qc": "qc-quantize-aqlm{books=2 bits=8 vector=8 iterations=1 passes=1}",
        "llama.cpp": "Q2_K",
    },
}


class Mismatch(Exception):
    """Two sides were not built or run the same way."""


class Absent(Exception):
    """The engine is not on this machine."""


class ProcessResult:
    def __init__(self, command, seconds, cpu_seconds, peak_bytes, stdout):
        self.command, self.seconds, self.cpu_seconds = command, seconds, cpu_seconds
        self.peak_bytes, self.stdout = peak_bytes, stdout

    def json(self):
        return json.loads(self.stdout)


def run_process(command, cwd=None):
    """Runs to the end and measures wall time, CPU time and peak resident set
    (ru_maxrss of that process, getrusage(2): mapped weights count)."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        begin = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, cwd=cwd
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            tail = errors.read().decode(errors="replace")[-2000:]
            raise RuntimeError(
                f"exit status {process.returncode}: {' '.join(command)}\n{tail}"
            )
        cpu = usage.ru_utime + usage.ru_stime
        return ProcessResult(
            command, seconds, cpu, usage.ru_maxrss * 1024, out.read().decode()
        )


class Engine:
    """One engine. Models are made under `folder` once; `prepare.json` beside
    each tells how long that took."""

    name = ""
    caches = ("f16",)  # elements of the KV cache that it is measured with

    def __init__(self, args):
        """Raises Absent."""
        self.args = args
        self.model = os.path.abspath(args.model)
        self.folder = os.path.join(os.path.abspath(args.work), self.name)

    def version(self):
        raise NotImplementedError

    def has(self, key):
        return self.name in FORMATS[key]

    def spelling(self, key):
        return FORMATS[key][self.name]

    def path(self, key):
        return os.path.join(self.folder, key.replace(" ", "-"))

    def prepare_commands(self, key):
        """Commands that make path(key) from the model folder, in order."""
        raise NotImplementedError

    def prepare(self, key):
        """Makes the model if it is missing: {"seconds", "peak_bytes", "steps"}."""
        path = self.path(key)
        note = path + ".prepare.json"
        if not os.path.exists(path):
            os.makedirs(self.folder, exist_ok=True)
            steps = []
            for command in self.prepare_commands(key):
                done = run_process(command, cwd=self.folder)
                steps.append(
                    {
                        "command": done.command,
                        "seconds": done.seconds,
                        "peak_bytes": done.peak_bytes,
                    }
                )
            record = {
                "seconds": sum(s["seconds"] for s in steps),
                "peak_bytes": max(s["peak_bytes"] for s in steps),
                "steps": steps,
            }
            with open(note, "w") as file:
                json.dump(record, file, indent=1)
        if not os.path.exists(note):
            return None
        with open(note) as file:
            return json.load(file)

    def describe(self, key):
        """{"shape", "spelling", "bytes": of weights read for one decoded token}"""
        raise NotImplementedError

    def run(self, key, threads, workloads):
        """{workload name: {"rate": tokens/s, "command"}}; raises Mismatch when
        the engine did something else than asked."""
        raise NotImplementedError

    def process_command(self, key, threads, prompt, tokens):
        """A process that evaluates `prompt` tokens, decodes `tokens` and ends."""
        raise NotImplementedError


def expect(what, found, wanted):
    if found != wanted:
        raise Mismatch(f"{what}: ran {found}, asked for {wanted}")
