#!/usr/bin/env python3
"""Train and test a small SlowFast without and with SGS on videos written here: demo.py [FOLDER [KEY VALUE ...]]."""

import sys
from pathlib import Path

from slowfast_atfr.utils.stop import hold_sigterm

hold_sigterm()

from slowfast_atfr.reproduce.demo import run_demo  # noqa: E402  (after SIGTERM is held)

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    folder, *pairs = sys.argv[1:] or ["demo"]
    raise SystemExit(run_demo(Path(folder), root / "configs" / "Demo", pairs))
