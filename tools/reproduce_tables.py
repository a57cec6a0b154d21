#!/usr/bin/env python3
"""Train and test the networks of the paper's tables: reproduce_tables.py [--gflops-only]. See docs/reproducing.md."""

from pathlib import Path

from slowfast_atfr.utils.stop import hold_sigterm

hold_sigterm()

from slowfast_atfr.reproduce.reproduce_tables import main  # noqa: E402  (after SIGTERM is held)

if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parents[1] / "configs"))
