#!/usr/bin/env python3
"""Classify videos with a trained network: predict.py VIDEO ... --cfg FILE --checkpoint FILE."""

from slowfast_atfr.engine.inference.predict_cli import main

if __name__ == "__main__":
    raise SystemExit(main())
