#!/usr/bin/env python3
"""Workloads with OpenVINO GenAI; see worker_common.py."""

import json
import os

import numpy as np
import openvino as ov
import openvino_genai as genai

import worker_common


def open_model(path, threads):
    with open(os.path.join(path, "config.json")) as file:
        vocabulary = json.load(file)["vocab_size"]
    return {"path": path, "threads": threads, "vocabulary": vocabulary}


def pipeline(model, kind):
    """The pipeline for a kind of workload, made when first asked for. Prompts are
    a quarter faster when a whole weight group of activations shares a scale,
    decoding is with the default of 32; each gets its own best."""
    if kind in model:
        return model[kind]
    # One at a time: two copies of the weights would count in the peak memory.
    for other in ("decode", "prefill"):
        model.pop(other, None)
    # What a prompt left in the cache must not speed up the next one.
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = 4096  # the prompt in one step
    options = {"INFERENCE_NUM_THREADS": model["threads"]}
    if kind == "prefill":
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 128
    # Paged attention is GenAI's default on x86.
    model[kind] = genai.LLMPipeline(
        model["path"], "CPU", ATTENTION_BACKEND="PA", scheduler_config=scheduler,
        **options,
    )  # fmt: skip
    return model[kind]


def measure(model, workload, seed):
    """Times are GenAI's own: to the first token, and from the first to the last."""
    vocabulary, llm = model["vocabulary"], pipeline(model, workload["kind"])
    prefill = workload["kind"] == "prefill"
    prompt = workload["tokens"] if prefill else max(workload["context"], 1)
    config = genai.GenerationConfig()
    config.do_sample = False
    config.ignore_eos = True
    # The first of them comes out of the prompt.
    config.max_new_tokens = config.min_new_tokens = (
        1 if prefill else workload["tokens"] + 1
    )
    ids = worker_common.token_ids(prompt, vocabulary, seed)
    metrics = llm.generate(ov.Tensor(np.array([ids], np.int64)), config).perf_metrics
    if prefill:
        return prompt, metrics.get_ttft().mean / 1000
    count = metrics.get_num_generated_tokens() - 1
    return count, metrics.get_tpot().mean * count / 1000


if __name__ == "__main__":
    worker_common.main(__doc__, open_model, measure)
