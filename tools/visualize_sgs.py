#!/usr/bin/env python3
"""Draw what SGS merges in a video, as a picture and a page: visualize_sgs.py VIDEO --cfg FILE --checkpoint FILE."""

from slowfast_atfr.engine.inference.visualize_cli import main

if __name__ == "__main__":
    raise SystemExit(main())
