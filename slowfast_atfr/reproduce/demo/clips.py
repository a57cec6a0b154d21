"""Show what SGS does to single clips of the demo, and compare the speed of the two networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.analysis.figures import ClipPicture, draw_merging
from slowfast_atfr.analysis.timing import in_turn
from slowfast_atfr.datasets import build_dataset
from slowfast_atfr.datasets.demo_scene import TEMPLATES
from slowfast_atfr.datasets.own_videos import OwnVideos
from slowfast_atfr.engine.inference.predict import Predictor
from slowfast_atfr.engine.run import watch_cost
from slowfast_atfr.models.inputs import pathways
from slowfast_atfr.sgs import ClipRecord, record

LAYER = "s2_sgs.pathway0"
SPEED_CLIPS, ROUNDS = 64, 7
CLASSES = tuple(template.replace("[something]", "something") for template in TEMPLATES.values())


@dataclass(frozen=True)
class ClipCost:
    """What SGS does to a clip, and its cost.

    frames: (T, H, W, 3) uint8.
    record: what SGS did to its maps.
    guess: the class that the network with SGS predicts.
    gflops, base_gflops: with SGS, and without.
    ms, base_ms: milliseconds of a clip, in batches of TEST.BATCH_SIZE copies.
    """

    frames: np.ndarray
    record: ClipRecord
    guess: str
    gflops: float
    base_gflops: float
    ms: float
    base_ms: float

    @property
    def maps(self) -> int:
        return self.record.num_active

    @property
    def all_maps(self) -> int:
        return len(self.record.block)


def compare_speed(base: Predictor, atfr: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """Measure (ROUNDS,) clips per second without and with SGS, in turn, on the first test clips."""
    dataset = build_dataset(base.cfg.TEST.DATASET, base.cfg, "val")
    clips = torch.stack([dataset[index].frames for index in range(min(SPEED_CLIPS, len(dataset)))])
    batches = clips.split(base.cfg.TEST.BATCH_SIZE)
    seconds = _seconds({"base": (base, batches), "atfr": (atfr, batches)})
    return len(clips) / seconds["base"], len(clips) / seconds["atfr"]


def measure_clips(base: Predictor, atfr: Predictor, paths: Mapping[str, Path]) -> dict[str, ClipCost]:
    """Return the cost of each video in both networks, by name."""
    return {name: _measure(base, atfr, path) for name, path in paths.items()}


@torch.inference_mode()
def _measure(base: Predictor, atfr: Predictor, path: Path) -> ClipCost:
    frames = OwnVideos(atfr.cfg, [str(path)]).read_views(0).views[:1]
    inputs = pathways(frames.to(atfr.device), atfr.cfg)
    with record(atfr.network) as log, watch_cost(atfr.network, atfr.cfg) as cost:
        scores = atfr.network(inputs)
        gflops = float(cost.of_last_batch()["gflops_per_clip"][0])
    with watch_cost(base.network, base.cfg) as cost:
        base.network(inputs)
        base_gflops = float(cost.of_last_batch()["gflops_per_clip"][0])
    together = atfr.cfg.TEST.BATCH_SIZE
    batches = (frames.expand(together, *frames.shape[1:]),)
    seconds = _seconds({"base": (base, batches), "atfr": (atfr, batches)})
    base_ms, ms = (float(np.median(seconds[name])) / together * 1e3 for name in ("base", "atfr"))
    guess = CLASSES[int(scores.argmax())]
    return ClipCost(frames[0].numpy(), log[LAYER][0], guess, gflops, base_gflops, ms, base_ms)


def _seconds(tasks: Mapping[str, tuple[Predictor, tuple[Tensor, ...]]]) -> dict[str, np.ndarray]:
    """Measure (ROUNDS,) seconds of each network for its batches of frames, (N, T, H, W, 3) each."""

    def task(predictor: Predictor, batches: tuple[Tensor, ...]) -> Callable[[], None]:
        inputs = [pathways(frames.to(predictor.device), predictor.cfg) for frames in batches]

        @torch.inference_mode()
        def run() -> None:
            for batch in inputs:
                predictor.network(batch)

        return run

    device = next(iter(tasks.values()))[0].device
    return in_turn({name: task(*work) for name, work in tasks.items()}, rounds=ROUNDS, device=device, title="timing")


def draw_clips(path: Path, clips: Mapping[str, ClipCost]) -> None:
    """Draw the frames of each clip, the change from map to map, the merged maps, and the cost."""
    pictures = []
    for name, clip in clips.items():
        title = (
            f"{name.replace('_', ' ')}: {clip.maps} of {clip.all_maps} maps; {clip.gflops:.3f} GFLOPs, "
            f"{clip.base_gflops:.3f} without SGS; {clip.ms:.1f} ms, {clip.base_ms:.1f} without; "
            f"taken for “{clip.guess}”"
        )
        pictures.append(ClipPicture(clip.frames, clip.record, title, "change"))
    draw_merging(path, pictures)
