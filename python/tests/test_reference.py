"""The numpy reference against the golden logits of transformers."""

import unittest

import numpy as np

import reference
from qc_test import tools

FAMILIES = ("llama", "llama-tied-mha", "llama3-rope", "mistral", "qwen2", "qwen3")


class ReferenceTest(unittest.TestCase):
    def check(self, folder, config, prompt_key, logits_key, greedy_key, greedy):
        golden = np.load(f"{folder}/golden.npz")
        model = reference.Model(folder, config)
        ids = golden[prompt_key]
        error = tools.relative(model.logits(ids), golden[logits_key])
        print(f"{folder} {config} {prompt_key}: {error:.2e}")
        self.assertLessEqual(error, 1e-5)
        expected = list(golden[greedy_key][:greedy])
        self.assertEqual(model.greedy(ids, len(expected)), expected)


def add_cases():
    for family in FAMILIES:
        for config in ("config.json", "config.v5.json"):

            def case(self, family=family, config=config):
                folder = tools.shared("golden", family)
                for p in ("p8", "p33"):
                    self.check(
                        folder, config, p + "_ids", p + "_logits", p + "_greedy16", 16
                    )

            name = f"test_{family}_{config}".replace("-", "_").replace(".", "_")
            setattr(ReferenceTest, name, case)
    for model, keys in (
        ("stories260K", ("p0_ids", "p0_logits", "p0_greedy")),
        ("babyllama-tok105", ("p1_ids", "p1_logits", "p1_greedy")),
        ("books-5m", ("prompt_ids", "logits", "greedy_ids")),
    ):

        def case(self, model=model, keys=keys):
            self.check(tools.shared("models", model), "config.json", *keys, 8)

        setattr(ReferenceTest, f"test_{model}".replace("-", "_"), case)


add_cases()

if __name__ == "__main__":
    unittest.main()
