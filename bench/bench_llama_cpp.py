#!/usr/bin/env python3
"""Decode and prefill speed of a qc executable beside llama.cpp, in one run.

Both sides run the same shape with the same number of threads, in turns
(qc, llama.cpp, qc, ...), so that a busy machine hurts both; the best of each
counts. Refuses when shapes or threads differ. Writes JSON, and Markdown beside it.

    bench/bench_llama_cpp.py --qc ./tinyllama --gguf tinyllama-q4_0.gguf --threads 2 \\
        --output bench/results/tinyllama

llama-bench is taken from PATH or LLAMA_BENCH. Standard library only.

Speeds are tokens per second. `share` is bytes of weights streamed per token
times tokens per second, divided by the machine's streaming-read bandwidth that
qc's --bench measures in the same process with the same threads.
"""

import argparse
import json
import os
import platform
import shutil
import struct
import subprocess
import sys

# GGUF metadata value types: size in bytes of the fixed ones.
# Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9
CODES = {4: "<I", 5: "<i", 10: "<Q", 11: "<q"}


def read_gguf_shape(path):
    """({hidden, layers, heads, kv_heads, intermediate} of a GGUF file, bytes of
    its embedding table if that is not the head too: decode reads one row of it)"""
    wanted = {
        "embedding_length": "hidden",
        "block_count": "layers",
        "attention.head_count": "heads",
        "attention.head_count_kv": "kv_heads",
        "feed_forward_length": "intermediate",
    }
    shape, offsets = {}, {}
    with open(path, "rb") as file:

        def unpack(code):
            return struct.unpack(code, file.read(struct.calcsize(code)))[0]

        def string():
            return file.read(unpack("<Q"))

        def value(kind):
            if kind == STRING:
                return string()
            if kind == ARRAY:
                inner, count = unpack("<I"), unpack("<Q")
                if inner in SIZES:
                    file.seek(SIZES[inner] * count, os.SEEK_CUR)
                else:
                    for _ in range(count):
                        value(inner)
                return None
            if kind in CODES:
                return unpack(CODES[kind])
            file.seek(SIZES[kind], os.SEEK_CUR)
            return None

        if file.read(4) != b"GGUF":
            raise SystemExit(f"{path}: not a GGUF file")
        unpack("<I")  # version
        tensors, pairs = unpack("<Q"), unpack("<Q")
        for _ in range(pairs):
            key = string().decode()
            data = value(unpack("<I"))
            name = wanted.get(key.partition(".")[2])
            if name:
                shape[name] = data
        for _ in range(tensors):
            name = string().decode()
            file.seek(8 * unpack("<I") + 4, os.SEEK_CUR)  # sizes, type
            offsets[name] = unpack("<Q")
    ends = sorted(offsets.values())
    embedding = 0
    if "output.weight" in offsets:
        begin = offsets["token_embd.weight"]
        embedding = next((e for e in ends if e > begin), begin) - begin
    return shape, embedding


def read_config_shape(path):
    with open(path) as file:
        config = json.load(file)
    return {
        "hidden": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "kv_heads": config["num_key_value_heads"],
        "intermediate": config["intermediate_size"],
    }


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"exit status {done.returncode}: {' '.join(command)}")
    return json.loads(done.stdout)


def run_llama(args):
    """{"decode": tokens/s, "prefill": tokens/s, "version"}, best repetition."""
    rows = run_json(
        [args.llama_bench, "-m", args.gguf, "-t", str(args.threads),
         "-p", str(args.prompt), "-n", str(args.tokens), "-r", "3", "-o", "json"]
    )  # fmt: skip
    result = {}
    for row in rows:
        if row["n_threads"] != args.threads:
            raise SystemExit(f"llama-bench ran {row['n_threads']} threads")
        kind = "decode" if row["n_gen"] else "prefill"
        result[kind] = max(row["samples_ts"])
        result["version"] = row["build_commit"]
        result["type"] = row["model_type"]
        result["bytes"] = row["model_size"] - args.gguf_embedding_bytes
    return result


def run_qc(args):
    report = run_json(
        [args.qc, "--bench", "--json", "--threads", str(args.threads),
         "--bench-tokens", str(args.tokens), "--bench-prompt", str(args.prompt)]
    )  # fmt: skip
    if report["threads"] != args.threads:
        raise SystemExit(f"qc ran {report['threads']} threads")
    return report


def machine():
    cpu = platform.processor()
    try:
        with open("/proc/cpuinfo") as file:
            names = [
                l.split(":")[1].strip() for l in file if l.startswith("model name")
            ]
        cpu = names[0] if names else cpu
    except OSError:
        pass
    return {"cpu": cpu, "cores": os.cpu_count(), "load": os.getloadavg()[0],
            "kernel": platform.release()}  # fmt: skip


def markdown(record):
    qc, llama, m = record["qc"], record["llama.cpp"], record["machine"]
    share = lambda r: f"{r['share']:.0%}" if r.get("share") else ""
    return "\n".join(
        [
            f"{m['cpu']}, {m['cores']} cores, {record['threads']} threads; streaming "
            f"read {record['bandwidth_gb_s']:.1f} GB/s; best of {record['rounds']} turns.",
            "",
            "| | decode, tokens/s | share of bandwidth | prefill, tokens/s |",
            "| --- | --- | --- | --- |",
            f"| qc | {qc['decode']:.2f} | {share(qc)} | {qc['prefill']:.1f} |",
            f"| llama.cpp {llama['version']}, {llama['type']} | {llama['decode']:.2f} | "
            f"{share(llama)} | {llama['prefill']:.1f} |",
            f"| ratio | {qc['decode'] / llama['decode']:.2f} | | "
            f"{qc['prefill'] / llama['prefill']:.2f} |",
            "",
        ]
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--qc", required=True, help="executable made by qc-compile")
    parser.add_argument("--config", required=True, help="config.json of its model")
    parser.add_argument("--gguf", required=True, help="model of llama.cpp")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tokens", type=int, default=64, help="tokens decoded")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of prefill")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--output", required=True, help="path without extension")
    args = parser.parse_args()
    args.qc = os.path.abspath(args.qc)
    args.llama_bench = os.environ.get("LLAMA_BENCH") or shutil.which("llama-bench")
    if not args.llama_bench:
        raise SystemExit("no llama-bench on PATH and LLAMA_BENCH is not set")

    ours = read_config_shape(args.config)
    theirs, args.gguf_embedding_bytes = read_gguf_shape(args.gguf)
    if ours != theirs:
        raise SystemExit(f"shapes differ: qc {ours}, llama.cpp {theirs}")

    qc_runs, llama_runs = [], []
    for turn in range(args.rounds):
        qc_runs.append(run_qc(args))
        llama_runs.append(run_llama(args))
        print(f"turn {turn + 1} of {args.rounds}: qc {qc_runs[-1]['decode']['best']:.2f}, "
              f"llama.cpp {llama_runs[-1]['decode']:.2f} tokens/s", file=sys.stderr)  # fmt: skip

    bandwidth = max(r["stream_bytes_per_second"] for r in qc_runs) / 1e9
    qc = {
        "decode": max(r["decode"]["best"] for r in qc_runs),
        "prefill": max(r["prefill"]["best"] for r in qc_runs),
        "bytes": qc_runs[0]["bytes_per_token"],
    }
    llama = {**llama_runs[0]}
    for kind in ("decode", "prefill"):
        llama[kind] = max(r[kind] for r in llama_runs)
    for side in (qc, llama):
        side["share"] = side["bytes"] * side["decode"] / (bandwidth * 1e9)
    record = {
        "machine": machine(), "threads": args.threads, "rounds": args.rounds,
        "shape": ours, "bandwidth_gb_s": bandwidth, "qc": qc, "llama.cpp": llama,
        "runs": {"qc": qc_runs, "llama.cpp": llama_runs},
    }  # fmt: skip
    os.makedirs(os.path.dirname(os.path.abspath(args.output)), exist_ok=True)
    with open(args.output + ".json", "w") as file:
        json.dump(record, file, indent=1)
    with open(args.output + ".md", "w") as file:
        file.write(markdown(record))
    print(markdown(record))


if __name__ == "__main__":
    main()
