"""A layer is processed at a time: memory does not grow with the layers.

bench/bench_compile.py shows the same on a model of 1.1 billion parameters.
"""

import os
import unittest

import make_random_model
from qc_test import memory, tools

HIDDEN, INTER = 768, 2048
LAYER_BYTES = 4 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INTER)  # as f32


class MemoryTest(tools.Scratch):
    def peak(self, layers):
        folder = self.path(f"layers-{layers}")
        make_random_model.main(
            [folder, "--shape", "small-110m", "--dtype", "f16",
             "--set", "vocab_size=1000", "--set", f"num_hidden_layers={layers}"]
        )  # fmt: skip
        out = self.path("out")
        command = [tools.tool("qc-compile"), folder, "-o", out, "--quantize=int4_sym"]
        seconds, peak = memory.measure(command)
        size = os.path.getsize(os.path.join(folder, "model.safetensors"))
        print(
            f"{layers} layers, {size / 1e6:.0f} MB of f16: {seconds:.1f} s, "
            f"peak {peak / 1e6:.0f} MB, executable {os.path.getsize(out) / 1e6:.0f} MB"
        )
        return seconds, peak

    def test_memory_does_not_grow_with_layers(self):
        _, few = self.peak(3)
        _, many = self.peak(23)
        grown = many - few
        print(f"20 more layers of {LAYER_BYTES / 1e6:.0f} MB: {grown / 1e6:+.0f} MB")
        # IR and metadata of a layer are some ten kB; its weights must not stay.
        self.assertLess(grown, 2 * LAYER_BYTES)


if __name__ == "__main__":
    unittest.main()
