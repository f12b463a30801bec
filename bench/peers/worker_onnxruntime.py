#!/usr/bin/env python3
"""Workloads with ONNX Runtime; see worker_common.py."""

import json
import os
import time

import numpy as np
import onnxruntime as ort

import worker_common


class Model:
    """Greedy decoding with keys and values in one buffer, read and written in
    place (as ONNX Runtime GenAI does)."""

    def __init__(self, path, threads):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = ort.InferenceSession(
            os.path.join(path, "model.onnx"), options, ["CPUExecutionProvider"]
        )
        with open(os.path.join(path, "config.json")) as file:
            self.config = json.load(file)
        self.vocabulary = self.config["vocab_size"]
        self.binding = self.session.io_binding()
        heads = self.config["num_attention_heads"]
        dim = self.config.get("head_dim", self.config["hidden_size"] // heads)
        shape = (1, self.config["num_key_value_heads"],
                 self.config["max_position_embeddings"], dim)  # fmt: skip
        for layer in range(self.config["num_hidden_layers"]):
            for part in ("key", "value"):
                buffer = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
                self.binding.bind_ortvalue_input(f"past.{layer}.{part}", buffer)
                self.binding.bind_ortvalue_output(f"present.{layer}.{part}", buffer)
        self.binding.bind_output("logits")

    def evaluate(self, ids, past):
        """Most likely next token."""
        total = past + len(ids)
        bind = self.binding.bind_cpu_input
        bind("input_ids", np.array([ids], np.int64))
        bind("seqlens_k", np.array([total - 1], np.int32))
        bind("total_length", np.array(total, np.int32))
        self.session.run_with_iobinding(self.binding)
        return int(self.binding.get_outputs()[-1].numpy().argmax())


def measure(model, workload, seed):
    prefill = workload["kind"] == "prefill"
    prompt = workload["tokens"] if prefill else max(workload["context"], 1)
    ids = worker_common.token_ids(prompt, model.vocabulary, seed)
    begin = time.perf_counter()
    token = model.evaluate(ids, 0)
    if prefill:
        return prompt, time.perf_counter() - begin
    begin = time.perf_counter()
    for i in range(workload["tokens"]):
        token = model.evaluate([token], prompt + i)
    return workload["tokens"], time.perf_counter() - begin


if __name__ == "__main__":
    worker_common.main(__doc__, Model, measure)
