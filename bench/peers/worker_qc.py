#!/usr/bin/env python3
"""One workload with a model compiled by `qc-compile --emit=shared`.

worker_qc.py MODEL.so THREADS WORKLOAD_JSON        prints {"rate": tokens/s}
"""

import ctypes
import json
import sys
import time


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    w = json.loads(sys.argv[3])
    lib = ctypes.CDLL(path)
    lib.qc_open.restype = ctypes.c_void_p
    lib.qc_open.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64,
                            ctypes.c_char_p, ctypes.c_int64]  # fmt: skip
    lib.qc_eval.restype = ctypes.c_int64
    lib.qc_eval.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                            ctypes.c_int64, ctypes.c_void_p]  # fmt: skip
    lib.qc_vocab_size.restype = ctypes.c_int64
    lib.qc_vocab_size.argtypes = [ctypes.c_void_p]
    error = ctypes.create_string_buffer(500)
    size = w["context"] + w["tokens"]
    session = lib.qc_open(None, threads, size, error, len(error))
    if not session:
        raise SystemExit(error.value.decode())
    vocabulary = lib.qc_vocab_size(session)
    ids = (ctypes.c_int32 * size)(*((i * 7919 + 1) % vocabulary for i in range(size)))
    logits = (ctypes.c_float * vocabulary)()

    def evaluate(begin, count):
        at = ctypes.byref(ids, 4 * begin)
        if lib.qc_eval(session, at, count, begin, logits) != begin + count:
            raise SystemExit("qc_eval failed")

    if w["context"]:
        evaluate(0, w["context"])
    chunk = 1 if w["kind"] == "decode" else w["tokens"]
    best = 0.0
    for turn in range(w["repeat"] + 1):
        begin = time.perf_counter()
        for at in range(w["context"], size, chunk):
            evaluate(at, chunk)
        if turn:  # the first one warms up
            best = max(best, w["tokens"] / (time.perf_counter() - begin))
    print(json.dumps({"rate": best}))


if __name__ == "__main__":
    main()
