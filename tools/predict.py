#!/usr/bin/env python3
"""What a trained network says of one's own videos: predict.py VIDEO ... --cfg FILE --checkpoint FILE."""

from slowfast_atfr.engine.inference.predict_cli import main

if __name__ == "__main__":
    raise SystemExit(main())
