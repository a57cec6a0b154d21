"""What SGS, packed clips, training, loading and exported files cost: tools/benchmark.py."""
