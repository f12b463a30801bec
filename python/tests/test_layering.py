"""Who may include whom (docs/Overview.md): what links into a user's executable
includes neither LLVM nor MLIR, and rooms only look downwards."""

import os
import re
import unittest

from qc_test import tools

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def includes(*folders):
    """(file, included header) of all C and C++ files below the folders."""
    for folder in folders:
        for base, _, files in os.walk(os.path.join(tools.ROOT, folder)):
            for name in files:
                if name.endswith((".h", ".cpp", ".c")):
                    path = os.path.join(base, name)
                    with open(path, encoding="utf-8") as file:
                        for header in INCLUDE.findall(file.read()):
                            yield os.path.relpath(path, tools.ROOT), header


class LayeringTest(unittest.TestCase):
    def check(self, folders, forbidden, exempt=lambda file: False):
        seen = list(includes(*folders))
        self.assertGreater(len(seen), 0, f"no includes in {folders}")
        pattern = re.compile(forbidden)
        wrong = [
            f"{file}: {header}"
            for file, header in seen
            if pattern.match(header) and not exempt(file)
        ]
        self.assertEqual(wrong, [])

    def test_runtime_knows_no_compiler(self):
        self.check(
            ["lib/Runtime", "include/qc/Runtime"],
            r"(llvm|mlir|qc/(Dialect|Target|Quantization|Frontend|Pipelines|Tools))/",
        )

    def test_host_formats_know_no_compiler(self):
        # The attribute of a format is its compiler half.
        self.check(
            ["lib/Format", "include/qc/Format"],
            r"(llvm|mlir|qc/(Dialect|Target|Quantization|Frontend|Pipelines|Tools))/",
            exempt=lambda file: file.endswith(("Attr.cpp", "Attr.h")),
        )

    def test_dialects_know_no_pipeline(self):
        self.check(
            ["lib/Dialect", "include/qc/Dialect"], r"qc/(Pipelines|Target|Tools|Frontend)/"
        )

    def test_targets_know_no_frontend(self):
        self.check(
            ["lib/Target", "include/qc/Target"], r"qc/(Pipelines|Tools|Frontend)/"
        )


if __name__ == "__main__":
    unittest.main()
