#!/usr/bin/env python3
"""Writes an OpenVINO IR of a Llama-family folder and compresses it with NNCF.

    bench/peers/convert_openvino.py MODEL_DIR OUT --format int4 [--group-size 128]

The graph is the one that Optimum exports (github.com/huggingface/optimum-intel):
stateful KV cache behind ReadValue, a Gather by beam_idx, scaled dot product
attention, so that the CPU plugin fuses the same patterns; docs.openvino.ai,
"Stateful models" and "LLM weight compression". Building it from opset 13
directly needs neither torch nor the network. The head and the embedding become
int8 (NNCF's default), all else the format. Writes OUT/convert.json with the time.
"""

import argparse
import json
import os
import shutil
import time

import numpy as np
import openvino as ov
from openvino import opset13 as op

from hf_weights import Folder


def const(value, dtype=np.int64):
    return op.constant(np.array(value, dtype))


class Graph:
    def __init__(self, folder):
        self.folder, c = folder, folder.config
        self.eps = c["rms_norm_eps"]
        self.heads, self.kv = c["num_attention_heads"], c["num_key_value_heads"]
        self.dim = c.get("head_dim", c["hidden_size"] // self.heads)
        self.theta = c.get("rope_theta", 10000.0)
        self.sinks = []

    def weight(self, name):
        half = op.constant(self.folder[name + ".weight"].astype(np.float16))
        half.set_friendly_name(name)
        return op.convert(half, ov.Type.f32)

    def linear(self, x, name):
        product = op.matmul(x, self.weight(name), False, True)
        product.set_friendly_name(name + "/MatMul")
        return product

    def norm(self, x, name):
        one = lambda v: op.constant(np.full((1, 1, 1), v, np.float32))
        mean = op.reduce_mean(op.power(x, one(2.0)), const([-1]), keep_dims=True)
        factor = op.divide(one(1.0), op.sqrt(op.add(mean, one(self.eps))))
        gamma = op.constant(self.folder[name + ".weight"].reshape(1, 1, -1))
        return op.multiply(gamma, op.multiply(x, factor))

    def rotary(self, x):
        half = self.dim // 2
        parts = op.variadic_split(x, const(3), const([half, half]))
        minus = op.constant(np.full((1, 1, 1, 1), -1.0, np.float32))
        turned = op.concat([op.multiply(parts.output(1), minus), parts.output(0)], -1)
        return op.add(op.multiply(x, self.cos), op.multiply(turned, self.sin))

    def split_heads(self, x, heads):
        return op.transpose(
            op.reshape(x, const([0, 0, heads, self.dim]), True), const([0, 2, 1, 3])
        )

    def cached(self, x, name):
        """The whole sequence's keys or values: past from the state, then x."""
        shape = op.concat(
            [self.batch, const([self.kv]), const([0]), const([self.dim])], 0
        )
        empty = op.broadcast(op.constant(np.float32(0)), shape)
        past = op.read_value(
            empty, name, ov.Type.f32, ov.PartialShape([-1, self.kv, -1, self.dim])
        )
        kept = op.gather(past, self.beam, const(0))
        whole = op.concat([kept, x], 2)
        self.sinks.append(op.assign(whole, name))
        if self.heads == self.kv:
            return whole
        # The fusion of cache and attention asks for this mode of Broadcast.
        repeated = op.broadcast(
            op.unsqueeze(whole, const(2)),
            const([1, 1, self.heads // self.kv, 1, 1]),
            broadcast_spec="BIDIRECTIONAL",
        )
        return op.reshape(repeated, const([0, self.heads, -1, self.dim]), True)

    def attention(self, x, name, layer):
        q = self.split_heads(self.linear(x, name + ".q_proj"), self.heads)
        k = self.split_heads(self.linear(x, name + ".k_proj"), self.kv)
        v = self.split_heads(self.linear(x, name + ".v_proj"), self.kv)
        k = self.cached(self.rotary(k), f"past_key_values.{layer}.key")
        v = self.cached(v, f"past_key_values.{layer}.value")
        y = op.scaled_dot_product_attention(
            self.rotary(q), k, v, self.mask, causal=False
        )
        y = op.reshape(
            op.transpose(y, const([0, 2, 1, 3])),
            const([0, 0, self.heads * self.dim]),
            True,
        )
        return self.linear(y, name + ".o_proj")

    def positions(self, ids, mask, position):
        """Rotary tables and the causal mask, shared by all layers."""
        exponents = np.arange(0, self.dim, 2, dtype=np.float64) / self.dim
        inverse = (1.0 / self.theta**exponents).astype(np.float32)
        angles = op.matmul(
            op.constant(inverse.reshape(1, -1, 1)),
            op.convert(op.unsqueeze(position, const(1)), ov.Type.f32),
            False,
            False,
        )
        angles = op.transpose(angles, const([0, 2, 1]))
        both = op.concat([angles, angles], 2)
        self.cos = op.unsqueeze(op.cos(both), const(1))
        self.sin = op.unsqueeze(op.sin(both), const(1))
        size = lambda of, i: op.gather(op.shape_of(of), const(i), const(0))
        self.batch = op.gather(op.shape_of(ids), const([0]), const(0))
        length, total = size(ids, 1), size(mask, 1)
        keys = op.unsqueeze(op.range(const(0), total, const(1), "i64"), const(0))
        queries = op.range(op.subtract(total, length), total, const(1), "i64")
        seen = op.less_equal(keys, op.unsqueeze(queries, const(1)))
        low = op.constant(np.float32(np.finfo(np.float32).min))
        additive = op.select(seen, op.constant(np.float32(0)), low)
        self.mask = op.unsqueeze(additive, const([0, 1]))

    def build(self):
        inputs = []
        for name, shape, kind in (
            ("input_ids", [-1, -1], ov.Type.i64),
            ("attention_mask", [-1, -1], ov.Type.i64),
            ("position_ids", [-1, -1], ov.Type.i64),
            ("beam_idx", [-1], ov.Type.i32),
        ):
            parameter = op.parameter(shape, kind, name)
            parameter.set_friendly_name(name)
            parameter.output(0).set_names({name})
            inputs.append(parameter)
        ids, mask, position, self.beam = inputs
        self.positions(ids, mask, position)
        x = op.gather(self.weight("model.embed_tokens"), ids, const(0))
        for layer in range(self.folder.config["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            y = self.norm(x, name + ".input_layernorm")
            x = op.add(x, self.attention(y, name + ".self_attn", layer))
            y = self.norm(x, name + ".post_attention_layernorm")
            gate = op.swish(self.linear(y, name + ".mlp.gate_proj"))
            up = self.linear(y, name + ".mlp.up_proj")
            x = op.add(x, self.linear(op.multiply(gate, up), name + ".mlp.down_proj"))
        x = self.norm(x, "model.norm")
        logits = op.result(self.linear(x, "lm_head"))
        logits.output(0).set_names({"logits"})
        return ov.Model([logits], self.sinks, inputs, "llama")


def compress(model, args):
    import nncf

    modes = nncf.CompressWeightsMode
    if args.format == "int8":
        return nncf.compress_weights(model, mode=modes.INT8_ASYM)
    mode = {"int4": modes.INT4_SYM, "nf4": modes.NF4}[args.format]
    return nncf.compress_weights(
        model, mode=mode, group_size=args.group_size, ratio=1.0
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument(
        "--format", choices=["f16", "int4", "int8", "nf4"], default="int4"
    )
    parser.add_argument("--group-size", type=int, default=128)
    args = parser.parse_args()
    folder = Folder(args.model)
    begin = time.monotonic()
    model = Graph(folder).build()
    imported = time.monotonic()
    if args.format != "f16":
        model = compress(model, args)
    compressed = time.monotonic()
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, "openvino_model.xml")
    ov.save_model(model, path, compress_to_fp16=False)
    shutil.copy(os.path.join(args.model, "config.json"), args.out)
    c = folder.config
    record = {
        "shape": folder.shape(),
        "format": args.format,
        "group_size": args.group_size,
        "import_seconds": imported - begin,
        "compress_seconds": compressed - imported,
        "seconds": time.monotonic() - begin,
        "bytes": os.path.getsize(path[:-4] + ".bin"),
        # Only looked up: one row a token. int8 codes, a scale and a zero point.
        "embedding_bytes": c["vocab_size"] * (c["hidden_size"] + 3),
    }
    with open(os.path.join(args.out, "convert.json"), "w") as file:
        json.dump(record, file, indent=1)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
