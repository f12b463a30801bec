"""Kills a qc-opt run, continues it, and compares with one that was left alone.

interrupt.py FILE.mlir PASS OPTIONS, in an empty folder. OPTIONS without output-dir.
"""

import glob
import os
import signal
import subprocess
import sys


def command(folder, options=""):
    passes = f"--{sys.argv[2]}={sys.argv[3]} output-dir={folder} verbose=true {options}"
    return ["qc-opt", sys.argv[1], passes, "-o", f"{folder}.mlir"]


def stores(folder):
    return sorted(os.path.basename(path) for path in glob.glob(f"{folder}/*"))


def read(folder):
    (name,) = glob.glob(f"{folder}/*.safetensors")
    with open(name, "rb") as file:
        return os.path.basename(name), file.read()


subprocess.run(command("whole", "threads=1"), check=True, stderr=subprocess.DEVNULL)

process = subprocess.Popen(command("cut"), stderr=subprocess.PIPE, text=True)
process.stderr.readline()  # the first weight is finished
process.send_signal(signal.SIGKILL)
process.wait()
assert [os.path.splitext(name)[1] for name in stores("cut")] == [".journal", ".partial"], stores("cut")

if "corrupt" in sys.argv[4:]:  # a page that never reached the disk
    (partial,) = glob.glob("cut/*.partial")
    with open(partial, "r+b") as file:
        size = os.path.getsize(partial)
        file.seek(size // 4)
        file.write(b"\0" * (size // 2))

second = subprocess.run(command("cut"), check=True, stderr=subprocess.PIPE, text=True).stderr
print("taken over:", second.count("(from the interrupted run)") > 0)
print("files left:", [os.path.splitext(name)[1] for name in stores("cut")])
print("same name and bytes:", read("whole") == read("cut"))
third = subprocess.run(command("cut"), check=True, stderr=subprocess.PIPE, text=True).stderr
print("third run does nothing:", third == "")
