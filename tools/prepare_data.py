#!/usr/bin/env python3
"""Make a downloaded data set ready to train on: prepare_data.py NAME FOLDER [options]. See docs/datasets.md."""

from slowfast_atfr.prepare.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
