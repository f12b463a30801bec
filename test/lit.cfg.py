# Configuration of the lit suites: test/ (by dialect, pass and tool) and the
# *.mlir files that live beside methods in lib/. The build writes one
# lit.site.cfg.py for each (test/CMakeLists.txt), which sets config.qc_*.
#
# Substitutions: %shared (shared test data), %examples, %python (.venv), %root.
# Features: shared-data, root, qemu, and the x86-64 levels that this CPU runs.
# qc's tools, FileCheck, not, count and split-file are on PATH.

import os
import shutil
import subprocess

import lit.formats

config.name = "qc-" + config.qc_suite
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Unit", "Inputs", "CMakeLists.txt"]
config.test_source_root = os.path.join(config.qc_source_dir, config.qc_suite)
config.test_exec_root = os.path.join(config.qc_binary_dir, "lit", config.qc_suite)

config.environment["PATH"] = os.pathsep.join(
    [
        os.path.join(config.qc_binary_dir, "bin"),
        config.qc_llvm_tools_dir,
        os.environ.get("PATH", "/usr/bin:/bin"),
    ]
)
for name in ("HOME", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
# What --tune remembered on this machine must not change a test.
config.environment["XDG_CACHE_HOME"] = os.path.join(
    config.qc_binary_dir, "lit", "no-cache"
)

shared = os.environ.get(
    "QC_SHARED_DATA", os.path.join(config.qc_source_dir, "..", "shared", "data")
)
shared = os.path.realpath(shared)
config.environment["QC_SHARED_DATA"] = shared
python = os.path.join(config.qc_source_dir, ".venv", "bin", "python")

config.substitutions += [
    ("%shared", shared),
    ("%examples", os.path.join(config.qc_source_dir, "examples")),
    ("%python", python if os.path.exists(python) else "python3"),
    ("%root", config.qc_source_dir),
    ("%build", config.qc_binary_dir),
]

if os.path.isdir(os.path.join(shared, "golden")):
    config.available_features.add("shared-data")
if os.geteuid() == 0:
    config.available_features.add("root")
if shutil.which("ptxas") or os.path.exists("/usr/local/cuda/bin/ptxas"):
    config.available_features.add("ptxas")
# spirv-tools since 2023.3; Debian 12 has 2023.1.
if (
    shutil.which("spirv-as")
    and subprocess.run(
        ["spirv-as", "-", "-o", "-"],
        input=b"OpCapability CooperativeMatrixKHR",
        capture_output=True,
    ).returncode
    == 0
):
    config.available_features.add("spirv-cooperative-matrix")
if shutil.which("qemu-x86_64"):
    config.available_features.add("qemu")

# Flags as /proc/cpuinfo names them; the levels are those of the x86-64 psABI.
LEVELS = {
    "x86-64-v2": {"sse4_2", "ssse3", "popcnt", "cx16"},
    "x86-64-v3": {"avx2", "fma", "f16c", "bmi2", "movbe", "abm"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v4-vnni": {"avx512_vnni"},
}
try:
    with open("/proc/cpuinfo") as file:
        flags = next((l for l in file if l.startswith("flags")), "")
    flags = set(flags.split(":")[-1].split())
except OSError:
    flags = set()
for level, needed in LEVELS.items():
    if needed <= flags:
        config.available_features.add(level)
