"""Benchmarks of SGS, packed clips, training, data loading and exported files: tools/benchmark.py."""
