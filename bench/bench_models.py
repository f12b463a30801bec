#!/usr/bin/env python3
"""Speed of whole models: qc beside llama.cpp, OpenVINO GenAI and ONNX Runtime.

    bench/bench_models.py MODEL_DIR --work /work/peers --threads 2,1 \\
        --llama-bin ~/llama.cpp/build/bin --python ~/peers/bin/python \\
        --output bench/results/models

Engines that are not found are named and skipped. All get the same weights and
number of threads and take turns, so that a busy machine hurts all; the best of
--rounds counts. Refuses to compare what differs in shape, threads, tokens or
context. Writes OUTPUT.json and OUTPUT.md, and charts where matplotlib is
installed. docs/Performance.md explains the rows.
"""

import argparse
import contextlib
import fcntl
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))

import machine  # noqa: E402
import report  # noqa: E402
from engine import FORMATS, WORKLOADS, Absent, Mismatch, run_process  # noqa: E402
from engine_llama_cpp import LlamaCpp  # noqa: E402
from engine_python import OnnxRuntime, OpenVINO  # noqa: E402
from engine_qc import QC  # noqa: E402

ENGINES = [QC, LlamaCpp, OpenVINO, OnnxRuntime]
# What a process needs that evaluates a prompt and answers; (prompt, tokens).
PROCESSES = {"cold start": (1, 1), "memory": (512, 16)}


def log(text):
    print(text, file=sys.stderr, flush=True)


def find_engines(args):
    engines = []
    for kind in ENGINES:
        if args.engines and kind.name not in args.engines:
            continue
        try:
            engines.append(kind(args))
        except Absent as reason:
            log(f"{kind.name}: skipped: {reason}")
    return engines


@contextlib.contextmanager
def quiet(path):
    """Holds the lock file alone, so that builds that share it wait."""
    if not path:
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare(args, engines, formats):
    """[(engine, format)] and what is known of each."""
    pairs, about = [], {}
    for key in formats:
        for engine in engines:
            if not engine.has(key):
                continue
            log(f"{engine.name}: model of {key}")
            try:
                with quiet(args.lock):
                    prepared = engine.prepare(key)
            except (Absent, RuntimeError) as reason:
                log(f"{engine.name}: {key} skipped: {reason}")
                continue
            about[engine.name, key] = {
                **engine.describe(key),
                "prepare": prepared,
                "file_bytes": size(engine.path(key)),
            }
            pairs.append((engine, key))
    shapes = {json.dumps(a["shape"], sort_keys=True) for a in about.values()}
    if len(shapes) > 1:
        raise SystemExit(f"shapes differ, nothing to compare: {shapes}")
    return pairs, about


def size(path):
    if os.path.isdir(path):
        return sum(size(os.path.join(path, f)) for f in os.listdir(path))
    return os.path.getsize(path)


def better(rows, key, row):
    """Keeps the faster of two runs of a row, and all their values."""
    best = rows.setdefault(key, {**row, "runs": []})
    best["runs"].append(row["rate"] if "rate" in row else row["seconds"])
    if "rate" in row and row["rate"] > best["rate"]:
        best.update(row)
    if "seconds" in row:
        best["seconds"] = min(best["seconds"], row["seconds"])
        best["peak_bytes"] = min(best["peak_bytes"], row["peak_bytes"])


def run_row(args, pairs, name, threads, results):
    """All engines in turns at one row of one format."""
    workload = next((w for w in WORKLOADS if w.name == name), None)
    if workload:
        pairs = [pair for pair in pairs if workload.cache in pair[0].caches]
    for _ in range(args.rounds):
        for engine, key in pairs:
            rows = results.setdefault((engine.name, key, threads), {})
            with quiet(args.lock):
                if name in PROCESSES:
                    command = engine.process_command(key, threads, *PROCESSES[name])
                    done = run_process(command)
                    row = {
                        "seconds": done.seconds,
                        "peak_bytes": done.peak_bytes,
                        "command": done.command,
                    }
                else:
                    row = engine.run(key, threads, [workload])[name]
            better(rows, name, row)
    for engine, key in pairs:
        row = results[engine.name, key, threads][name]
        unit = "tokens/s" if "rate" in row else "s"
        runs = ", ".join(f"{value:.2f}" for value in row["runs"])
        log(f"  {threads} threads, {key}, {name}, {engine.name}: {runs} {unit}")


def make_record(args, engines, about, peaks, bandwidth, results):
    return {
        "machine": machine.describe(),
        "command": sys.argv,
        "rounds": args.rounds,
        "shape": next(iter(about.values()))["shape"],
        "versions": {e.name: e.version() for e in engines},
        "peaks": {
            # The faster of two measurements of the same thing is nearer to it.
            t: {
                **peaks[t],
                "stream_bytes": max(bandwidth[t], peaks[t].get("stream_bytes", 0)),
            }
            for t in peaks
        },
        "models": [
            {"engine": e, "format": f, **values} for (e, f), values in about.items()
        ],
        "results": [
            {"engine": e, "format": f, "threads": t, "rows": rows}
            for (e, f, t), rows in results.items()
        ],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="Hugging Face folder, Llama family")
    parser.add_argument("--work", required=True, help="folder for the engines' models")
    parser.add_argument("--output", required=True, help="path without extension")
    parser.add_argument("--build", help="qc's build folder (default: build/release)")
    parser.add_argument("--llama-bin", help="folder of llama-bench (default: PATH)")
    parser.add_argument("--python", help="interpreter with the peers' packages")
    parser.add_argument("--engines", help="only these, comma separated")
    parser.add_argument("--formats", help=f"of {', '.join(FORMATS)}; default: all")
    parser.add_argument(
        "--rows", help="only workloads of these names, or whose names contain these"
    )
    parser.add_argument("--threads", default=str(len(os.sched_getaffinity(0))))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each engine")
    parser.add_argument("--lock", help="file to lock while measuring; see flock(1)")
    args = parser.parse_args()
    formats = args.formats.split(",") if args.formats else list(FORMATS)
    if unknown := set(formats) - set(FORMATS):
        parser.error(f"unknown format {unknown.pop()!r}, expected {list(FORMATS)}")
    args.engines = args.engines.split(",") if args.engines else None
    names = {w.name for w in WORKLOADS} | PROCESSES.keys()

    def wanted(name):
        if not args.rows:
            return True
        parts = args.rows.split(",")
        return any(p == name if p in names else p in name for p in parts)

    rows = [w.name for w in WORKLOADS if wanted(w.name)]
    rows += [name for name in PROCESSES if wanted(name)]

    engines = find_engines(args)
    pairs, about = prepare(args, engines, formats)
    build = args.build or os.path.join(HERE, "..", "build", "release")
    kernels = os.path.join(build, "bin", "qc-bench-kernels")
    results, peaks, bandwidth = {}, {}, {}
    for threads in map(int, args.threads.split(",")):
        with quiet(args.lock):
            peaks[threads] = machine.kernel_peaks(kernels, threads)
        for key in formats:
            turns = [pair for pair in pairs if pair[1] == key]
            for name in rows:
                try:
                    run_row(args, turns, name, threads, results)
                except Mismatch as reason:
                    raise SystemExit(f"refusing to compare: {reason}") from None
            for engine in engines:
                found = getattr(engine, "bandwidth", {}).get(threads, 0)
                bandwidth[threads] = max(found, bandwidth.get(threads, 0))
            # After each format: a long run that is stopped leaves what it has.
            record = make_record(args, engines, about, peaks, bandwidth, results)
            report.write(record, args.output)
    print(report.summary(args.output))


if __name__ == "__main__":
    main()
