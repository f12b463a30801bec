#!/usr/bin/env python3
"""Writes an ONNX model of a Llama-family folder for ONNX Runtime's CPU kernels.

    bench/peers/convert_onnx.py MODEL_DIR OUT --format int4 [--group-size 128]

Operators as ONNX Runtime GenAI's model builder chooses them for the CPU:
MatMulNBits (accuracy level 4: int8 activations), GroupQueryAttention with rotary
embedding and a shared KV buffer, (Skip)SimplifiedLayerNormalization:
github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md. The head is
int8, the embedding f16, as their bytes matter and no speed depends on them
otherwise. Weights lie in OUT/model.onnx.data. Writes OUT/convert.json.
"""

import argparse
import json
import os
import shutil
import time

import numpy as np
from onnx import TensorProto, helper, save

from hf_weights import Folder

MS = "com.microsoft"
TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int64): TensorProto.INT64,
}


def quantize(w, bits, group):
    """Symmetric, zero point 2^(bits-1), the largest magnitude at the lowest
    code: (codes [N, K/group, group*bits/8], scales f32 [N, K/group])"""
    n, k = w.shape
    blocks = w.reshape(n, k // group, group)
    zero = 1 << (bits - 1)
    at = np.abs(blocks).argmax(-1)[..., None]
    scales = np.take_along_axis(blocks, at, -1) / -zero
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    codes = np.rint(blocks * inverse)
    codes = np.clip(codes + zero, 0, 2 * zero - 1).astype(np.uint8)
    if bits == 4:
        codes = codes[..., 0::2] | codes[..., 1::2] << 4
    return codes, scales[..., 0].astype(np.float32)


class Graph:
    def __init__(self, folder, out, bits, group):
        self.folder, self.bits, self.group = folder, bits, group
        self.nodes, self.tensors = [], []
        self.data = open(os.path.join(out, "model.onnx.data"), "wb")

    def store(self, name, array):
        """An initializer in the data file, aligned for mapping."""
        array = np.ascontiguousarray(array)
        self.data.write(bytes(-self.data.tell() % 4096))
        tensor = TensorProto(name=name, data_type=TYPES[array.dtype])
        tensor.dims.extend(array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", "model.onnx.data"),
            ("offset", self.data.tell()),
            ("length", array.nbytes),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self.data.write(array.tobytes())
        self.tensors.append(tensor)
        return name

    def small(self, name, array):
        self.tensors.append(
            helper.make_tensor(name, TYPES[array.dtype], array.shape, array.flatten())
        )
        return name

    def node(self, op, inputs, outputs, domain="", **attributes):
        name = outputs[0] + "/" + op
        self.nodes.append(
            helper.make_node(op, inputs, outputs, name, domain=domain, **attributes)
        )
        return outputs[0]

    def linear(self, x, name, bits=None):
        w, bits = self.folder[name + ".weight"], bits or self.bits
        codes, scales = quantize(w, bits, self.group)
        inputs = [
            x,
            self.store(name + ".codes", codes),
            self.store(name + ".scales", scales.reshape(-1)),
        ]
        return self.node(
            "MatMulNBits", inputs, [name], MS, K=w.shape[1], N=w.shape[0],
            bits=bits, block_size=self.group, accuracy_level=4,
        )  # fmt: skip

    def norm(self, x, skip, name):
        """(norm of x + skip, x + skip)"""
        eps = self.folder.config["rms_norm_eps"]
        gamma = self.store(name + ".weight", self.folder[name + ".weight"])
        if skip is None:
            y = self.node("SimplifiedLayerNormalization", [x, gamma], [name],
                          epsilon=eps, axis=-1, stash_type=1)  # fmt: skip
            return y, x
        outputs = [name, "", "", name + "/sum"]
        self.node("SkipSimplifiedLayerNormalization", [x, skip, gamma], outputs, MS,
                  epsilon=eps)  # fmt: skip
        return name, name + "/sum"

    def rotary_tables(self, dim):
        c = self.folder.config
        theta = c.get("rope_theta", 10000.0)
        inverse = theta ** -(np.arange(0, dim, 2, dtype=np.float64) / dim)
        angles = np.outer(np.arange(c["max_position_embeddings"]), inverse)
        self.store("cos", np.cos(angles).astype(np.float32))
        self.store("sin", np.sin(angles).astype(np.float32))

    def build(self):
        c = self.folder.config
        heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
        dim = c.get("head_dim", c["hidden_size"] // heads)
        self.rotary_tables(dim)
        info, f32 = helper.make_tensor_value_info, TensorProto.FLOAT
        inputs = [
            info("input_ids", TensorProto.INT64, ["batch", "length"]),
            info("seqlens_k", TensorProto.INT32, ["batch"]),
            info("total_length", TensorProto.INT32, []),
        ]
        outputs = [info("logits", f32, ["batch", 1, c["vocab_size"]])]
        table = self.folder["model.embed_tokens.weight"].astype(np.float16)
        embedding = self.store("embedding", table)
        half = self.node("Gather", [embedding, "input_ids"], ["embedded16"], axis=0)
        x, skip = self.node("Cast", [half], ["embedded"], to=f32), None
        for layer in range(c["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            y, x = self.norm(x, skip, name + ".input_layernorm")
            attention = name + ".self_attn"
            cache = [f"{w}.{layer}.{p}" for w in ("past", "present")
                     for p in ("key", "value")]  # fmt: skip
            shape = ["batch", kv, "capacity", dim]
            inputs += [info(n, f32, shape) for n in cache[:2]]
            outputs += [info(n, f32, shape) for n in cache[2:]]
            qkv = [self.linear(y, f"{attention}.{p}_proj") for p in "qkv"]
            y = self.node(
                "GroupQueryAttention",
                [*qkv, *cache[:2], "seqlens_k", "total_length", "cos", "sin"],
                [attention, *cache[2:]], MS, num_heads=heads, kv_num_heads=kv,
                do_rotary=1, rotary_interleaved=0, scale=dim**-0.5,
            )  # fmt: skip
            skip = self.linear(y, attention + ".o_proj")
            y, x = self.norm(x, skip, name + ".post_attention_layernorm")
            gate = self.linear(y, name + ".mlp.gate_proj")
            up = self.linear(y, name + ".mlp.up_proj")
            sigmoid = self.node("Sigmoid", [gate], [gate + "/sigmoid"])
            act = self.node("Mul", [gate, sigmoid], [gate + "/silu"])
            both = self.node("Mul", [act, up], [name + ".mlp.gated"])
            skip = self.linear(both, name + ".mlp.down_proj")
        y, _ = self.norm(x, skip, "model.norm")
        # Generation needs the last token's logits alone.
        last = self.small("last", np.array([-1], np.int64))
        y = self.node("Gather", [y, last], ["final"], axis=1)
        logits = self.linear(y, "lm_head", bits=8)
        self.node("Identity", [logits], ["logits"])
        graph = helper.make_graph(self.nodes, "llama", inputs, outputs, self.tensors)
        self.data.close()
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--format", choices=["int4", "int8"], default="int4")
    parser.add_argument("--group-size", type=int, default=128)
    args = parser.parse_args()
    begin = time.monotonic()
    folder = Folder(args.model)
    os.makedirs(args.out, exist_ok=True)
    bits = {"int4": 4, "int8": 8}[args.format]
    model = Graph(folder, args.out, bits, args.group_size).build()
    save(model, os.path.join(args.out, "model.onnx"))
    shutil.copy(os.path.join(args.model, "config.json"), args.out)
    c = folder.config
    record = {
        "shape": folder.shape(),
        "format": args.format,
        "group_size": args.group_size,
        "seconds": time.monotonic() - begin,
        "bytes": os.path.getsize(os.path.join(args.out, "model.onnx.data")),
        "embedding_bytes": 2 * c["vocab_size"] * c["hidden_size"],
    }
    with open(os.path.join(args.out, "convert.json"), "w") as file:
        json.dump(record, file, indent=1)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
