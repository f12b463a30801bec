#!/usr/bin/env python3
"""Time and peak memory of qc-compile on a model, by default one of TinyLlama's
shape with random weights (1.1 billion parameters, bf16, made in a scratch folder).

    bench/bench_compile.py [MODEL_DIR] [-- qc-compile options]

Prints seconds, peak anonymous memory (mapped files not counted), the size of
the largest layer in f32 beside it, and the executable's size.
"""

import argparse
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "python"))

import make_random_model  # noqa: E402
from qc_test import memory, safetensors, tools  # noqa: E402


def largest_layer(folder):
    """Parameters of the largest group model.layers.N, and the largest matrix."""
    layers, matrix = {}, 0
    for file in os.listdir(folder):
        if not file.endswith(".safetensors"):
            continue
        header, _ = safetensors.read_header(os.path.join(folder, file))
        for name, entry in header.items():
            count = 1
            for size in entry["shape"]:
                count *= size
            key = ".".join(name.split(".")[:3]) if ".layers." in name else name
            layers[key] = layers.get(key, 0) + count
            matrix = max(matrix, count)
    return max(layers.values()), matrix


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="Hugging Face folder")
    parser.add_argument("options", nargs="*", help="of qc-compile, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = args.model
        if model is None:
            model = os.path.join(scratch, "tinyllama-1.1b")
            make_random_model.main(
                [model, "--shape", "tinyllama-1.1b", "--dtype", "bf16"]
            )
        out = os.path.join(scratch, "model")
        seconds, peak = memory.measure(
            [tools.tool("qc-compile"), model, "-o", out, *args.options]
        )
        layer, matrix = largest_layer(model)
        print(f"seconds          {seconds:.1f}")
        print(f"peak memory      {peak / 1e6:.0f} MB anonymous")
        print(f"largest layer    {layer * 4 / 1e6:.0f} MB in f32")
        print(f"largest matrix   {matrix * 4 / 1e6:.0f} MB in f32")
        print(f"executable       {os.path.getsize(out) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
