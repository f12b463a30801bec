"""Weights for pack-weights.mlir, and the bytes that packing must make of them.

    weights.py write FOLDER            FOLDER/a.bin, FOLDER/b.bin
    weights.py check MODULE BLOB       compare BLOB with the offsets in MODULE

The packed layout is computed here from its description in
include/qc/Format/Format.h and Grouped.h alone.
"""

import re
import struct
import sys
from pathlib import Path

ROWS = 4
TABLE = [[10.0 * i + j for j in range(3)] for i in range(5)]  # @table, f32 5x3
NORM = [1.5, -2.0, 0.25]  # @norm, bf16 3
CODES = [[(3 * i + 5 * j) % 16 for j in range(6)] for i in range(7)]  # @codes 7x6
SCALES = [[0.5 + i + 0.25 * g for g in range(2)] for i in range(7)]  # groups of 4
ZEROS = [[(i + g) % 16 for g in range(2)] for i in range(7)]


def f32(values):
    return struct.pack(f"<{len(values)}f", *values)


def bf16(values):
    return b"".join(f32([v])[2:] for v in values)


def f16(values):
    return struct.pack(f"<{len(values)}e", *values)


def components():
    """Name to (file, list of component bytes)."""
    flat = lambda rows: [v for row in rows for v in row]
    nibbles = b"".join(
        bytes(row[j] | row[j + 1] << 4 for j in range(0, 6, 2)) for row in CODES
    )
    return {
        "table": ("a.bin", [f32(flat(TABLE))]),
        "norm": ("a.bin", [bf16(NORM)]),
        "codes": ("b.bin", [nibbles, f16(flat(SCALES)), bytes(flat(ZEROS))]),
    }


def write(folder):
    """Each file begins with 3 bytes of something else: nothing is aligned."""
    files = {}
    for file, parts in components().values():
        files[file] = files.get(file, b"???") + b"".join(parts)
    for name, data in files.items():
        (Path(folder) / name).write_bytes(data)


def pad(data, multiple):
    return data + bytes(-len(data) % multiple)


def pack_table():
    blob = b""
    for first in range(0, 5, ROWS):
        rows = TABLE[first : first + ROWS]
        rows += [[0.0] * 3] * (ROWS - len(rows))
        blob += pad(b"".join(f32([row[j] for row in rows]) for j in range(3)), 64)
    return blob


def pack_codes():
    """K blocks of one group, 8 features wide; code fields of rows beyond the
    end are free, so they are returned as a mask."""
    blob, care = b"", b""
    for first in range(0, 7, ROWS):
        count = min(ROWS, 7 - first)
        data, mask = b"", b""
        for group in range(2):
            rows = range(first, first + count)
            fill = ROWS - count
            data += f16([SCALES[i][group] for i in rows]) + bytes(2 * fill)
            mask += b"\xff" * (2 * count) + bytes(2 * fill)
            data += bytes(ZEROS[i][group] for i in rows) + bytes(fill)
            mask += b"\xff" * count + bytes(fill)
            chunk, used = bytearray(4 * ROWS), bytearray(4 * ROWS)
            for feature in range(min(4, 6 - 4 * group)):
                for r in range(count):
                    chunk[4 * r + feature % 4] |= CODES[first + r][
                        4 * group + feature
                    ] << (4 * (feature // 4))
                    used[4 * r + feature % 4] |= 15 << (4 * (feature // 4))
            data += bytes(chunk)
            mask += bytes(used)
        blob += pad(data, 64)
        care += pad(mask, 64)
    return blob, care


def check(module, blob):
    data = Path(blob).read_bytes()
    found = {
        name: (int(offset), int(length))
        for name, offset, length in re.findall(
            r'qc\.weight @(\w+) .*#qc\.external<"[^"]*", (\d+), (\d+)>\]',
            Path(module).read_text(),
        )
    }
    codes, care = pack_codes()
    table = pack_table()
    expected = {
        "table": (table, b"\xff" * len(table)),
        "norm": (f32(NORM), b"\xff" * 12),
        "codes": (codes, care),
    }
    assert found.keys() == expected.keys(), found
    for name, (want, mask) in expected.items():
        offset, length = found[name]
        have = data[offset : offset + length]
        assert offset % 64 == 0 and length == len(want), (name, offset, length)
        for i, (a, b, m) in enumerate(zip(have, want, mask)):
            assert a & m == b & m, f"{name}: byte {i} is {a}, expected {b}"
    assert len(data) == max(pad(bytes(o + n), 64).__len__() for o, n in found.values())
    print("bytes agree")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
