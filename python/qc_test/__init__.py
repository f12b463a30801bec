"""Helpers of qc's Python tests: paths, safetensors, running tools."""
