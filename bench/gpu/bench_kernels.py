#!/usr/bin/env python3
"""Speed of products on an NVIDIA GPU: qc's kernels beside those of PyTorch, bitsandbytes
and GemLite.

    bench/gpu/bench_kernels.py --output bench/results/gpu \\
        --qc build/llama-8b-int4 build/llama-1b-nf4

All of it on one device, in one run, in turns. First what the device does at most: a
copy, a reduction, large products. Then y = x W^T for W of --shapes and x of --tokens
rows: torch's f16 (cuBLAS), int4 (groups of 128) and int8, bitsandbytes' NF4 and int8,
GemLite's int4.
--qc: executables of --target=nvptx; each says by --profile what its kernels take, and
the products among them stand in the same tables.

A peer's product is called over copies of its weight, so many that four times the L2
cache is read before one returns, in a CUDA graph whose replays are timed by events,
each queued while the one before runs. The result of the first call is compared with a
double product of what the packed weight means. GB/s are bytes of the packed weight
and its scales, which must be read; copies count bytes read and written. Medians of
--rounds turns of --replays.

A peer that is not there, or does not take a shape, is named and skipped. So is an
executable that fails, ran on another device or other numbers of tokens; the exit
status is 1 then. Weights that the cache holds are not compared. Writes OUTPUT.json
and OUTPUT.md.
"""

import argparse
import datetime
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "peers")]

import kernel_peers  # noqa: E402
import kernel_report  # noqa: E402
import kernel_timing  # noqa: E402
import machine  # noqa: E402
import qc_profile  # noqa: E402

# Of Llama-3-8B: attention's output; its input at once; gate or up; down; both.
SHAPES = "4096x4096,6144x4096,14336x4096,4096x14336,28672x4096"
TOKENS = "1,16,512"


def log(text):
    print(text, file=sys.stderr, flush=True)


def positive(text):
    value = int(text) if text.isascii() and text.isdigit() else 0
    if not value:
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text!r}")
    return value


def tokens_list(text):
    return sorted({positive(part) for part in text.split(",")})


def shapes_list(text):
    """[(rows, columns)] of 4096x4096,..."""
    shapes = []
    for part in text.split(","):
        rows, times, columns = part.partition("x")
        if not times:
            raise argparse.ArgumentTypeError(f"expected ROWSxCOLUMNS, found {part!r}")
        shape = positive(rows), positive(columns)
        if shape[0] % 32 or shape[1] % 128:
            raise argparse.ArgumentTypeError(
                f"{part}: expected rows in 32s and columns in 128s"
            )
        shapes.append(shape)
    return list(dict.fromkeys(shapes))


def load_torch():
    try:
        import torch
    except ImportError as reason:
        raise SystemExit(f"no PyTorch: {str(reason).splitlines()[0]}") from None
    if not torch.cuda.is_available():
        raise SystemExit("no GPU: torch.cuda.is_available() is false")
    return torch


def describe_gpu(torch):
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_bytes": properties.L2_cache_size,
        "driver": query_driver("driver_version"),
        "state": query_driver("clocks.sm,clocks.mem,temperature.gpu,power.draw"),
    }


def query_driver(what):
    """Of the first device; "?" without nvidia-smi. It only reads."""
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader", "--id=0"],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return done.stdout.strip() if done.returncode == 0 else "?"


def first_line(reason):
    lines = str(reason).strip().splitlines()
    return lines[0][:200] if lines else type(reason).__name__


def find_peers(torch, wanted, skipped):
    peers = []
    for kind in kernel_peers.PEERS:
        if wanted and not any(part in kind.name for part in wanted):
            continue
        try:
            peers.append(kind(torch))
        except kernel_peers.Absent as reason:
            log(f"{kind.name}: skipped: {reason}")
            skipped.append((kind.name, str(reason)))
    return peers


def make_cases(torch, peers, shapes, tokens, skipped):
    """{(rows, columns): [Case]}, one for each peer and number of tokens that work."""
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    generator = torch.Generator(device="cuda").manual_seed(1)
    cases = {}
    for rows, columns in shapes:
        weight = torch.randn(rows, columns, device="cuda", generator=generator)
        weight = (0.02 * weight).half()
        for peer in peers:
            try:
                weights = kernel_timing.Weights(torch, peer, weight, cache)
            except Exception as reason:  # noqa: BLE001: whatever a library throws
                skip(skipped, f"{peer.name} {rows}x{columns}", reason)
                continue
            for count in filter(peer.takes, tokens):
                x = torch.randn(count, columns, device="cuda", generator=generator)
                try:
                    case = kernel_timing.Case(torch, peer, weights, x)
                except Exception as reason:  # noqa: BLE001
                    skip(skipped, f"{peer.name} {rows}x{columns}, {count} tokens", reason)
                    continue
                cases.setdefault((rows, columns), []).append(case)
            weights.meaning = None
        log(f"{rows}x{columns}: {len(cases.get((rows, columns), []))} products of peers")
    return cases


def skip(skipped, what, reason):
    log(f"{what}: skipped: {first_line(reason)}")
    skipped.append((what, first_line(reason)))


def take_turns(args, torch, ceilings, cases, skipped):
    """Interleaved; {executable: [(tokens, profile)]} of those that work."""
    device = torch.cuda.get_device_name(0)
    profiles = {path: [] for path in args.qc}
    prompts = [t for t in args.tokens if t > 1] or [2]
    for number in range(args.rounds):
        log(f"turn {number + 1} of {args.rounds}")
        kernel_timing.warm_up(torch)
        ceilings.turn(max(args.replays // 4, 3))
        for own in cases.values():
            for case in own:
                case.turn(args.replays)
        for path in list(profiles):
            try:
                profiles[path] += [
                    (tokens, qc_profile.run(path, tokens, device)) for tokens in prompts
                ]
            except (qc_profile.Mismatch, qc_profile.Failed) as reason:
                skip(skipped, qc_profile.engine_name(path), reason)
                del profiles[path]
    return profiles


def peer_result(shape, case):
    return {
        "engine": case.peer.name,
        "format": case.peer.format,
        "rows": shape[0],
        "columns": shape[1],
        "tokens": case.tokens,
        "microseconds": statistics.median(case.times),
        "quartiles": statistics.quantiles(case.times, n=4),
        "bytes": case.bytes,
        "rotation_bytes": case.bytes * case.copies,
        "error": case.error,
    }


def make_record(args, torch, ceilings, cases, profiles, peers, skipped):
    models, results = [], []
    for shape, own in cases.items():
        results += [peer_result(shape, case) for case in own]
    for path, runs in profiles.items():
        steps, engine = qc_profile.merge(runs), qc_profile.engine_name(path)
        models.append(
            {
                "engine": engine,
                "model": runs[0][1].get("model"),
                "format": runs[0][1].get("format"),
                "file_bytes": os.path.getsize(path),
                "steps": {str(t): steps[t] for t in sorted(steps)},
            }
        )
        results += qc_profile.products(steps, engine)
    commands = [[sys.executable, *sys.argv]]
    for path, runs in profiles.items():
        commands += [qc_profile.command(path, t) for t in sorted({t for t, _ in runs})]
    return {
        "machine": {**machine.describe(), "gpu": describe_gpu(torch)},
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commands": commands,
        "versions": {
            "qc": args.qc_version,
            "torch": torch.__version__,
            "CUDA": torch.version.cuda,
            **{p.name.split()[0]: p.version() for p in peers},
        },
        "rounds": args.rounds,
        "replays": args.replays,
        "caches": kernel_timing.CACHES,
        "rates": ceilings.rates(statistics.median),
        "skipped": skipped,
        "models": models,
        "results": results,
    }


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, help="path without extension")
    parser.add_argument("--qc", nargs="*", default=[], metavar="EXE",
                        help="executables of qc-compile --target=nvptx")
    parser.add_argument(
        "--peers", type=lambda text: [p for p in text.split(",") if p], default=[],
        metavar="NAMES", help="only peers whose names contain one of these: "
        + ", ".join(kind.name for kind in kernel_peers.PEERS),
    )  # fmt: skip
    parser.add_argument("--shapes", type=shapes_list, default=SHAPES,
                        help="of W, rows x columns; default: " + SHAPES)
    parser.add_argument("--tokens", type=tokens_list, default=TOKENS,
                        help="rows of x; default: " + TOKENS)
    parser.add_argument("--rounds", type=positive, default=3, help="turns of each")
    parser.add_argument("--replays", type=positive, default=20, help="of a turn")
    parser.add_argument("--qc-version", default="?", help="git revision, for the record")
    args = parser.parse_args(arguments)
    for path in args.qc:
        if not os.path.isfile(path) or not os.access(path, os.X_OK):
            parser.error(f"{path}: expected an executable of qc-compile")
    args.qc = [os.path.abspath(path) for path in args.qc]
    return args


def main():
    args = parse_arguments()
    torch = load_torch()
    skipped = []
    peers = find_peers(torch, args.peers, skipped)
    with torch.no_grad():
        ceilings = kernel_timing.Ceilings(torch)
        cases = make_cases(torch, peers, args.shapes, args.tokens, skipped)
        profiles = take_turns(args, torch, ceilings, cases, skipped)
    record = make_record(args, torch, ceilings, cases, profiles, peers, skipped)
    kernel_report.write(record, args.output)
    print(kernel_report.summary(args.output))
    # What was measured is worth keeping, but it is not what was asked for.
    if len(profiles) < len(args.qc):
        raise SystemExit("not all executables of --qc are in the tables; see above")


if __name__ == "__main__":
    main()
