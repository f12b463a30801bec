"""Writes f32 numbers like those of a weight: write_floats.py FILE COUNT [INDEX=VALUE]..."""

import array
import math
import sys

path, count = sys.argv[1], int(sys.argv[2])
values = array.array("f", (0.05 * math.sin(1.0 + 0.7 * i * i % 97) for i in range(count)))
for item in sys.argv[3:]:
    index, value = item.split("=")
    values[int(index)] = float(value)
with open(path, "wb") as file:
    values.tofile(file)
