"""Bar chart and roofline of a record of bench_models.py."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from engine import WORKLOADS  # noqa: E402

COLORS = {
    "qc": "#1b6ca8",
    "llama.cpp": "#e08e0b",
    "openvino": "#7a5195",
    "onnxruntime": "#8a8d91",
}


def bars(record, threads, path):
    """A panel a row, groups of bars by format."""
    rows = [w.name for w in WORKLOADS]
    found = [r for r in record["results"] if r["threads"] == threads]
    rows = [n for n in rows if any(n in r["rows"] for r in found)]
    formats = list(dict.fromkeys(m["format"] for m in record["models"]))
    engines = list(dict.fromkeys(m["engine"] for m in record["models"]))
    if not rows:
        return None
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(5.2 * columns, 3.2 * lines), squeeze=False
    )
    for panel in axes.flat[len(rows) :]:
        panel.axis("off")
    width = 0.8 / len(engines)
    for panel, name in zip(axes.flat, rows):
        for i, engine in enumerate(engines):
            rates = {
                r["format"]: r["rows"][name]["rate"]
                for r in found
                if r["engine"] == engine and name in r["rows"]
            }
            at = [j + (i - (len(engines) - 1) / 2) * width for j in range(len(formats))]
            panel.bar(
                at,
                [rates.get(f, 0) for f in formats],
                width,
                label=engine,
                color=COLORS.get(engine),
            )
        panel.set_title(f"{name}, tokens/s", fontsize=10)
        panel.set_xticks(range(len(formats)), formats, fontsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    axes.flat[0].legend(fontsize=8, frameon=False)
    figure.suptitle(f"{record['machine']['cpu']}, {threads} threads", fontsize=11)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path


def matmul_parameters(shape):
    """Weights that every token is multiplied with: layers and head."""
    hidden, inter = shape["hidden"], shape["intermediate"]
    kv = hidden // shape["heads"] * shape["kv_heads"]
    layer = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * inter
    return shape["layers"] * layer + hidden * shape["vocabulary"]


def roofline(record, threads, path):
    """Operations a second over operations a byte of weights (Williams et al.
    2009): a call over M tokens does 2 M operations a weight and reads each once."""
    peaks = record["peaks"][threads]
    stream, top = peaks.get("stream_bytes"), peaks.get("int8_ops")
    if not stream or not top:
        return None
    models = {(m["engine"], m["format"]): m for m in record["models"]}
    parameters = matmul_parameters(record["shape"])
    chunk = {w.name: 1 if w.kind == "decode" else w.tokens for w in WORKLOADS}
    figure, panel = plt.subplots(figsize=(8, 5))
    xs = [0.5, top / stream, 4000]
    panel.plot(xs, [min(top, x * stream) / 1e9 for x in xs], color="black", lw=1)
    markers = dict(zip(dict.fromkeys(f for _, f in models), "osD^vPX*<>hdp8" * 2))
    for result in record["results"]:
        if result["threads"] != threads:
            continue
        key = result["engine"], result["format"]
        points = [
            (2 * parameters * chunk[name] / models[key]["bytes"], row["rate"])
            for name, row in result["rows"].items()
            if name in chunk and "context" not in name
        ]
        panel.plot(
            [x for x, _ in points],
            [2 * parameters * rate / 1e9 for _, rate in points],
            markers[key[1]],
            color=COLORS.get(key[0]),
            ms=5,
            label=" ".join(key),
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("operations a byte of weights")
    panel.set_ylabel("Gop/s")
    panel.set_title(
        f"{threads} threads: {stream / 1e9:.1f} GB/s, int8 {top / 1e9:.0f} Gop/s",
        fontsize=10,
    )
    panel.legend(fontsize=7, frameon=False, ncol=2)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path


def draw(record, output):
    paths = []
    for threads in record["peaks"]:
        paths.append(bars(record, threads, f"{output}-{threads}t.svg"))
        paths.append(roofline(record, threads, f"{output}-roofline-{threads}t.svg"))
    return [path for path in paths if path]
