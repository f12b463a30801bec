"""Peak memory of a command.

Mapped checkpoint files count in a process's resident set for as long as the
system has nothing better to do with the pages, so what a program needs is its
anonymous memory (RssAnon of /proc/PID/status), which is sampled here.
"""

import subprocess
import threading
import time


def _anonymous_bytes(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def measure(command, interval=0.005):
    """(seconds, peak bytes of anonymous memory); AssertionError if it fails.
    Peaks shorter than `interval` seconds can be missed."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak, done = 0, threading.Event()

    def sample():
        nonlocal peak
        while not done.wait(interval):
            peak = max(peak, _anonymous_bytes(process.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, stderr = process.communicate()
    done.set()
    sampler.join()
    if process.returncode != 0:
        raise AssertionError(f"exit status {process.returncode}: {command}\n{stderr}")
    return time.monotonic() - begin, peak
