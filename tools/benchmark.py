#!/usr/bin/env python3
"""Measure speed on this machine, as ratios: benchmark.py NAME [NAME ...]. See docs/benchmarks.md."""

from pathlib import Path

from slowfast_atfr.reproduce.benchmarks.cli import main

if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parents[1] / "configs"))
