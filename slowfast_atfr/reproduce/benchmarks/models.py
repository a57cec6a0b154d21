"""Every network with and without SGS: parameters, multiply-adds and clips per second."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from tqdm import tqdm

from slowfast_atfr.analysis import count_macs, model_summary
from slowfast_atfr.analysis.timing import in_turn
from slowfast_atfr.config import load_cfg, num_pathways
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins

BATCH = 2  # clips
LOCAL_NORMS = ("BN.NORM_TYPE", "batchnorm")  # a benchmark is one process
LEFT_OUT = ("Demo", "Kinetics600", "UCF101", "HMDB51")  # toys, and networks that are in another folder as well


@dataclass(frozen=True)
class NetworkFigure:
    """A network and the same one with SGS, timed in turn; clips keep half of their maps on average after SGS.

    name: of the config, without _ATFR.
    pixels: side of the crop.
    params: of the network, and what SGS adds.
    gflops: multiply-adds x 1e-9 of a clip: of the network, with all maps after SGS, with half of them.
    base_seconds, atfr_seconds: of a batch, each round.
    """

    name: str
    pixels: int
    params: tuple[int, int]
    gflops: tuple[float, float, float]
    base_seconds: tuple[float, ...]
    atfr_seconds: tuple[float, ...]

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "network",
        "pixels",
        "parameters",
        "SGS adds",
        "GFLOPs",
        "with SGS, all maps",
        "half the maps",
        "clips/s",
        "with SGS, half the maps",
        "time, with SGS over without",
    )
    ALIGN: ClassVar[str] = ""

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a table, in the order of COLUMNS."""
        ratios = np.array(self.atfr_seconds) / np.array(self.base_seconds)
        clips_per_second = (f"{BATCH / np.median(times):.3g}" for times in (self.base_seconds, self.atfr_seconds))
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        params = f"{self.params[0] / 1e6:.2f} M", f"{self.params[1] / 1e3:.1f} K"
        return self.name, str(self.pixels), *params, *(f"{g:.4g}" for g in self.gflops), *clips_per_second, spread


def benchmark_models(configs: Path, *, rounds: int, device: torch.device) -> list[NetworkFigure]:
    """Measure every network that has a config with SGS."""
    figures = []
    for atfr in tqdm(config_pairs(configs), desc="networks", unit="network", leave=False):
        base = atfr.with_name(atfr.name.replace("_ATFR", ""))
        figures.append(measure_pair(base, atfr, rounds=rounds, device=device))
        tqdm.write(f"{len(figures)}: {', '.join(figures[-1].cells())}", file=sys.stderr)
    return figures


def pair_of(config: Path) -> tuple[Path, Path]:
    """Return the config of a network, and that of the same network with SGS."""
    return config, config.with_stem(f"{config.stem}_ATFR")


def config_pairs(configs: Path) -> list[Path]:
    """Return the configs with SGS that also exist without, sorted, each network once."""
    found = sorted(path for path in configs.glob("*/*_ATFR.yaml") if "SCRATCH" not in path.name)
    return [
        path
        for path in found
        if path.parent.name not in LEFT_OUT and path.with_name(path.name.replace("_ATFR", "")).is_file()
    ]


def measure_pair(
    base: Path, atfr: Path, *, rounds: int, device: torch.device, pairs: Sequence[str] = ()
) -> NetworkFigure:
    """Time a network and the same one with SGS in turn, on random clips of its training crop, in evaluation.

    Args:
        base, atfr: configs.
        rounds: measurements of each.
        device: where they run.
        pairs: KEY VALUE pairs for both configs.
    """
    cfgs = [load_cfg(str(path), [*LOCAL_NORMS, *pairs]) for path in (base, atfr)]
    models = {name: build_model(cfg).to(device).eval() for name, cfg in zip(("base", "ATFR"), cfgs, strict=True)}
    summaries, inputs = [model_summary(cfg) for cfg in cfgs], random_inputs(cfgs[0], device)
    with torch.inference_mode():
        force_bins(models["ATFR"])
        half = mean_gflops(models["ATFR"], inputs)
        tasks = {name: lambda model=model: model(inputs) for name, model in models.items()}
        seconds = in_turn(tasks, rounds=rounds, device=device, title=base.stem)
    return NetworkFigure(
        name=f"{base.parent.name}/{base.stem}",
        pixels=cfgs[0].DATA.TRAIN_CROP_SIZE,
        params=(summaries[0].params, summaries[1].params - summaries[0].params),
        gflops=(summaries[0].gflops, summaries[1].gflops, half),
        base_seconds=tuple(seconds["base"].tolist()),
        atfr_seconds=tuple(seconds["ATFR"].tolist()),
    )


def random_inputs(cfg: CfgNode, device: torch.device, batch: int = BATCH) -> list[Tensor]:
    """Return a random batch for the network of cfg, one tensor for each pathway."""
    crop = cfg.DATA.TRAIN_CROP_SIZE
    clips = torch.randn(batch, 3, cfg.DATA.NUM_FRAMES, crop, crop, device=device)
    return [clips[:, :, :: cfg.SLOWFAST.ALPHA], clips] if num_pathways(cfg) == 2 else [clips]


def mean_gflops(model: nn.Module, inputs: list[Tensor]) -> float:
    """Return the multiply-adds x 1e-9 of a clip, mean over the batch, from one forward."""
    with count_macs(model) as counter:
        model(inputs)
        return float(counter.read_and_reset().mean()) * 1e-9
