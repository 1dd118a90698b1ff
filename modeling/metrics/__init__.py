"""Metrics as modules of the `evaluate` library: each folder loads by `evaluate.load(path)` and is published as is."""
