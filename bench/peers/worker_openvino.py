#!/usr/bin/env python3
"""Workloads with OpenVINO GenAI; see worker_common.py."""

import json
import os

import numpy as np
import openvino as ov
import openvino_genai as genai

import worker_common


def open_model(path, threads):
    # What a prompt left in the cache must not speed up the next one.
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = 4096  # the prompt in one step
    backend = os.environ.get("OPENVINO_ATTENTION", "PA")  # GenAI's default on CPU
    options = {"INFERENCE_NUM_THREADS": threads, "ATTENTION_BACKEND": backend}
    if backend == "PA":
        options["scheduler_config"] = scheduler
    with open(os.path.join(path, "config.json")) as file:
        vocabulary = json.load(file)["vocab_size"]
    return genai.LLMPipeline(path, "CPU", **options), vocabulary


def measure(model, workload, seed):
    """Times are GenAI's own: to the first token, and from the first to the last."""
    pipeline, vocabulary = model
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
    metrics = pipeline.generate(
        ov.Tensor(np.array([ids], np.int64)), config
    ).perf_metrics
    if prefill:
        return prompt, metrics.get_ttft().mean / 1000
    count = metrics.get_num_generated_tokens() - 1
    return count, metrics.get_tpot().mean * count / 1000


if __name__ == "__main__":
    worker_common.main(__doc__, open_model, measure)
