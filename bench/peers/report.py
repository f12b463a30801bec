#!/usr/bin/env python3
"""Tables and charts of bench_models.py.

bench/peers/report.py RECORD.json       writes RECORD.md and the charts again
"""

import json
import os
import sys

from engine import WORKLOADS


def index(record):
    """{(engine, format, threads): rows}, {(engine, format): model}"""
    results = {
        (r["engine"], r["format"], r["threads"]): r["rows"] for r in record["results"]
    }
    models = {(m["engine"], m["format"]): m for m in record["models"]}
    return results, models


def ordered(values):
    return list(dict.fromkeys(values))


def ratio(row, peers):
    """qc against the fastest peer."""
    return row / max(peers) if row and peers else None


def speed_table(record, threads):
    results, models = index(record)
    engines = ordered(m["engine"] for m in record["models"])
    stream = record["peaks"][threads].get("stream_bytes")
    lines = [
        "| format | row | " + " | ".join(engines) + " | qc / best peer |",
        "| --- | --- |" + " --- |" * len(engines) + " --- |",
    ]
    for key in ordered(m["format"] for m in record["models"]):
        for name in [w.name for w in WORKLOADS]:
            cells, rates = [], {}
            for engine in engines:
                row = results.get((engine, key, threads), {}).get(name)
                if not row:
                    cells.append("")
                    continue
                rates[engine] = row["rate"]
                cell = f"{row['rate']:.1f}"
                if name == "decode" and stream:
                    share = row["rate"] * models[engine, key]["bytes"] / stream
                    cell += f" ({share:.0%})"
                cells.append(cell)
            if not rates:
                continue
            ours = rates.pop("qc", None)
            factor = ratio(ours, rates.values())
            cells.append(f"**{factor:.2f}**" if factor else "")
            lines.append(f"| {key} | {name} | " + " | ".join(cells) + " |")
    return lines


def process_table(record, threads):
    results, models = index(record)
    lines = [
        "| format | engine | its format | MB read a token | file, MB | cold start, s "
        "| peak memory, MB | model made in, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    order = ordered(m["format"] for m in record["models"])
    for (engine, key), model in sorted(
        models.items(), key=lambda item: order.index(item[0][1])
    ):
        rows = results.get((engine, key, threads), {})
        cold, memory, made = (
            rows.get("cold start"),
            rows.get("memory"),
            model["prepare"],
        )
        cells = [
            key,
            engine,
            f"`{model['spelling']}`",
            f"{model['bytes'] / 1e6:.0f}",
            f"{model['file_bytes'] / 1e6:.0f}",
            f"{cold['seconds']:.2f}" if cold else "",
            f"{memory['peak_bytes'] / 1e6:.0f}" if memory else "",
            f"{made['seconds']:.1f}" if made else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def command_list(record):
    """Each engine's command lines, once."""
    lines = []
    for result in record["results"]:
        for name, row in result["rows"].items():
            command = " ".join(map(str, row["command"]))
            lines.append(
                f"{result['engine']}, {result['format']}, {name}, "
                f"{result['threads']} threads:\n    {command}"
            )
    return lines


def markdown(record, charts):
    m = record["machine"]
    lines = [
        f"{m['cpu']} (family/model/stepping {m['family_model_stepping']}"
        f"{', virtual' if m['virtual'] else ''}), {m['cpus']} CPUs, "
        f"{', '.join(m['caches'])}, {m['memory_gb']} GB, Linux {m['kernel']}; "
        f"{' '.join(m['flags'])}.",
        "",
        "Versions: "
        + ", ".join(f"{e} {v}" for e, v in record["versions"].items())
        + f". Best of {record['rounds']} interleaved turns; tokens a second; in "
        "parentheses the share of the streaming bandwidth.",
    ]
    for threads, peaks in record["peaks"].items():
        lines += ["", f"## {threads} threads", ""]
        known = []
        if peaks.get("stream_bytes"):
            known.append(f"streaming read {peaks['stream_bytes'] / 1e9:.1f} GB/s")
        if peaks.get("int8_ops"):
            known.append(f"int8 peak {peaks['int8_ops'] / 1e9:.0f} Gop/s")
        if known:
            lines += [", ".join(known) + ".", ""]
        lines += speed_table(record, threads)
        lines += ["", *process_table(record, threads)]
    for chart in charts:
        name = os.path.basename(chart)
        lines += ["", f"![{name}]({name})"]
    lines += ["", "<details><summary>Command lines</summary>", "", "```"]
    lines += [*command_list(record), "```", "", "</details>", ""]
    return "\n".join(lines)


def write(record, output):
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    with open(output + ".json", "w") as file:
        json.dump(record, file, indent=1)
    # Keys of JSON objects are strings: read back what was written.
    with open(output + ".json") as file:
        record = json.load(file)
    for result in record["results"]:
        result["threads"] = str(result["threads"])
    try:
        import charts

        names = charts.draw(record, output)
    except ImportError as reason:
        print(f"no charts: {reason} (bench/requirements.txt)", file=sys.stderr)
        names = []
    text = markdown(record, names)
    with open(output + ".md", "w") as file:
        file.write(text)


def summary(output):
    """The tables without the command lines."""
    with open(output + ".md") as file:
        return file.read().partition("<details>")[0]


if __name__ == "__main__":
    path = sys.argv[1]
    with open(path) as source:
        write(json.load(source), path.removesuffix(".json"))
    print(summary(path.removesuffix(".json")))
