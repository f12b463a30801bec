"""Ways to break a model folder, for python/tests/test_bad_input.py.

Each function takes the path of an intact single-file folder and damages it.
"""

import json
import os
import struct

import numpy as np

from qc_test import safetensors

WEIGHTS = "model.safetensors"
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
K_PROJ = "model.layers.0.self_attn.k_proj.weight"
LAST = "lm_head.weight"


def edit_config(**changes):
    """Sets fields of config.json; a value of None removes the field."""

    def damage(folder):
        path = os.path.join(folder, "config.json")
        with open(path) as file:
            config = json.load(file)
        for key, value in changes.items():
            if value is None:
                config.pop(key, None)
            else:
                config[key] = value
        with open(path, "w") as file:
            json.dump(config, file)

    return damage


def write(name, data):
    """Replaces a file's content."""

    def damage(folder):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)

    return damage


def remove(name):
    return lambda folder: os.remove(os.path.join(folder, name))


def edit_bytes(change):
    """change(all bytes of the weight file) -> new bytes"""

    def damage(folder):
        path = os.path.join(folder, WEIGHTS)
        with open(path, "rb") as file:
            data = file.read()
        with open(path, "wb") as file:
            file.write(change(data))

    return damage


def split(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def edit_header(change):
    """change(header, size of the data) edits the header in place."""

    def apply(data):
        header, payload = split(data)
        change(header, len(payload))
        return safetensors.encode_header(header) + payload

    return edit_bytes(apply)


def edit_entry(**fields):
    """Replaces fields of q_proj's entry; a value of None removes the field."""

    def change(header, _):
        for key, value in fields.items():
            if value is None:
                del header[Q_PROJ][key]
            else:
                header[Q_PROJ][key] = value

    return edit_header(change)


def duplicate_entry(data):
    """The same name twice in the JSON text."""
    header, payload = split(data)
    text = json.dumps(header)
    entry = json.dumps({Q_PROJ: header[Q_PROJ]})[1:-1]
    text = (text[:-1] + "," + entry + "}").encode()
    return struct.pack("<Q", len(text)) + text + payload


def offsets_past_end(header, _):
    """The last tensor has a row more than the file."""
    entry = header[LAST]
    entry["shape"][0] += 1
    entry["data_offsets"][1] += entry["shape"][1] * 4


def overlapping(header, _):
    """q_proj starts one row inside its neighbour's bytes."""
    begin, end = header[Q_PROJ]["data_offsets"]
    row = header[Q_PROJ]["shape"][1] * 4
    header[Q_PROJ]["data_offsets"] = [begin + row, end + row]


def drop(folder):
    """Writes the file anew without q_proj."""
    path = os.path.join(folder, WEIGHTS)
    tensors = safetensors.read(path)
    del tensors[Q_PROJ]
    safetensors.write(path, tensors)


def gap(header, _):
    """No tensor owns the bytes of q_proj."""
    del header[Q_PROJ]


def transposed_k(header, _):
    """k_proj is not square: its transpose has the right bytes, the wrong shape."""
    header[K_PROJ]["shape"].reverse()


def poison(value, name=Q_PROJ):
    """Puts `value` in the middle of a tensor."""

    def apply(data):
        header, payload = split(data)
        begin, end = header[name]["data_offsets"]
        array = np.frombuffer(payload, np.float32).copy()
        array[(begin + end) // 8] = value
        return safetensors.encode_header(header) + array.tobytes()

    return edit_bytes(apply)


def shard(damage):
    """Splits the file in two shards with an index, then damage(folder, index)."""

    def apply(folder):
        path = os.path.join(folder, WEIGHTS)
        tensors = safetensors.read(path)
        os.remove(path)
        names = list(tensors)
        weight_map = {}
        for i, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :])):
            file = f"model-{i + 1:05}-of-00002.safetensors"
            safetensors.write(os.path.join(folder, file), {n: tensors[n] for n in part})
            weight_map.update(dict.fromkeys(part, file))
        index = {"metadata": {}, "weight_map": weight_map}
        damage(folder, index)
        with open(os.path.join(folder, WEIGHTS + ".index.json"), "w") as file:
            json.dump(index, file)

    return apply


def missing_shard(folder, _):
    os.remove(os.path.join(folder, "model-00002-of-00002.safetensors"))


def wrong_shard(_, index):
    """The index sends q_proj to the shard that lacks it."""
    index["weight_map"][Q_PROJ] = "model-00002-of-00002.safetensors"


def escaping_shard(_, index):
    index["weight_map"][Q_PROJ] = "../../etc/passwd"
