"""Executables of unquantized models against transformers' golden logits.

For each family and each x86-64 level that this machine runs: logits of a
prompt, the same prompt token by token, and 16 greedy tokens. Perplexities of
the trained models against the golden values of the shared data's README.
"""

import json
import os
import unittest

import numpy as np

from qc_test import tools

FAMILIES = ("llama", "llama-tied-mha", "llama3-rope", "mistral", "qwen2", "qwen3")
# model: [(key of ids, of logits, of greedy tokens)]
TRAINED = {
    "stories260K": [(f"p{i}_ids", f"p{i}_logits", f"p{i}_greedy") for i in (0, 1)],
    "babyllama-tok105": [(f"p{i}_ids", f"p{i}_logits", f"p{i}_greedy") for i in (0, 1)],
    "books-5m": [("prompt_ids", "logits", "greedy_ids")],
}
RANDOM = [(f"p{n}_ids", f"p{n}_logits", f"p{n}_greedy16") for n in (8, 33)]

# From the shared data's README (transformers, f32): model, text, mode, options,
# perplexity, scored tokens.
PERPLEXITIES = [
    ("stories260K", "tinystories/valid-excerpt.txt", "lines", [], 5.17468, 9136),
    ("stories260K", "wikitext-2-raw/wiki.test.raw", "windows",
     ["--perplexity-tokens", "20480"], 130.56965, 20480),
    ("babyllama-tok105", "tinystories/valid-excerpt.txt", "lines", [], 2.21592, 4845),
    ("babyllama-tok105", "wikitext-2-raw/wiki.test.raw", "windows",
     ["--perplexity-tokens", "20480"], 22.47383, 20480),
    ("books-5m", "books/valid.txt", "gptq", ["--window", "256"], 63.69936, 24022),
    ("books-5m", "books/test.txt", "gptq", ["--window", "256"], 73.80082, 25317),
]  # fmt: skip


def identifier(*parts):
    text = "_".join(parts)
    return "".join(c if c.isalnum() else "_" for c in text)


class GoldenTest(tools.Scratch):
    def model_folder(self, source, config):
        """The folder itself, or links to it with `config` as config.json."""
        if config == "config.json":
            return source
        folder = self.path(identifier(source, config))
        os.makedirs(folder, exist_ok=True)
        for name, target in (("config.json", config), ("model.safetensors",) * 2):
            if not os.path.lexists(f"{folder}/{name}"):
                os.symlink(f"{source}/{target}", f"{folder}/{name}")
        return folder

    def check(self, source, config, level, prompts):
        golden = np.load(f"{source}/golden.npz")
        executable = tools.compile_model(
            self.model_folder(source, config),
            self.path(identifier(os.path.basename(source), config, level)),
            "--quantize=none",
            f"--mcpu={level}",
        )
        for ids_key, logits_key, greedy_key in prompts:
            ids = self.write_ids(golden[ids_key])
            prefill = tools.logits(executable, ids, self.path("prefill"))
            decode = tools.logits(
                executable, ids, self.path("decode"), "--token-by-token"
            )
            error = tools.relative(prefill, golden[logits_key])
            apart = tools.relative(decode, prefill)
            print(
                f"{os.path.basename(source)} {config} {level} {ids_key}: "
                f"{error:.1e} to transformers, {apart:.1e} prefill to decode"
            )
            self.assertLessEqual(error, 1e-3)
            self.assertLessEqual(apart, 1e-4)
            greedy = [int(t) for t in golden[greedy_key][:16]]
            self.assertEqual(tools.generate_ids(executable, ids, 16), greedy)
        os.remove(executable)


class PerplexityTest(tools.Scratch):
    compiled = {}

    def measure(self, model, text, mode, options, quantize):
        source = tools.shared("models", model)
        text = tools.shared("text", text)
        key = (self.folder, model, quantize)
        if key not in self.compiled:
            self.compiled[key] = tools.compile_model(
                source, self.path(identifier(model, quantize)), f"--quantize={quantize}"
            )
        done = tools.run(
            [self.compiled[key], "--perplexity", text, "--perplexity-mode", mode,
             "--json", *options]
        )  # fmt: skip
        return json.loads(done.stdout)

    def check(self, model, text, mode, options, expected, scored, quantize, bound):
        result = self.measure(model, text, mode, options, quantize)
        ratio = result["perplexity"] / expected
        print(f"{model} {text} {quantize}: {result['perplexity']:.5f} ({ratio:.5f})")
        self.assertEqual(result["tokens"], scored)
        self.assertLessEqual(abs(ratio - 1), bound)


# VNNI changes integer kernels only: x86-64-v4-vnni has v4's code here.
F32_LEVELS = [level for level in tools.cpu_levels() if level != "x86-64-v4-vnni"]


def add_cases():
    # Both spellings of config.json must import alike; one level shows that.
    for family in FAMILIES:
        runs = [("config.json", level) for level in F32_LEVELS]
        for config, level in runs + [("config.v5.json", "native")]:

            def case(self, family=family, config=config, level=level):
                self.check(tools.shared("golden", family), config, level, RANDOM)

            setattr(GoldenTest, identifier("test", family, config, level), case)
    for model, prompts in TRAINED.items():
        for level in F32_LEVELS:

            def case(self, model=model, level=level, prompts=prompts):
                source = tools.shared("models", model)
                self.check(source, "config.json", level, prompts)

            setattr(GoldenTest, identifier("test", model, level), case)
    for row in PERPLEXITIES:
        for quantize, bound in (("none", 1e-4), ("int8", 5e-3)):

            def case(self, row=row, quantize=quantize, bound=bound):
                self.check(*row, quantize, bound)

            name = identifier("test", row[0], os.path.dirname(row[1]),
                              os.path.basename(row[1]).split(".")[0], quantize)  # fmt: skip
            setattr(PerplexityTest, name, case)


add_cases()

if __name__ == "__main__":
    unittest.main()
