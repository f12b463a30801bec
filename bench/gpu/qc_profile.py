"""What qc's executables say of their kernels: `MODEL --profile --json`."""

import json
import os
import re
import statistics
import subprocess


class Mismatch(Exception):
    """Two sides did not run the same thing."""


class Failed(Exception):
    """An executable gave no profile."""


def parse_product(name):
    """(rows, columns, format) of a product's kernel, None of another's. Matrices
    that one kernel multiplies by count as one: all have its columns.

    matmul_5632x2048_grouped_bits_4_..._int8_5632x2048_..._silu_t512_m1
    """
    match = re.fullmatch(r"matmul_(\d+)x(\d+)_(.+)", name)
    if not match:
        return None
    rows, columns, rest = int(match[1]), int(match[2]), match[3]
    # A format may have such a part, too (codebooks of 2x8), of another width.
    more = re.compile(rf"_(\d+)x{columns}(?=_)")
    rows += sum(map(int, more.findall(rest)))
    kind = re.split(r"_(?:residual|silu|gelu|t\d+|m\d+)(?=_|$)", more.split(rest)[0])[0]
    return rows, columns, kind.replace("_", " ")


def command(executable, tokens):
    return [executable, "--profile", "--json", "--bench-prompt", str(tokens)]


def run(executable, tokens, device, timeout=120):
    """The profile of an executable on `device`; prompts of `tokens`. Raises Failed
    and Mismatch."""
    what = command(executable, tokens)
    try:
        done = subprocess.run(
            what, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=timeout,
        )  # fmt: skip
    except OSError as reason:
        raise Failed(f"{executable}: {reason.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{executable}: no profile in {timeout} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise Failed(f"{executable}: exit status {done.returncode}: {lines[-1]}")
    try:
        return check(json.loads(done.stdout), tokens, device)
    except (ValueError, KeyError, TypeError) as reason:
        raise Failed(f"{executable}: not a profile: {reason!r}") from None


def check(profile, tokens, device):
    """Refuses what is of another device or not of `tokens`, or whose bytes cannot be
    the weights'."""
    if profile["device"] != device:
        raise Mismatch(f"qc ran on {profile['device']}, the peers on {device}")
    for name, wanted in (("prefill", tokens), ("decode", 1)):
        found = profile["steps"][name]["tokens"]
        if found != wanted:
            raise Mismatch(f"qc {name}: ran {found} tokens, asked for {wanted}")
        for kernel in profile["steps"][name]["kernels"]:
            product = parse_product(kernel["name"])
            if not product:
                continue
            bits = 8 * kernel["bytes"] / (product[0] * product[1])
            if not 0.5 <= bits <= 40 or not kernel["microseconds"] > 0:
                raise Mismatch(
                    f"{kernel['name']}: {bits:.2g} bits a weight, "
                    f"{kernel['microseconds']} us"
                )
    return profile


def merge(runs):
    """One profile of several runs of the same thing: medians of all times.
    `runs`: [(tokens, profile)]. {tokens: {"microseconds", "kernels"}}"""
    steps = {}
    for tokens, profile in runs:
        for name, key in (("decode", 1), ("prefill", tokens)):
            steps.setdefault(key, []).append(profile["steps"][name])
    return {key: merge_steps(found) for key, found in steps.items()}


def merge_steps(found):
    names = [[k["name"] for k in step["kernels"]] for step in found]
    if any(sorted(n) != sorted(names[0]) for n in names):
        raise Mismatch("qc: the kernels of a step differ from run to run")
    kernels = []
    for kernel in found[0]["kernels"]:
        same = [k for step in found for k in step["kernels"] if k["name"] == kernel["name"]]
        times = [k["microseconds"] for k in same]
        kernels.append({**kernel, "microseconds": statistics.median(times), "runs": times})
    total = [step["microseconds"] for step in found]
    return {
        "microseconds": statistics.median(total),
        "runs": total,
        "kernels": kernels,
    }


def products(steps, engine):
    """Rows of the table of products: kernels of the same shape and format (one
    adds the residual, the other does not) stand for themselves."""
    rows = []
    for tokens, step in steps.items():
        for kernel in step["kernels"]:
            product = parse_product(kernel["name"])
            if not product or not kernel["bytes"]:
                continue
            rows.append(
                {
                    "engine": engine,
                    "format": product[2],
                    "rows": product[0],
                    "columns": product[1],
                    "tokens": tokens,
                    "microseconds": kernel["microseconds"],
                    "bytes": kernel["bytes"],
                    # What is read before a weight returns.
                    "rotation_bytes": kernel["bytes"] * kernel["launches"],
                    "kernel": kernel["name"],
                }
            )
    return rows


def engine_name(path):
    return "qc " + os.path.basename(path).removeprefix("qc-")
