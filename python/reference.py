#!/usr/bin/env python3
"""Forward pass of Llama, Mistral, Qwen2 and Qwen3 in numpy, in double.

Independent of qc's compiler and runtime: tests compare the executable with it.
Written from the papers: RMSNorm (Zhang and Sennrich 2019), rotary embedding
(Su et al. 2021, in the half-split form of Hugging Face checkpoints),
grouped-query attention (Ainslie et al. 2023), sliding window (Jiang et al.
2023), SwiGLU (Shazeer 2020), Llama 3's frequency scaling (Dubey et al. 2024).

    python/reference.py MODEL_DIR --ids IDS.txt --output F.npy

Pass `tensors` to Model to run other weights, such as dequantized ones.
Shapes: T tokens, D hidden, H heads, G kv heads, d head_dim, V vocabulary.
"""

import argparse
import json
import os

import numpy as np

from qc_test import safetensors


def rope_frequencies(config):
    """Angular frequency of each of the d/2 rotations, [d/2]."""
    # transformers 5 nests what earlier versions keep at the top level.
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    dim = head_dim(config)
    frequency = theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return frequency
    if kind == "linear":
        return frequency / rope["factor"]
    if kind != "llama3":
        raise ValueError(f"rope type {kind!r}: expected default, linear or llama3")
    # Long waves are slowed by `factor`, short ones kept, those between blended.
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * frequency / (2 * np.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return frequency * (blend + (1 - blend) / rope["factor"])


def head_dim(config):
    explicit = config.get("head_dim")
    return explicit or config["hidden_size"] // config["num_attention_heads"]


def window_of_layer(config, layer):
    """Positions a token sees, itself included; None for all before it."""
    window = config.get("sliding_window")
    if config["model_type"] == "mistral":
        return window
    if not config.get("use_sliding_window"):
        return None
    kinds = config.get("layer_types")
    if kinds:
        return window if kinds[layer] == "sliding_attention" else None
    return window if layer >= config.get("max_window_layers", 0) else None


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, angle):
    """x [T, heads, d], angle [T, d/2]"""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Model:
    def __init__(self, folder, config="config.json", tensors=None):
        with open(os.path.join(folder, config)) as file:
            self.config = json.load(file)
        tensors = safetensors.read_folder(folder) if tensors is None else tensors
        self.tensors = {n: np.asarray(t, np.float64) for n, t in tensors.items()}

    def product(self, x, weight):
        """x [T, K] times weight [N, K]; other arithmetics override it."""
        return x @ weight.T

    def linear(self, x, name):
        y = self.product(x, self.tensors[name + ".weight"])
        bias = self.tensors.get(name + ".bias")
        return y if bias is None else y + bias

    def norm(self, x, name):
        eps = self.config["rms_norm_eps"]
        return rms_norm(x, self.tensors[name + ".weight"], eps)

    def attention(self, x, layer):
        config, prefix = self.config, f"model.layers.{layer}.self_attn."
        tokens, dim = len(x), head_dim(config)
        heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
        q = self.linear(x, prefix + "q_proj").reshape(tokens, heads, dim)
        k = self.linear(x, prefix + "k_proj").reshape(tokens, groups, dim)
        v = self.linear(x, prefix + "v_proj").reshape(tokens, groups, dim)
        if prefix + "q_norm.weight" in self.tensors:
            q, k = self.norm(q, prefix + "q_norm"), self.norm(k, prefix + "k_norm")
        angle = np.arange(tokens)[:, None] * rope_frequencies(config)
        q, k = rotate(q, angle), rotate(k, angle)
        k, v = (np.repeat(t, heads // groups, axis=1) for t in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(dim)
        distance = np.arange(tokens)[:, None] - np.arange(tokens)[None]
        window = window_of_layer(config, layer)
        visible = (distance >= 0) & (distance < (window or tokens))
        scores = np.where(visible, scores, -np.inf)
        mixed = np.einsum("hij,jhd->ihd", softmax(scores), v)
        return self.linear(mixed.reshape(tokens, -1), prefix + "o_proj")

    def mlp(self, x, layer):
        prefix = f"model.layers.{layer}.mlp."
        gate = self.linear(x, prefix + "gate_proj")
        gate = gate / (1 + np.exp(-gate))
        return self.linear(gate * self.linear(x, prefix + "up_proj"), prefix + "down_proj")

    def logits(self, ids):
        """ids [T] -> logits [T, V], double"""
        embedding = self.tensors["model.embed_tokens.weight"]
        x = embedding[np.asarray(ids)]
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            x = x + self.attention(self.norm(x, prefix + "input_layernorm"), layer)
            x = x + self.mlp(self.norm(x, prefix + "post_attention_layernorm"), layer)
        x = self.norm(x, "model.norm")
        return self.product(x, self.tensors.get("lm_head.weight", embedding))

    def greedy(self, ids, count):
        """The `count` most probable next tokens, one after the other."""
        ids = list(ids)
        for _ in range(count):
            ids.append(int(self.logits(ids)[-1].argmax()))
        return ids[-count:]


def negative_log_likelihood(logits, targets):
    """Sum over rows of -log softmax(logits)[target]."""
    logits = np.asarray(logits, np.float64)
    top = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
    return float((log_sum - logits[np.arange(len(targets)), targets]).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="Hugging Face folder")
    parser.add_argument("--config", default="config.json", help="name in the folder")
    parser.add_argument("--ids", required=True, help="file of token ids")
    parser.add_argument("--output", required=True, help="float32 [ids, vocabulary] .npy")
    args = parser.parse_args()
    with open(args.ids) as file:
        ids = [int(word) for word in file.read().split()]
    logits = Model(args.model, args.config).logits(ids)
    np.save(args.output, logits.astype(np.float32))


if __name__ == "__main__":
    main()
