"""Reads the weights of a Hugging Face folder (Llama family) for converters."""

import json
import os
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "python"))

from qc_test import safetensors  # noqa: E402


class Folder:
    """config.json and the tensors of a folder."""

    def __init__(self, path):
        with open(os.path.join(path, "config.json")) as file:
            self.config = json.load(file)
        if self.config["model_type"] != "llama":
            raise SystemExit(f"{path}: model_type must be llama")
        self.entries = {}
        for name in sorted(os.listdir(path)):
            if not name.endswith(".safetensors"):
                continue
            file = os.path.join(path, name)
            header, base = safetensors.read_header(file)
            data = np.memmap(file, dtype=np.uint8, mode="r")
            for key, entry in header.items():
                if key != "__metadata__":
                    self.entries[key] = (data, base, entry)

    def __getitem__(self, name):
        """The tensor in f32."""
        data, base, entry = self.entries[name]
        begin, end = entry["data_offsets"]
        raw = np.asarray(data[base + begin : base + end])
        if entry["dtype"] == "BF16":
            values = safetensors.from_bf16(raw.view(np.uint16))
        else:
            values = raw.view({"F16": np.float16, "F32": np.float32}[entry["dtype"]])
        return values.astype(np.float32).reshape(entry["shape"])

    def shape(self):
        """What must agree between engines; see compare.py."""
        c = self.config
        return {
            "hidden": c["hidden_size"],
            "layers": c["num_hidden_layers"],
            "heads": c["num_attention_heads"],
            "kv_heads": c["num_key_value_heads"],
            "intermediate": c["intermediate_size"],
            "vocabulary": c["vocab_size"],
        }
