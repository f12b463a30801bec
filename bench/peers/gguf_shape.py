"""Shape and weight bytes of a GGUF file, without a library."""

import os
import struct

# Metadata value types: size in bytes of the fixed ones.
# Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9
CODES = {4: "<I", 5: "<i", 10: "<Q", 11: "<q"}
WANTED = {
    "embedding_length": "hidden",
    "block_count": "layers",
    "attention.head_count": "heads",
    "attention.head_count_kv": "kv_heads",
    "feed_forward_length": "intermediate",
    "vocab_size": "vocabulary",
}


class Reader:
    def __init__(self, file):
        self.file = file

    def unpack(self, code):
        return struct.unpack(code, self.file.read(struct.calcsize(code)))[0]

    def string(self):
        return self.file.read(self.unpack("<Q"))

    def value(self, kind):
        """Integers; other values are skipped."""
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            inner, count = self.unpack("<I"), self.unpack("<Q")
            if inner in SIZES:
                self.file.seek(SIZES[inner] * count, os.SEEK_CUR)
            else:
                for _ in range(count):
                    self.value(inner)
        elif kind in CODES:
            return self.unpack(CODES[kind])
        else:
            self.file.seek(SIZES[kind], os.SEEK_CUR)
        return None


def read_gguf_shape(path):
    """(shape, bytes of the embedding if it is not the head too: decode reads
    one row of it, bytes of all tensors)"""
    shape, offsets = {}, {}
    with open(path, "rb") as file:
        r = Reader(file)
        if file.read(4) != b"GGUF":
            raise SystemExit(f"{path}: not a GGUF file")
        r.unpack("<I")  # version
        tensors, pairs = r.unpack("<Q"), r.unpack("<Q")
        for _ in range(pairs):
            key = r.string().decode()
            data = r.value(r.unpack("<I"))
            name = WANTED.get(key.partition(".")[2])
            if name:
                shape[name] = data
        for _ in range(tensors):
            name = r.string().decode()
            file.seek(8 * r.unpack("<I") + 4, os.SEEK_CUR)  # sizes, type
            offsets[name] = r.unpack("<Q")
        header = file.tell()
    size = os.path.getsize(path) - header
    ends = sorted(offsets.values()) + [size]
    embedding = 0
    if "output.weight" in offsets:
        begin = offsets["token_embd.weight"]
        embedding = next(e for e in ends if e > begin) - begin
    return shape, embedding, size
