"""Reading and writing safetensors files with numpy alone.

Format: u64 little-endian header length, JSON header {name: {dtype, shape,
data_offsets: [begin, end)}}, data. Offsets count from the end of the header.
Source: https://github.com/huggingface/safetensors#format
"""

import json
import os
import struct

import numpy as np

# BF16 has no numpy type: its bits travel as uint16.
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def to_bf16(values):
    """float32 -> bf16 bits, round to nearest even; NaN stays NaN."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    bits = values.view(np.uint32)
    # Round half to even: add 0x7fff plus the last bit that is kept.
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def from_bf16(bits):
    """bf16 bits -> float32, exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def read_header(path):
    """(header without __metadata__, offset of the data)"""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def read(path, raw=False):
    """{name: array}; BF16 becomes float32 unless `raw`."""
    header, base = read_header(path)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=0)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(
            data[base + begin : base + end].tobytes(), dtype=DTYPES[entry["dtype"]]
        ).reshape(entry["shape"])
        if entry["dtype"] == "BF16" and not raw:
            array = from_bf16(array)
        tensors[name] = array
    return tensors


def read_folder(folder):
    """All tensors of a Hugging Face folder, one file or shards."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read(os.path.join(folder, "model.safetensors"))
    with open(index) as file:
        names = sorted(set(json.load(file)["weight_map"].values()))
    tensors = {}
    for name in names:
        tensors.update(read(os.path.join(folder, name)))
    return tensors


def encode_header(header):
    """Length and JSON, padded with spaces so that the data is 8-byte aligned."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def plan(shapes, dtype):
    """Header for {name: shape} of one dtype, data in the order given."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * np.dtype(DTYPES[dtype]).itemsize
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    return header


def write(path, tensors, dtypes=None):
    """Writes {name: array}. dtypes: {name: "BF16"} for uint16 arrays that are
    bf16 bits; other dtypes follow from the arrays."""
    names = {np.dtype(t): n for n, t in DTYPES.items() if n != "BF16"}
    header, offset = {}, 0
    for name, array in tensors.items():
        dtype = (dtypes or {}).get(name) or names[array.dtype]
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    with open(path, "wb") as file:
        file.write(encode_header(header))
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())
