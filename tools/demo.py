#!/usr/bin/env python3
"""Train and test 3DResNet-18 without and with SGS on synthetic videos: demo.py [FOLDER [KEY VALUE ...]]."""

from pathlib import Path

from slowfast_atfr.utils.stop import hold_sigterm

hold_sigterm()

from slowfast_atfr.reproduce.demo.cli import main  # noqa: E402  (after SIGTERM is held)

if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parents[1] / "configs"))
