#!/usr/bin/env python3
"""One token times a matrix of 2x8 codebooks: qc beside AQLM's kernel for CPUs.

    bench/bench_aqlm.py [--rounds 5] [--build build/release]

Runs in a Python with `torch`, `aqlm` and `numba` (bench/requirements.txt). Both
multiply a matrix of 5632x2048 with codebooks of 256 entries for 8 inputs, and
read so many copies of it that caches do not help. They take turns; the best
counts. qc's time is that of `qc-bench-kernels`, quantization of the activations
and tables included; AQLM's that of `numba_gemm_lut` in f32. One thread: with
several, threads of that function (aqlm 1.1.7) add to the same sums without locks.
"""

import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))
ROWS, INPUTS, BOOKS, VECTOR = 5632, 2048, 2, 8
COPIES = 48  # 138 MB of codes


def run_qc(binary):
    """Seconds a product."""
    done = subprocess.run(
        [binary, "--benchmark_filter=^gemv/codebook_2x8/.*threads:1$",
         "--benchmark_format=json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (row,) = json.loads(done.stdout)["benchmarks"]
    return row["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3}[row["time_unit"]]


class AQLM:
    def __init__(self):
        import torch
        from aqlm.inference_kernels import numba_kernel

        self.gemm = numba_kernel.numba_gemm_lut
        torch.manual_seed(0)
        shape = (INPUTS // VECTOR, ROWS, BOOKS)
        self.codes = [
            torch.randint(-128, 128, shape, dtype=torch.int8) for _ in range(COPIES)
        ]
        self.codebooks = torch.randn(BOOKS, 256, 1, VECTOR)
        self.scales = torch.rand(ROWS, 1, 1, 1)
        self.x = torch.randn(1, INPUTS)
        self.check()

    def multiply(self, i):
        return self.gemm(
            self.x, self.codes[i % COPIES], self.codebooks, self.scales, None
        )

    def check(self):
        """Against the definition, some rows: refuse to time what is wrong."""
        out, codes = self.multiply(0)[0], self.codes[0].int() % 256
        for row in range(0, ROWS, 997):
            w = sum(self.codebooks[c, codes[:, row, c], 0] for c in range(BOOKS))
            expected = (w.reshape(-1).double() @ self.x[0].double()).item()
            expected *= self.scales[row].item()
            if abs(out[row].item() - expected) > 1e-3 * max(1, abs(expected)):
                raise SystemExit(
                    f"AQLM's kernel: row {row}: {out[row]}, expected {expected}"
                )

    def run(self):
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < 1:
            self.multiply(count)
            count += 1
        return (time.perf_counter() - begin) / count


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--build", default=os.path.join(os.path.dirname(HERE), "build", "release")
    )
    args = parser.parse_args()
    os.environ["NUMBA_NUM_THREADS"] = "1"  # before numba is imported
    import machine
    import torch

    torch.set_num_threads(1)
    peer, best = AQLM(), {"qc": float("inf"), "aqlm": float("inf")}
    binary = os.path.join(args.build, "bin", "qc-bench-kernels")
    for _ in range(args.rounds):
        best["qc"] = min(best["qc"], run_qc(binary))
        best["aqlm"] = min(best["aqlm"], peer.run())
    print(json.dumps({"machine": machine.describe(), "threads": 1,
                      "seconds": best, "ratio": best["aqlm"] / best["qc"]},
                     indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
