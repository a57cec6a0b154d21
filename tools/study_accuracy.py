#!/usr/bin/env python3
"""Compare SGS with uniform pooling and other controls: study_accuracy.py --data FOLDER. See docs/accuracy.md."""

from pathlib import Path

from slowfast_atfr.utils.stop import hold_sigterm

hold_sigterm()

from slowfast_atfr.reproduce.study.accuracy_study import main  # noqa: E402  (after SIGTERM is held)

if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parents[1] / "configs"))
