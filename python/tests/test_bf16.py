"""Weights and activations in bf16 against numpy in double.

One layer: behind it, sums that differ by f32's rounding errors are rounded to
bf16 again, and the few that fall on the other side of a tie change all others.
"""

import json
import os
import unittest

import numpy as np
import reference
from qc_test import safetensors, tools

# AVX-512 BF16 with and without other extensions of its CPUs.
LEVEL = "cooperlake"


class RoundedModel(reference.Model):
    """Inputs of every product with a weight are rounded to bf16."""

    def product(self, x, weight):
        rounded = safetensors.from_bf16(safetensors.to_bf16(x))
        return rounded.astype(np.float64) @ weight.T


def rounded_copy(source, folder):
    """The model's first layer, with its matrices in bf16."""
    os.makedirs(folder)
    tensors = safetensors.read(f"{source}/model.safetensors")
    tensors = {
        n: t for n, t in tensors.items()
        if ".layers." not in n or ".layers.0." in n
    }  # fmt: skip
    with open(f"{source}/config.json") as file:
        config = json.load(file)
    config["num_hidden_layers"] = 1
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file)
    names = {n for n, t in tensors.items() if t.ndim == 2}
    stored = {n: safetensors.to_bf16(t) if n in names else t for n, t in tensors.items()}
    safetensors.write(
        f"{folder}/model.safetensors", stored, {n: "BF16" for n in names}
    )
    for name in os.listdir(source):
        if not os.path.exists(f"{folder}/{name}"):
            os.symlink(f"{source}/{name}", f"{folder}/{name}")
    return folder


class BF16Test(tools.Scratch):
    def setUp(self):
        self.source = tools.shared("models", "babyllama-tok105")

    def compare(self, level):
        model = rounded_copy(self.source, self.path("model-" + level))
        ids = np.load(f"{self.source}/golden.npz")["p0_ids"]
        executable = tools.compile_model(
            model, self.path("bf16-" + level), "--quantize=none", "--kv-cache=f32",
            "--activations=bf16", f"--mcpu={level}",
        )  # fmt: skip
        file = self.write_ids(ids)
        prefill = tools.logits(executable, file, self.path("prefill"))
        decode = tools.logits(
            executable, file, self.path("decode"), "--token-by-token"
        )
        tools.run([executable, "--self-test"])
        return (prefill, decode), reference.Model(model), RoundedModel(model), ids

    def apart(self, actual, expected):
        """The median over tokens of the largest difference, as a share of the
        range. (A sum next to a tie rounds the other way now and then, which
        moves that token's logits by a whole step of bf16.)"""
        apart = np.abs(actual - expected).max(1) / np.ptp(expected)
        print(f"{apart.min():.1e} to {apart.max():.1e}")
        return np.median(apart)

    def test_rounds_what_it_says(self):
        if "avx512_bf16" not in tools.cpu_flags():
            self.skipTest("skipped: this CPU has no AVX-512 BF16")
        results, exact, rounded, ids = self.compare(LEVEL)
        expected = rounded.logits(ids)
        self.assertGreater(self.apart(exact.logits(ids), expected), 1e-4)
        for result in results:
            self.assertLess(self.apart(result, expected), 1e-6)

    def test_other_cpus_compute_in_f32(self):
        results, exact, _, ids = self.compare("x86-64-v2")
        for result in results:
            self.assertLess(self.apart(result, exact.logits(ids)), 1e-6)


if __name__ == "__main__":
    unittest.main()
