"""Table A.2: the cost of training and inference with SGS on this machine, over the same network without."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from slowfast_atfr.analysis.timing import machine
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins
from slowfast_atfr.reproduce.benchmarks.models import LOCAL_NORMS, measure_pair, pair_of, random_inputs
from slowfast_atfr.reproduce.benchmarks.train import SUBJECTS, compare_steps, fits, largest
from slowfast_atfr.reproduce.table_report import printed_table, ratio_table
from slowfast_atfr.reproduce.tables import Table

ROUNDS = 3


def runtime_table(table: Table, configs: Path, pairs: Sequence[str]) -> str:
    """Compare the ratios of X3D-S, ATFR at half of the maps over base, with the published ones.

    The supplement does not say whether its batches of 208 and 256 are of training or of inference. We compare its
    memory with the saved bytes of a training step, and its largest batch with that of inference.

    Args:
        table: A.2.
        configs: folder of the configs.
        pairs: KEY VALUE pairs for both configs; NUM_GPUS 0 measures on the CPU.
    """
    subject = SUBJECTS["X3D-S"]
    base, atfr = pair_of(configs / subject.config)
    on_gpu = load_cfg(str(base), pairs).NUM_GPUS > 0 and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    figures = compare_steps("X3D-S", subject, configs, rounds=ROUNDS, device=device, pairs=pairs)
    pair = measure_pair(base, atfr, rounds=ROUNDS, device=device, pairs=pairs)
    speedup = float(np.median(np.array(pair.base_seconds) / np.array(pair.atfr_seconds)))
    most = "needs a GPU"
    if on_gpu:
        sizes = [largest(partial(_infers, str(path), pairs, device), start=32) for path in (base, atfr)]
        most = f"{sizes[1] / sizes[0]:.2f} ({sizes[1]} over {sizes[0]})"
    ours = {
        "training, time": f"{figures[0].median:.2f} (a step)",
        "inference, fps": f"{speedup:.2f}",
        "memory of a clip": f"{figures[1].median:.2f} (saved bytes of training)",
        "largest batch": most,
    }
    note = f"Ours are medians of {ROUNDS} rounds at half of the maps; {machine(device)}"
    return f"{printed_table(table)}\n\n{ratio_table(table, ours)}\n\n{note}"


def _infers(config: str, pairs: Sequence[str], device: torch.device, batch: int) -> bool:
    """Whether a GPU has the memory for a batch of that many clips."""

    @torch.inference_mode()
    def forward() -> None:
        cfg = load_cfg(config, [*LOCAL_NORMS, *pairs])
        model = build_model(cfg).to(device).eval()
        force_bins(model)
        model(random_inputs(cfg, device, batch))

    return fits(forward)
