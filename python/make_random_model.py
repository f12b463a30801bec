#!/usr/bin/env python3
"""Writes a Hugging Face style folder with random weights of a given shape.

Weights are Gaussian with standard deviation 0.02, norms are 1, biases (of
families that have them) Gaussian too. Rows are drawn and written block by block, so that
memory stays at tens of megabytes whatever the model. Same arguments, same bytes.

    python/make_random_model.py OUT --shape tinyllama-1.1b --dtype bf16
    python/make_random_model.py OUT --shape tiny --family qwen3 --shards 3
    python/make_random_model.py OUT --shape tiny --set hidden_size=96 --set vocab_size=300

The folder has no tokenizer unless --tokenizer names files to copy into it.
"""

import argparse
import json
import os
import shutil
import sys

import numpy as np

from qc_test import safetensors

SHAPES = {
    # TinyLlama/TinyLlama-1.1B-Chat-v1.0, Zhang et al. 2024.
    "tinyllama-1.1b": dict(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=22,
        num_attention_heads=32, num_key_value_heads=4, vocab_size=32000,
        max_position_embeddings=2048,
    ),
    "small-110m": dict(
        hidden_size=768, intermediate_size=2048, num_hidden_layers=12,
        num_attention_heads=12, num_key_value_heads=12, vocab_size=32000,
        max_position_embeddings=1024,
    ),
    "tiny": dict(
        hidden_size=64, intermediate_size=172, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, vocab_size=512,
        max_position_embeddings=256,
    ),
}  # fmt: skip
FAMILIES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
TORCH_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
BLOCK = 1 << 20  # elements drawn at a time


def make_config(args):
    shape = dict(SHAPES[args.shape])
    for item in args.set:
        key, _, value = item.partition("=")
        shape[key] = json.loads(value)
    config = {
        "architectures": [FAMILIES[args.family]],
        "model_type": args.family,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": TORCH_NAMES[args.dtype],
        **shape,
    }
    config.setdefault(
        "head_dim", config["hidden_size"] // config["num_attention_heads"]
    )
    return config


def tensor_shapes(config):
    """{name: shape} in file order."""
    hidden, inter = config["hidden_size"], config["intermediate_size"]
    head = config["head_dim"]
    q, kv = (config[f"num_{n}_heads"] * head for n in ("attention", "key_value"))
    family = config["model_type"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        shapes[layer + "input_layernorm.weight"] = (hidden,)
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            shapes[f"{layer}self_attn.{name}_proj.weight"] = (rows, hidden)
            if family == "qwen2" or config.get("attention_bias"):
                shapes[f"{layer}self_attn.{name}_proj.bias"] = (rows,)
        if family == "qwen3":
            shapes[layer + "self_attn.q_norm.weight"] = (head,)
            shapes[layer + "self_attn.k_norm.weight"] = (head,)
        shapes[layer + "self_attn.o_proj.weight"] = (hidden, q)
        if family != "qwen2" and config.get("attention_bias"):
            shapes[layer + "self_attn.o_proj.bias"] = (hidden,)
        shapes[layer + "post_attention_layernorm.weight"] = (hidden,)
        for name in ("gate", "up"):
            shapes[f"{layer}mlp.{name}_proj.weight"] = (inter, hidden)
        shapes[layer + "mlp.down_proj.weight"] = (hidden, inter)
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def blocks(name, shape, generator):
    """The tensor as float32 pieces of at most BLOCK elements, in order."""
    total = int(np.prod(shape))
    for begin in range(0, total, BLOCK):
        count = min(BLOCK, total - begin)
        if name.endswith("norm.weight"):
            yield np.ones(count, dtype=np.float32)
        else:
            values = generator.standard_normal(count, dtype=np.float32)
            values *= np.float32(0.02)
            yield values


def convert(values, dtype):
    if dtype == "bf16":
        return safetensors.to_bf16(values)
    return values.astype(np.float16) if dtype == "f16" else values


def write_file(path, shapes, dtype, generator):
    with open(path, "wb") as file:
        file.write(safetensors.encode_header(safetensors.plan(shapes, dtype.upper())))
        for name, shape in shapes.items():
            for values in blocks(name, shape, generator):
                file.write(convert(values, dtype).tobytes())


def make(args):
    config = make_config(args)
    shapes = tensor_shapes(config)
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    generator = np.random.Generator(np.random.SFC64(args.seed))
    names = list(shapes)
    if args.shards <= 1:
        path = os.path.join(args.out, "model.safetensors")
        write_file(path, shapes, args.dtype, generator)
    else:
        weight_map = {}
        for i in range(args.shards):
            part = names[len(names) * i // args.shards : len(names) * (i + 1) // args.shards]
            shard = f"model-{i + 1:05}-of-{args.shards:05}.safetensors"
            weight_map.update(dict.fromkeys(part, shard))
            path = os.path.join(args.out, shard)
            write_file(path, {n: shapes[n] for n in part}, args.dtype, generator)
        path = os.path.join(args.out, "model.safetensors.index.json")
        with open(path, "w") as file:
            json.dump({"metadata": {}, "weight_map": weight_map}, file, indent=1)
    for path in args.tokenizer:
        shutil.copy(path, args.out)
    return sum(int(np.prod(s)) for s in shapes.values())


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--family", choices=FAMILIES, default="llama")
    parser.add_argument("--dtype", choices=TORCH_NAMES, default="f32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="config field"
    )
    parser.add_argument("--tokenizer", nargs="*", default=[], metavar="FILE")
    args = parser.parse_args(arguments)
    count = make(args)
    print(f"{args.out}: {count:,} parameters, {args.dtype}", file=sys.stderr)


if __name__ == "__main__":
    main()
