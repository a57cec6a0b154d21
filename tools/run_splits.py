#!/usr/bin/env python3
"""Train and test a network on all official splits: run_splits.py --cfg FILE [KEY VALUE ...]. See docs/datasets.md."""

from slowfast_atfr.utils.stop import hold_sigterm

hold_sigterm()

from slowfast_atfr.reproduce.splits import main  # noqa: E402  (after SIGTERM is held)

if __name__ == "__main__":
    raise SystemExit(main())
