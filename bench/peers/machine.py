"""What the numbers were measured on."""

import os
import platform
import subprocess

# Flags that decide which kernels an engine has.
FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw",
         "avx512_vnni", "avx512_bf16", "avx512_vbmi", "amx_tile", "amx_int8",
         "asimd", "asimddp", "i8mm", "bf16", "sve")  # fmt: skip


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def caches():
    """["L1d 32K", ...] of CPU 0."""
    found, base = [], "/sys/devices/system/cpu/cpu0/cache"
    for entry in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        get = lambda what: read(os.path.join(base, entry, what)).strip()
        if get("type") in ("Data", "Unified"):
            suffix = "d" if get("type") == "Data" else ""
            found.append(f"L{get('level')}{suffix} {get('size')}")
    return found


def describe():
    info = {}
    for line in read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    flags = info.get("flags", info.get("Features", "")).split()
    memory = next(
        (l.split()[1] for l in read("/proc/meminfo").splitlines() if "MemTotal" in l),
        "0",
    )
    return {
        "cpu": info.get("model name", platform.processor()),
        "family_model_stepping": "/".join(
            info.get(k, "?") for k in ("cpu family", "model", "stepping")
        ),
        "flags": [f for f in FLAGS if f in flags],
        "caches": caches(),
        "cpus": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in flags,
        "memory_gb": round(int(memory) / 1e6, 1),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
    }


def kernel_peaks(binary, threads):
    """{"int8_ops", "stream_bytes"} a second from qc-bench-kernels; {} without it.
    What runs on that many threads."""
    if not os.path.exists(binary):
        return {}
    import json

    done = subprocess.run(
        [binary, f"--benchmark_filter=^peak/.*threads:{threads}(/|$)",
         "--benchmark_format=json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = {}
    for row in json.loads(done.stdout)["benchmarks"]:
        for key in ("int8_ops", "stream_bytes"):
            if key in row:
                result[key] = max(result.get(key, 0), row[key])
    return result
