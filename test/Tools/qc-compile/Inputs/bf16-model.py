"""bf16-model.py SOURCE TARGET: a copy of a model with its matrices in bf16."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../../python"))
from qc_test import safetensors

source, target = sys.argv[1:]
shutil.rmtree(target, ignore_errors=True)
os.makedirs(target)
for name in os.listdir(source):
    if name.endswith((".json", ".model")):
        shutil.copy(os.path.join(source, name), target)
tensors = safetensors.read_folder(source)
names = {n for n, t in tensors.items() if t.ndim == 2}
stored = {n: safetensors.to_bf16(t) if n in names else t for n, t in tensors.items()}
safetensors.write(
    os.path.join(target, "model.safetensors"), stored, {n: "BF16" for n in names}
)
