"""The part that workers of Python engines share."""

import argparse
import json
import time


def token_ids(count, vocabulary, seed):
    """Different for each seed, so that no engine finds a prefix in its cache."""
    return [(i * 7919 + 1 + 104729 * seed) % vocabulary for i in range(count)]


def best_of(workload, once):
    """once(seed) -> (tokens, seconds). The first turn warms up."""
    best, tokens, wall, cpu = 0.0, 0, time.perf_counter(), time.process_time()
    for turn in range(workload["repeat"] + 1):
        tokens, seconds = once(turn)
        if turn:
            best = max(best, tokens / seconds)
    busy = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return {"rate": best, "tokens": tokens, "busy": busy}


def main(description, open_model, measure):
    """`open_model(path, threads)`; `measure(model, workload, seed)` -> (tokens,
    seconds)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model")
    parser.add_argument("threads", type=int)
    parser.add_argument("--run", type=json.loads, help="list of workloads")
    parser.add_argument("--once", type=int, nargs=2, metavar=("PROMPT", "TOKENS"))
    args = parser.parse_args()
    model = open_model(args.model, args.threads)
    if args.once:
        prompt, tokens = args.once
        once = {"kind": "decode", "tokens": tokens, "context": prompt}
        measure(model, once, 0)
        return
    report = {}
    for workload in args.run:
        report[workload["name"]] = best_of(
            workload, lambda seed: measure(model, workload, seed)
        )
    print(json.dumps(report))
