#!/usr/bin/env python3
"""Train and test a network: run_net.py --cfg FILE [KEY VALUE ...]. See docs/getting_started.md."""

from slowfast_atfr.utils.stop import hold_sigterm

hold_sigterm()

from slowfast_atfr.engine.cli import main  # noqa: E402  (after SIGTERM is held)

if __name__ == "__main__":
    raise SystemExit(main())
