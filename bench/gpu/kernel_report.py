#!/usr/bin/env python3
"""Tables of bench_kernels.py.

bench/gpu/kernel_report.py RECORD.json       writes RECORD.md again
"""

import json
import os
import sys

PREFILL = 64  # tokens from which arithmetic is the limit, not memory


def ordered(values):
    return list(dict.fromkeys(values))


def is_qc(result):
    return result["engine"].startswith("qc ")


def from_cache(result, cache_bytes):
    """Whether the weights that are read before one returns fit in the cache, or
    nearly: such a time says nothing of the memory."""
    return result["rotation_bytes"] < 2 * cache_bytes


def bandwidth(result):
    """GB/s of the packed weight."""
    return result["bytes"] / result["microseconds"] / 1e3


def teraflops(result):
    work = 2 * result["rows"] * result["columns"] * result["tokens"]
    return work / result["microseconds"] / 1e6


def fastest_peer(results, rows, columns, tokens):
    """Microseconds; None where no peer has that shape."""
    same = [
        r["microseconds"]
        for r in results
        if not is_qc(r)
        and (r["rows"], r["columns"], r["tokens"]) == (rows, columns, tokens)
    ]
    return min(same, default=None)


def row_cells(record, result):
    rates, cache = record["rates"], record["machine"]["gpu"]["l2_bytes"]
    best = fastest_peer(
        record["results"], result["rows"], result["columns"], result["tokens"]
    )
    cached = from_cache(result, cache)
    factor, share = "", ""
    if result["tokens"] >= PREFILL:
        share = f"{teraflops(result) * 1e12 / rates['f16']:.0%}"
    elif not cached:
        share = f"{bandwidth(result) * 1e9 / rates['copy']:.0%}"
    if is_qc(result) and best and not cached:
        factor = f"**{best / result['microseconds']:.2f}**"
    return [
        result["engine"],
        result["format"],
        f"{result['microseconds']:.2f}",
        f"{result['bytes'] / 1e6:.2f}",
        "(cache)" if cached else f"{bandwidth(result):.0f}",
        f"{teraflops(result):.1f}",
        share,
        factor,
    ]


def product_tables(record):
    lines = []
    for tokens in sorted({r["tokens"] for r in record["results"]}):
        here = [r for r in record["results"] if r["tokens"] == tokens]
        title = "1 token" if tokens == 1 else f"{tokens} tokens"
        limit = "of f16's peak" if tokens >= PREFILL else "of the copy's GB/s"
        lines += [
            "", f"## Products, {title}", "",
            "| rows x columns | engine | format | us | MB of weights | GB/s | TFLOP/s "
            f"| {limit} | fastest peer / qc |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]  # fmt: skip
        for rows, columns in ordered((r["rows"], r["columns"]) for r in here):
            shape = f"{rows}x{columns}"
            for result in here:
                if (result["rows"], result["columns"]) != (rows, columns):
                    continue
                lines.append("| " + " | ".join([shape, *row_cells(record, result)]) + " |")
                shape = ""
    return lines


def step_tables(record):
    """Where the time of qc's steps goes: kernels of 1 % and more."""
    lines = []
    for model in record["models"]:
        for tokens, step in model["steps"].items():
            total = step["microseconds"]
            every = sum(k["microseconds"] * k["launches"] for k in step["kernels"])
            lines += [
                "", f"## {model['engine']}, a step of {tokens} tokens", "",
                f"{total:.0f} us, {int(tokens) / total * 1e6:.0f} tokens/s; "
                f"its kernels alone {every:.0f} us.", "",
                "| kernel | launches | us each | GB/s | of the kernels |",
                "| --- | --- | --- | --- | --- |",
            ]  # fmt: skip
            for k in sorted(
                step["kernels"], key=lambda k: -k["microseconds"] * k["launches"]
            ):
                share = k["microseconds"] * k["launches"] / every
                if share < 0.01:
                    continue
                speed = k["bytes"] / k["microseconds"] / 1e3 if k["bytes"] > 65536 else 0
                lines.append(
                    f"| `{k['name']}` | {k['launches']} | {k['microseconds']:.2f} | "
                    f"{f'{speed:.0f}' if speed else ''} | {share:.0%} |"
                )
    return lines


def markdown(record):
    m, rates = record["machine"], record["rates"]
    gpu = m["gpu"]
    lines = [
        f"{gpu['name']}, compute capability {gpu['capability']}, "
        f"{gpu['multiprocessors']} multiprocessors, "
        f"{gpu['memory_bytes'] / 2**30:.0f} GiB, L2 {gpu['l2_bytes'] / 1e6:.0f} MB, "
        f"driver {gpu['driver']}; {m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}.",
        "",
        f"{record['date']}. Versions: "
        + ", ".join(f"{e} {v}" for e, v in record["versions"].items())
        + f". Medians of {record['rounds']} interleaved turns of {record['replays']}"
        " replays; between two uses of a weight at least"
        f" {record['caches']} times the L2 cache is read of others.",
        "",
        f"Copy {rates['copy'] / 1e9:.0f} GB/s (bytes read and written), reduction "
        f"{rates['read'] / 1e9:.0f} GB/s read; 8192x8192x8192: f16 "
        f"{rates['f16'] / 1e12:.0f} TFLOP/s, int8 {rates['int8'] / 1e12:.0f} TOP/s; "
        f"a kernel that does nothing, in a graph: {rates['launch_us']:.2f} us.",
    ]
    if record["skipped"]:
        lines += [""] + [f"- {what}: skipped: {why}" for what, why in record["skipped"]]
    lines += product_tables(record) + step_tables(record)
    lines += ["", "<details><summary>Command lines</summary>", "", "```"]
    lines += [" ".join(c) for c in record["commands"]] + ["```", "", "</details>", ""]
    return "\n".join(lines)


def write(record, output):
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    with open(output + ".json", "w") as file:
        json.dump(record, file, indent=1)
    with open(output + ".md", "w") as file:
        file.write(markdown(record))


def summary(output):
    """The tables without the command lines."""
    with open(output + ".md") as file:
        return file.read().partition("<details>")[0]


def main(arguments):
    if len(arguments) != 1 or not arguments[0].endswith(".json"):
        raise SystemExit("usage: kernel_report.py RECORD.json")
    try:
        with open(arguments[0]) as source:
            record = json.load(source)
        write(record, arguments[0].removesuffix(".json"))
    except OSError as reason:
        raise SystemExit(f"{arguments[0]}: {reason.strerror}") from None
    except (ValueError, KeyError) as reason:
        raise SystemExit(f"{arguments[0]}: not a record: {reason!r}") from None
    print(summary(arguments[0].removesuffix(".json")))


if __name__ == "__main__":
    main(sys.argv[1:])
