"""tools/run_net.py in float64, where what several processes compute is what one does, but for the last digits.

In float32, batch norm makes gradients of small networks all but cancel, and rounding grows from step to step.
"""

import sys

import torch

from slowfast_atfr.engine import run
from slowfast_atfr.engine.cli import main

SET = [(run, "build_network"), (run, "pathways")]  # by in_double


def in_double() -> None:
    """Train and test in float64 from here on."""
    build = run.build_network
    run.build_network = lambda *args: build(*args).double()
    single = run.pathways
    run.pathways = lambda *args: [clips.double() for clips in single(*args)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    in_double()
    raise SystemExit(main(sys.argv[1:]))
